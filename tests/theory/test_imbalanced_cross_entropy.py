"""Cross-entropy with decay and unequal classes: the convex program, merging, the balanced closed form, SELI's limit."""

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import (
    CrossEntropyFeatures,
    ImbalancedCrossEntropy,
    Problem,
    certificate,
    predict,
    seli_geometry,
    solve_convex_program,
)


def of(counts: tuple[int, ...], decay: float = 0.02, **settings: object) -> ImbalancedCrossEntropy:
    return ImbalancedCrossEntropy(Problem(counts, len(counts), decay, decay, **settings))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("settings", [{}, {"bias": "free"}, {"bias": "decay", "decay_bias": 0.01}])
@pytest.mark.parametrize("counts", [(9, 9, 4, 1, 1), (2, 8, 8, 3, 5)])
def test_the_convex_program_has_the_same_minimum(counts: tuple[int, ...], settings: dict[str, object]) -> None:
    found = of(counts, **settings)
    assert found.minimum == pytest.approx(solve_convex_program(found.problem).value, abs=1e-8)
    assert found.gap < 1e-12
    # And the certificate over all samples, which knows nothing of groups, finds nothing left to gain.
    seen = certificate(found.problem, found.minimiser(), refine=False)
    assert seen.gap < 1e-12
    assert seen.kind == "global minimum"


@pytest.mark.parametrize("bias", ["none", "free"])
def test_equal_classes_have_the_closed_form(bias: str) -> None:
    problem = Problem.balanced(5, 7, 6, decay_head=4e-3, decay_features=2e-3, bias=bias)
    found, known = ImbalancedCrossEntropy(problem), CrossEntropyFeatures(problem)
    assert found.minimum == pytest.approx(known.minimum, rel=1e-13)
    assert found.minimum == pytest.approx(0.1760064020, abs=1e-10)
    assert found.predicts().keys() == known.predicts().keys()
    assert found.geometry().weights.own[0] == pytest.approx(known.geometry().weights.own[0], rel=1e-10)
    assert found.thresholds()["decay_head_to_zero"] == pytest.approx(
        known.thresholds()["decay_head_to_zero"], rel=1e-10
    )


def test_classes_of_one_size_merge_up_to_a_number_of_samples() -> None:
    # The specification: lambda .02, n_A 40, K_A = K_B = 3, cosines of the minority.
    for n, threshold, cosine in ((8, 8.2944, 1.0), (10, 9.0, 0.509), (12, None, 0.271), (20, None, -0.015)):
        found = of((40,) * 3 + (n,) * 3)
        assert found.geometry().weights.cosines().between[1][1] == pytest.approx(cosine, abs=6e-4)
        if threshold is not None:
            assert found.merging_size == pytest.approx(threshold)
        assert bool(found.merged_groups) == (n <= found.merging_size)
        rows = found.minimiser()["weight"]
        assert (float((rows[3] - rows[4]).norm()) < 1e-12) == (n <= found.merging_size)


@pytest.mark.parametrize("bias", ["none", "free"])
def test_merging_depends_on_nothing_else(bias: str) -> None:
    for counts in ((30, 30, 9, 9, 4, 4), (100, 9, 9, 9, 1, 1), (12, 12, 11, 11, 3, 3)):
        decay = float(np.sqrt(9 * (1 + 1e-6))) / sum(counts)  # 9 samples or fewer
        found = of(counts, decay, bias=bias)
        for a, n, many in zip(
            found.solution.solved.logits.differences, found.groups.weights, found.groups.sizes, strict=True
        ):
            assert (a == 0) == (n <= 9 or many == 1)


def test_everything_vanishes_from_a_decay_on() -> None:
    found = of((20, 5, 2))
    to_zero = found.thresholds()["decay_head_to_zero"]
    for part, zero in ((1 - 1e-6, False), (1 + 1e-6, True)):
        there = ImbalancedCrossEntropy(Problem((20, 5, 2), 3, part * to_zero, 0.02))
        assert (there.geometry().weights.trace() == 0) == zero


def test_its_limit_of_vanishing_decay_is_seli() -> None:
    counts = (10, 10, 1, 1)
    limit = np.array(seli_geometry(counts).weights.cosines().between)
    distances = [
        np.abs(np.array(of(counts, decay).geometry().weights.cosines().between) - limit).max()
        for decay in (1e-2, 1e-4, 1e-8, 1e-16)
    ]
    assert distances[0] > distances[1] > distances[2] > distances[3]  # as slowly as one over the logarithm
    assert distances[3] < 0.1


def test_predict_asks_it() -> None:
    asked = {"decay_head": 5e-3, "decay_features": 1e-3}
    found = predict("cross_entropy", counts=(50, 50, 5, 5), **asked)
    assert found.model == "imbalanced_cross_entropy"
    assert found.geometry is not None
    assert found.geometry.weights.sizes == (2, 2)
    assert predict("cross_entropy", counts=(5, 5, 5), **asked).model == "cross_entropy"
    nothing = {"decay_head": 0.0, "decay_features": 0.0, "bias": "none"}
    assert predict("cross_entropy", counts=(5, 3, 3), **nothing).model == "unregularised_imbalanced"
    assert predict("cross_entropy", counts=(5, 5, 5), **nothing).model == "unregularised_cross_entropy"


def test_many_sizes_and_turned_states() -> None:
    found = of(tuple(range(20, 6, -1)), 1e-2)  # 14 groups: the method for many
    state = found.minimiser(torch.Generator().manual_seed(0))
    assert float(found.loss(state)) == pytest.approx(found.minimum, rel=1e-11)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"decay_head": 0.0}, "decay_head and decay_features must be above 0"),
        ({"nonnegative": True}, "nonnegative must be false"),
        ({"num_features": 1}, "num_features must be at least 2, the rank of the best logits, got 1"),
    ],
)
def test_refuses(changed: dict[str, object], message: str) -> None:
    given = {"counts": (5, 3, 3), "num_features": 3, "decay_head": 1e-2, "decay_features": 1e-2, **changed}
    with pytest.raises(InputError, match=message):
        ImbalancedCrossEntropy(Problem(**given))  # pyright: ignore[reportArgumentType]
