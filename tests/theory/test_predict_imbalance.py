"""`predict` under imbalance: thresholds, the metrics of imbalance measured at the minimiser, remedies, other ratios."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError, NotConverged
from collapselab.evidence import ClassStats
from collapselab.metrics import Evidence, measure_evidence
from collapselab.records.prediction import Prediction
from collapselab.theory import LayerPeeled, Problem, minimise, predict
from collapselab.theory._imbalance.grouped_solve import Solved
from collapselab.theory._imbalance.uneven import Kinds, Uneven
from collapselab.theory.imbalanced_cross_entropy import ImbalancedCrossEntropy
from collapselab.theory.weighted_cross_entropy import WeightedCrossEntropy

ISSUE = (5000,) * 5 + (50,) * 5
BUDGETS = {"budget_features": 5.0, "budget_head": 1.0}
DECAYS: dict[str, Any] = {"decay_head": 5e-3, "decay_features": 1e-3}

# Counts in no order, with merged classes, with single classes, and nearly equal ones.
COUNTS = [(40, 2, 40, 2, 2), (30, 12, 12, 7, 3, 3), (9, 8, 9, 7), (20, 20, 3)]


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("asked", [BUDGETS, DECAYS, {**DECAYS, "decay_features": 1e-2, "bias": "none"}])
def test_metrics_of_imbalance_are_those_of_the_minimiser(counts: tuple[int, ...], asked: dict[str, Any]) -> None:
    """Everything stated is measured; and everything measured of imbalance that has a value is stated."""
    found = predict("cross_entropy", counts=counts, **asked)
    if "budget_head" in asked:
        model = LayerPeeled(counts, len(counts), 1.0, 5.0)
    else:
        model = ImbalancedCrossEntropy(Problem(counts, len(counts), **({"bias": "free"} | asked)))
    state = model.minimiser(torch.Generator().manual_seed(0))
    features = model.features(state)
    names = [name for name in found.predicts if name != "nc4_disagreement"]
    stems = ("minority_cosine", "head_group_cosine", "tail_group_cosine", "head_tail_cosine", "head_tail_norm_ratio")
    ours = ["merged_classifiers", *(f"{stem}_{of}" for stem in stems for of in ("weights", "means"))]
    measured = measure_evidence(Evidence(ClassStats.of(features), model.head(state), features), {*names, *ours})[0]
    for name in names:
        assert measured[name].value == pytest.approx(found.predicts[name], rel=1e-6, abs=1e-6), name
    for name in ours:
        assert (measured[name].value is None) == (name not in found.predicts), (name, measured[name].undefined)


def test_the_problem_of_the_document() -> None:
    found = predict("cross_entropy", counts=ISSUE, follow=True, **BUDGETS)
    assert found.model == "layer_peeled"
    assert found.minority_collapse_threshold == pytest.approx(12.192, abs=5e-4)
    imbalance = found.imbalance
    assert imbalance is not None
    assert (imbalance.ratio, imbalance.minority, imbalance.merged) == (100.0, 5, ((50, 5),))
    assert imbalance.weight_needed == pytest.approx(100 / imbalance.threshold)  # pyright: ignore[reportOptionalOperand]
    by_name = {one.name: one for one in imbalance.remedies}
    assert list(by_name) == ["none", "oversampling", "class_weights", "root_weights", "fixed_simplex", "looser"]
    assert (by_name["none"].merged, by_name["none"].margin) == (5, pytest.approx(0.0, abs=1e-9))
    for name in ("oversampling", "class_weights", "fixed_simplex"):
        assert by_name[name].minority_cosine == pytest.approx(-1 / 9)
        assert by_name[name].norm_ratio == pytest.approx(1.0)
    assert 0.3 < (by_name["root_weights"].minority_cosine or 0) < 0.9
    assert [sentence for sentence in imbalance.said if "12.192" in sentence]


def test_the_weight_that_is_needed_is_the_one() -> None:
    counts = (40, 40, 2, 2, 2)
    found = predict("cross_entropy", counts=counts, **BUDGETS).imbalance
    assert found is not None
    assert found.weight_needed is not None
    for factor, merged in ((0.999, 1), (1.001, 0)):
        weights = tuple(1.0 if n == 40 else factor * found.weight_needed for n in counts)
        assert len(LayerPeeled(counts, 5, 1.0, 5.0, weights).merged_groups) == merged


def test_the_threshold_under_decay_is_where_classes_merge() -> None:
    """Ratio, and weight, on both sides; the larger classes keep their size."""
    asked: dict[str, Any] = {"decay_head": 2e-2, "decay_features": 1e-7, "bias": "none"}
    counts = (400_000, 400_000, 4000, 4000, 4000)
    found = predict("cross_entropy", counts=counts, **asked)
    at = found.minority_collapse_threshold
    assert at is not None
    for factor, merged in ((0.98, 0), (1.02, 1)):
        few = round(400_000 / (at * factor))
        near = ImbalancedCrossEntropy(Problem((400_000, 400_000, few, few, few), 5, **asked))
        assert len(near.merged_groups) == merged
    strong = predict("cross_entropy", counts=counts, **{**asked, "decay_features": 1e-6}).imbalance
    assert strong is not None
    assert strong.merged == ((4000, 3),)
    assert strong.weight_needed is not None
    for factor, merged in ((0.99, 1), (1.01, 0)):
        weights = tuple(1.0 if n > 4000 else factor * strong.weight_needed for n in counts)
        problem = Problem(counts, 5, **{**asked, "decay_features": 1e-6})
        assert len(WeightedCrossEntropy(problem, weights).merged_groups) == merged


@pytest.mark.parametrize("asked", [BUDGETS, {**DECAYS, "bias": "none"}])
def test_other_ratios_are_those_of_other_counts(asked: dict[str, Any]) -> None:
    found = predict("cross_entropy", counts=(100, 100, 10, 10), follow=True, **asked)
    sweep = found.imbalance and found.imbalance.sweep
    assert sweep is not None
    assert list(sweep.imbalance) == sorted(sweep.imbalance)
    assert sweep.minority_cosine[0] == pytest.approx(-1 / 3, abs=1e-6)
    at = sweep.imbalance.index(10.0)
    assert sweep.minority_cosine[at] == pytest.approx(found.predicts["minority_cosine_weights"], abs=1e-6)
    if found.minority_collapse_threshold is not None:
        pairs = zip(sweep.imbalance, sweep.merged, strict=True)
        assert all(merged == 2 for ratio, merged in pairs if ratio > 1.01 * found.minority_collapse_threshold)


def test_remedies_without_an_answer_say_why() -> None:
    found = predict("cross_entropy", counts=(300, 300, 3, 3, 3), num_features=3, budget_features=1.0, budget_head=1.0)
    assert found.imbalance is not None
    unknown = {one.name: one.unknown for one in found.imbalance.remedies if one.unknown}
    assert set(unknown) >= {"oversampling", "fixed_simplex"}
    assert all("num_features must be at least 4" in why for why in unknown.values())


def test_matrices_are_in_the_order_of_the_counts() -> None:
    found = predict("cross_entropy", counts=(5, 50, 10, 50), **DECAYS)
    assert found.gram is not None
    assert found.geometry is not None
    assert found.geometry.groups == ((2, 1), (0, 1), (1, 1), (0, 1))
    model = ImbalancedCrossEntropy(Problem((5, 50, 10, 50), 4, **DECAYS, bias="free"))
    state = model.minimiser()
    means = torch.stack([state["h"][model.labels == k].mean(0) for k in range(4)])
    w = state["weight"]
    for ours, theirs in (
        (found.gram.weights, w @ w.T),
        (found.gram.means, means @ means.T),
        (found.gram.logits, w @ means.T),
    ):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-9)
    assert predict("cross_entropy", num_classes=61, per_class=2, decay_head=1e-4, decay_features=1e-4).gram is None


def test_equal_classes_have_budgets_too() -> None:
    found = predict("cross_entropy", num_classes=4, per_class=3, **BUDGETS)
    assert (found.imbalance, found.minority_collapse_threshold) == (None, None)
    assert found.minimum == found.mean_loss == pytest.approx(math.log1p(3 * math.exp(-math.sqrt(5) * 4 / 3)))
    assert "minority_cosine_weights" not in found.predicts
    assert Prediction.model_validate_json(found.model_dump_json()) == found


def test_weights_of_losses_are_reached_by_descent() -> None:
    problem = Problem((20, 20, 2, 2), 5, 1e-2, 1e-2)
    found = predict(
        "cross_entropy", counts=problem.counts, num_features=5, decay_head=1e-2, decay_features=1e-2, bias="none",
        class_weights=(1.0, 1.0, 10.0, 10.0),
    )  # fmt: skip
    assert found.model == "weighted_cross_entropy"
    model = WeightedCrossEntropy(problem, (1.0, 1.0, 10.0, 10.0))
    end = minimise(model, torch.Generator().manual_seed(0)).require()
    assert float(model.loss(end.end)) == pytest.approx(found.minimum, rel=1e-8)


def test_kinds_count_classes_of_one_group_and_size() -> None:
    kinds = Kinds.of((0, 0, 1, 0), (5, 5, 1, 2))
    assert (kinds.group.tolist(), kinds.count.tolist(), kinds.many.tolist()) == ([0, 0, 1], [5, 2, 1], [2, 1, 1])
    assert kinds.small.tolist() == [False, True, True]
    geometry = LayerPeeled((3, 3, 3), 2).geometry()
    assert (
        Uneven(geometry, Kinds.of((0, 0, 0), (4, 1, 1))).mean_cosine(geometry.weights, np.array([True, False])) is None
    )


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({**BUDGETS, "decay_head": 1e-3}, "decay_head must not be given beside budgets"),
    ({"budget_head": 1.0, "decay_features": 1e-3}, "decay_features must not be given beside budgets"),
    ({"budget_head": 1.0}, "budget_features must be given beside the other budget, got nothing"),
    ({**BUDGETS, "bias": "free"}, "bias must not be given beside budgets"),
    ({**BUDGETS, "nonnegative": True}, "nonnegative must not be given beside budgets"),
    ({**BUDGETS, "gamma": 2.0}, "gamma must not be given beside budgets"),
    ({**BUDGETS, "budget_head": 0.0}, "budget_head must be a finite number above 0, got 0.0"),
    ({**BUDGETS, "budget_features": -1.0}, "budget_features must be a finite number above 0"),
    ({**BUDGETS, "num_features": 1}, "num_features must be at least 3, the rank of the best logits, got 1"),
    ({**BUDGETS, "counts": (3, 0)}, r"counts\[1\] must be an integer of at least 1, got 0"),
    ({**BUDGETS, "counts": (3, 2.5)}, r"counts\[1\] must be an integer"),
    ({**BUDGETS, "counts": (3,)}, "counts must be those of two classes or more"),
    ({}, "decay_head must be given, or budget_head and budget_features, got nothing"),
    ({**DECAYS, "class_weights": (1.0, 2.0)}, "class_weights must be 4, one a class, got 2"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_bad_input_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict("cross_entropy", **{"counts": (9, 5, 4, 2), **changes})


def test_budgets_are_for_cross_entropy() -> None:
    with pytest.raises(InputError, match="loss must be cross_entropy with budgets, got mse"):
        predict("mse", counts=(3, 2), **BUDGETS)


@pytest.mark.parametrize("asked", [BUDGETS, DECAYS])
def test_a_solver_that_stops_early_is_no_answer(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    solved = LayerPeeled((9, 9, 2, 2), 4).solution.solved
    stopped = Solved(solved.logits, solved.value, 0.5, "stopped", solved.price, 3)
    for name in ("layer_peeled", "imbalanced_cross_entropy"):
        monkeypatch.setattr(f"collapselab.theory.{name}.solve", lambda program: stopped)
    with pytest.raises(NotConverged, match=r"stopped after 3 steps, at most 0.5 above the minimum: not an optimum"):
        predict("cross_entropy", counts=(9, 9, 2, 2), **asked)


def test_classes_of_different_sizes_come_near_and_do_not_merge() -> None:
    counts = tuple(round(500 * 100 ** (-i / 29)) for i in range(30))
    found = predict("cross_entropy", counts=counts, **BUDGETS)
    assert found.imbalance is not None
    none = found.imbalance.remedies[0]
    assert (none.merged, none.near) == (0, found.predicts["merged_classifiers"])
    assert none.near == 13


def test_far_ratios_are_not_cut_off() -> None:
    """The threshold of weak decay lies where sizes as parts of a million would all be one."""
    asked: dict[str, Any] = {"counts": (100,) * 5 + (10,) * 5, "decay_head": 1e-5, "decay_features": 1e-5}
    imbalance = predict("cross_entropy", bias="none", follow=True, **asked).imbalance
    assert imbalance is not None
    assert imbalance.threshold is not None
    assert imbalance.threshold > 1e6
    assert imbalance.sweep is not None
    for ratio, merged in zip(imbalance.sweep.imbalance, imbalance.sweep.merged, strict=True):
        if abs(ratio / imbalance.threshold - 1) > 1e-3:
            assert merged == (5 if ratio > imbalance.threshold else 0), ratio


def test_where_everything_vanishes_does_not_depend_on_the_ratio_of_the_decays() -> None:
    def vanishes_at(times: float) -> float | None:
        asked: dict[str, Any] = {"decay_head": times, "decay_features": 1e-16 / times}
        sweep = predict("cross_entropy", num_classes=4, per_class=5, follow=True, **asked).sweep
        assert sweep is not None
        return sweep.vanishes_at

    assert vanishes_at(1e8) == pytest.approx(vanishes_at(1e-8), rel=1e-9)


def test_a_threshold_beyond_float64_is_left_out() -> None:
    asked: dict[str, Any] = {"counts": (50, 50, 50, 2, 2), "budget_head": 300.0, "budget_features": 300.0}
    found = predict("cross_entropy", **asked)
    assert found.minority_collapse_threshold is None
    assert found.imbalance is not None
    assert found.imbalance.weight_needed is None
    looser = {one.name: one for one in found.imbalance.remedies}["looser"]
    assert looser.unknown is not None
    assert "underflows" in looser.unknown


def test_with_few_features_the_answer_is_followed_as_far_as_they_suffice() -> None:
    asked: dict[str, Any] = {"counts": (50, 50, 1, 1), "decay_head": 1e-2, "decay_features": 3e-2, "follow": True}
    few, many = (predict("cross_entropy", num_features=d, **asked) for d in (2, 4))
    assert few.sweep is not None
    assert many.sweep is not None
    assert few.sweep.vanishes_at == many.sweep.vanishes_at
    assert 1.0 in few.sweep.factor
    assert set(few.sweep.factor) < set(many.sweep.factor)
    assert few.imbalance is not None
    assert few.imbalance.sweep is not None
    assert 50.0 in few.imbalance.sweep.imbalance
    assert 1.0 not in few.imbalance.sweep.imbalance
