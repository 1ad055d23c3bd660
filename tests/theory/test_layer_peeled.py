"""The layer-peeled model of unequal classes: the specification's numbers, other solvers, what budgets matter."""

import math

import pytest
import torch

from collapselab.core.errors import InputError, NotConverged
from collapselab.theory import LayerPeeled, minimise, semidefinite_relaxation, solve_low_rank
from collapselab.theory._imbalance.grouped_solve import solve
from collapselab.theory.layer_peeled_balanced import LayerPeeledBalanced


def step(imbalance: int, budget: float = 5.0, majority: int = 5, minority: int = 5, unit: int = 1) -> LayerPeeled:
    k = majority + minority
    return LayerPeeled((imbalance * unit,) * majority + (unit,) * minority, k, 1.0, budget)


def cosine(found: LayerPeeled) -> float:
    """Between minority class vectors."""
    return found.geometry().weights.cosines().between[-1][-1]


@pytest.mark.parametrize(
    ("k", "values"),
    [
        (4, (0.58265765, 0.14163989, 0.04330494)),
        (10, (1.37693492, 0.55978152, 0.23751506)),
        (100, (3.61237731, 2.42874248, 1.62113943)),
    ],
)
def test_equal_classes_have_the_closed_form(k: int, values: tuple[float, ...]) -> None:
    for budget, value in zip((1.0, 5.0, 10.0), values, strict=True):
        found = LayerPeeled((3,) * k, k - 1, 1.0, budget)
        assert found.minimum == pytest.approx(value, abs=5e-9)
        assert found.minimum == pytest.approx(LayerPeeledBalanced(k, 3, k - 1, 1.0, budget).minimum, rel=1e-13)
    assert LayerPeeled((7,) * 10, 9, 1.0, 5.0).minimum == pytest.approx(0.5597815240, abs=1e-10)


def test_the_reference_scan() -> None:
    # Objective and cosine of the specification: a majority class weighs 1, as the sum over classes does there.
    for imbalance, objective, expected in (
        (10, 1.43922372, 0.5175),
        (12, None, 0.9404),
        (30, 0.72632439, 1.0),
        (100, 0.46106078, 1.0),
        (1000, 0.35769852, 1.0),
        (10_000, 0.34733937, 1.0),
    ):
        found = step(imbalance)
        if objective is not None:
            assert found.minimum * 5 * (1 + 1 / imbalance) == pytest.approx(objective, abs=1e-8)
        assert cosine(found) == pytest.approx(expected, abs=2e-4)
        assert found.gap < 1e-12
    # i = 0..11 of R = 10^(i/10), by weights.
    scan = [-0.11, -0.10, -0.09, -0.07, -0.05, -0.02, 0.02, 0.07, 0.15, 0.28, 0.52, 1.00]
    for i, expected in enumerate(scan):
        weights = (10 ** (i / 10),) * 5 + (1.0,) * 5
        found = LayerPeeled((1,) * 10, 10, 1.0, 5.0, weights)
        assert cosine(found) == pytest.approx(expected, abs=0.0101 if i < 5 else 0.0051)


def test_at_the_threshold_the_numbers_are_those_of_the_specification() -> None:
    found = LayerPeeled((1,) * 10, 10, 1.0, 5.0, (12.1925,) * 5 + (1.0,) * 5)
    logits = found.solution.class_logits()
    assert logits[0, 1].item() == pytest.approx(-0.6664, abs=1e-4)  # b
    assert logits[0, 0].item() - logits[0, 1].item() == pytest.approx(4.9152, abs=1e-4)  # a
    assert logits[0, 9].item() == pytest.approx(-0.3167, abs=1e-4)  # rows are samples here: e
    assert logits[9, 0].item() == pytest.approx(-0.2132, abs=1e-4)  # c
    assert logits[9, 8].item() == pytest.approx(0.2132, abs=1e-4)
    assert found.merged_groups == (1,)


def test_merged_groups_are_those_whose_class_vectors_coincide() -> None:
    assert step(12).merged_groups == ()
    assert step(13).merged_groups == (1,)
    found = LayerPeeled((10_000, 10_000, 3, 2, 1), 4)
    assert found.merged_groups == ()  # no two rare classes are of one size: they come close to one direction
    rows = found.minimiser()["weight"]
    torch.testing.assert_close(torch.nn.functional.normalize(rows[2:], dim=1).std(0), torch.zeros(4).double())
    lengths = rows[2:].norm(dim=1)
    assert float(lengths[0]) > float(lengths[1]) > float(lengths[2])  # but not one length
    assert found.solution.rank == 2


def test_a_group_is_merged_where_a_class_weighs_at_most_the_multiplier() -> None:
    for counts in ((40, 40, 20, 20, 9, 9), (400, 400, 20, 20, 9, 9), (90, 90, 60, 60, 59, 59)):
        found = LayerPeeled(counts, 5, 1.0, 2.0)
        at, shares = found.solution.solved.logits, found.groups.shares / 2
        assert [bool(a == 0) for a in at.differences] == [bool(s <= found.multiplier) for s in shares]


