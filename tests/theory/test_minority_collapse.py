"""The threshold of minority collapse: the table of the specification, the full model on both sides, monotonicity."""

import itertools

import numpy as np
import pytest

from collapselab.core.errors import InputError
from collapselab.theory import LayerPeeled, minority_collapse_threshold
from collapselab.theory.minority_collapse import collapsed

TABLE = {
    (3, 7): (4.136, 245.5, 6351, 6.40e5),
    (5, 5): (1.735, 12.192, 81.10, 1290),
    (7, 3): (1.370, 4.0005, 13.666, 95.43),
}
"""Of E_H = 1, 5, 10, 20; the specification has 6.39e5, 4.0006 and 13.665, which the full model contradicts (below)."""

OTHERS = {(2, 2, 1): 3.380, (2, 2, 5): 47.69, (5, 5, 2): 2.895, (5, 5, 3): 4.796, (2, 8, 5): 1.194e4, (8, 2, 5): 2.982}


def digits(number: float) -> float:
    return 0.6 * 10.0 ** (np.floor(np.log10(number)) - 3)


@pytest.mark.parametrize("split", TABLE)
def test_table(split: tuple[int, int]) -> None:
    for budget, expected in zip((1.0, 5.0, 10.0, 20.0), TABLE[split], strict=True):
        loose = 2 if expected == 6.40e5 else 1  # three digits
        assert minority_collapse_threshold(*split, budget) == pytest.approx(expected, abs=loose * digits(expected))


def test_other_values_and_the_limit_of_large_imbalance() -> None:
    for (a, b, budget), expected in OTHERS.items():
        assert minority_collapse_threshold(a, b, float(budget)) == pytest.approx(expected, abs=1.2 * digits(expected))
    assert 1 / collapsed(5, 5, 1e9, 5.0).price == pytest.approx(14.073, abs=1e-3)


@pytest.mark.parametrize(
    ("split", "budget"), [((5, 5), 5.0), ((7, 3), 5.0), ((7, 3), 10.0), ((3, 7), 20.0), ((1, 4), 1.0)]
)
def test_the_full_model_merges_above_and_not_below(split: tuple[int, int], budget: float) -> None:
    threshold = minority_collapse_threshold(*split, budget)
    k = sum(split)
    for part, merged in ((1 - 1e-5, False), (1 + 1e-5, True)):
        weights = (threshold * part,) * split[0] + (1.0,) * split[1]
        found = LayerPeeled((1,) * k, k, 1.0, budget, weights)
        assert bool(found.solution.solved.logits.differences[1] == 0) == merged
        assert (found.merged_groups == (1,)) == merged
    # 1/R = nu(R) at the threshold, and the collapsed model is the full one above it.
    assert collapsed(*split, threshold, budget).price * threshold == pytest.approx(1, rel=1e-9)


def test_it_grows_with_the_budget_and_falls_with_the_share_of_majority_classes() -> None:
    budgets = [minority_collapse_threshold(5, 5, e) for e in (1e-4, 0.1, 0.5, 1.0, 3.0, 10.0, 40.0)]
    assert all(a < b for a, b in itertools.pairwise(budgets))
    assert budgets[0] == pytest.approx(1, abs=3e-3)
    splits = [minority_collapse_threshold(a, 10 - a, 3.0) for a in range(1, 9)]
    assert all(a > b for a, b in itertools.pairwise(splits))


def test_only_the_product_of_budgets_matters() -> None:
    assert minority_collapse_threshold(5, 5, 2.5, 2.0) == pytest.approx(
        minority_collapse_threshold(5, 5, 5.0), rel=1e-9
    )


def test_refuses() -> None:
    with pytest.raises(InputError, match="num_majority must be an integer of at least 1"):
        minority_collapse_threshold(0, 5)
    with pytest.raises(InputError, match="num_minority must be an integer of at least 2"):
        minority_collapse_threshold(5, 1)
    with pytest.raises(InputError, match="budget_features must be a finite number above 0"):
        minority_collapse_threshold(5, 5, 0.0)