def test_only_the_product_of_the_budgets_matters() -> None:
    # The specification's 0.5175.
    one, two, three = (LayerPeeled((10,) * 5 + (1,) * 5, 10, *b) for b in ((1.0, 5.0), (5.0, 1.0), (2.0, 2.5)))
    for other in (two, three):
        assert other.minimum == pytest.approx(one.minimum, rel=1e-13)
        assert cosine(other) == pytest.approx(cosine(one), rel=1e-9)
    assert semidefinite_relaxation(one.counts, 1.0, 5.0).value == pytest.approx(one.minimum, abs=1e-8)


@pytest.mark.parametrize(
    ("counts", "budget"), [((10,) * 5 + (1,) * 5, 5.0), ((30,) * 3 + (1,) * 3, 2.0), ((40, 20, 10, 10, 3, 1), 3.0)]
)
def test_four_solvers_agree(counts: tuple[int, ...], budget: float) -> None:
    found = LayerPeeled(counts, len(counts), 1.0, budget)
    relaxed = semidefinite_relaxation(counts, budget).require()
    assert relaxed.value == pytest.approx(found.minimum, abs=1e-6)
    thin = solve_low_rank("cross_entropy", counts, budget).require()
    assert thin.value == pytest.approx(found.minimum, abs=1e-6)
    fitted = minimise(found, torch.Generator().manual_seed(0)).require()
    assert fitted.stats["loss"] == pytest.approx(found.minimum, abs=1e-8)
    logits = found.solution.class_logits()
    torch.testing.assert_close(thin.logits, logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(relaxed.logits, logits, rtol=0, atol=1e-3)
    torch.testing.assert_close(fitted.end["weight"] @ fitted.end["weight"].T, _gram(found), rtol=0, atol=1e-4)


def _gram(found: LayerPeeled) -> torch.Tensor:
    rows = found.minimiser()["weight"]
    return rows @ rows.T


def test_class_weights_are_changed_counts() -> None:
    weighted = LayerPeeled((6, 6, 2, 2), 4, 1.0, 3.0, (1.0, 1.0, 3.0, 3.0))
    assert weighted.minimum == pytest.approx(LayerPeeled((6,) * 4, 4, 1.0, 3.0).minimum, rel=1e-13)
    assert LayerPeeled((8, 2), 2, class_weights=(1.0, 2.0)).minimum == pytest.approx(
        LayerPeeled((8, 4), 2).minimum, rel=1e-13
    )


def test_thresholds_of_two_kinds_of_class() -> None:
    found = step(100, unit=50).thresholds()
    assert found["minority_collapse_threshold"] == pytest.approx(12.1924, abs=1e-3)
    assert found["imbalance"] == 100
    assert found["smallest_share"] < found["share_to_merge"]
    assert "minority_collapse_threshold" not in LayerPeeled((4, 3, 2), 3).thresholds()


def test_an_early_stop_is_never_a_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collapselab.theory.layer_peeled.solve", lambda program: solve(program, max_steps=1))
    found = step(10)
    assert found.solution.solved.status == "stopped"
    assert found.gap > 1e-4
    for ask in (lambda: found.minimum, found.geometry, found.minimiser, lambda: found.merged_groups):
        with pytest.raises(NotConverged, match="not an optimum"):
            ask()


def test_ten_groups_and_a_thousand_classes() -> None:
    counts = tuple(n for n in (1000, 500, 200, 100, 60, 40, 20, 10, 7, 5) for _ in range(100))
    found = LayerPeeled(counts, 999, 1.0, 5.0)
    assert found.solution.solved.status == "optimal"
    assert found.gap < 1e-9
    assert math.isfinite(found.predicts()["nc2_equiangularity_weights"])


REFUSED = [
    ({"counts": (5,)}, "counts must be those of two classes or more"),
    ({"counts": (5, 0)}, r"counts\[1\] must be an integer of at least 1, got 0"),
    ({"counts": (5, -3)}, r"counts\[1\] must be an integer of at least 1, got -3"),
    ({"counts": (5, 2.5)}, r"counts\[1\] must be an integer of at least 1, got 2.5"),
    ({"budget_head": 0.0}, "budget_head must be a finite number above 0, got 0.0"),
    ({"budget_features": -1.0}, "budget_features must be a finite number above 0"),
    ({"budget_features": math.nan}, "budget_features must be a finite number above 0"),
    ({"num_features": 1}, "num_features must be at least 2, the rank of the best logits, got 1"),
    ({"class_weights": (1.0, 1.0)}, "class_weights must be 3, one a class, got 2"),
    ({"class_weights": (1.0, 1.0, 0.0)}, r"class_weights\[2\] must be a finite number above 0"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_refuses(change: dict[str, object], message: str) -> None:
    given = {"counts": (5, 3, 2), "num_features": 3, **change}
    with pytest.raises(InputError, match=message):
        LayerPeeled(**given)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("budget", [1e3, 1e6])
@pytest.mark.parametrize("counts", [(50, 50, 2, 2), tuple(range(1, 13))])
def test_a_loss_that_underflows_is_no_optimum(counts: tuple[int, ...], budget: float) -> None:
    model = LayerPeeled(counts, 12, budget, budget)
    with pytest.raises(NotConverged, match="underflows"):
        _ = model.minimum
