"""`predict`: the numbers of the specification, losses as training has them, any convex function, and refusals."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from collapselab import theory
from collapselab.core.errors import InputError
from collapselab.evidence import ClassStats
from collapselab.metrics import REGISTRY, Evidence, measure_evidence
from collapselab.theory import Problem, answered, predict
from collapselab.training.losses import LOSSES, Outputs
from tolerances import IDENTITY

SMALL: dict[str, Any] = {
    "num_classes": 4,
    "per_class": 6,
    "num_features": 5,
    "decay_head": 5e-3,
    "decay_features": 2e-3,
}

# Section 2(d) of the specification: K, n, d, both decays, minimum, squared norm of the classifier.
ROWS = [
    (4, 10, 8, 5e-3, 5e-3, 0.2430016020, 38.881109),
    (10, 5, 16, 5e-3, 1e-3, 0.2823962428, 47.270461),
    (10, 5, 9, 5e-3, 1e-3, 0.2823962428, 47.270461),
    (3, 20, 2, 5e-3, 5e-3, 0.2136674558, 33.583049),
]


@pytest.mark.parametrize(("k", "n", "d", "decay_head", "decay_features", "minimum", "squared"), ROWS)
def test_numbers_of_the_specification(
    k: int, n: int, d: int, decay_head: float, decay_features: float, minimum: float, squared: float
) -> None:
    found = predict(
        "cross_entropy",
        num_classes=k,
        per_class=n,
        num_features=d,
        decay_head=decay_head,
        decay_features=decay_features,
    )
    assert found.minimum == pytest.approx(minimum, abs=1e-9)
    assert found.norms is not None
    assert found.norms.weight**2 == pytest.approx(squared, abs=1e-5)
    assert found.source == "zhu2021"


@pytest.mark.parametrize("loss", sorted(answered()))
def test_a_loss_is_the_one_of_training(loss: str) -> None:
    """Same name, same settings, same numbers: otherwise a prediction beside a run would compare two things."""
    cls = answered()[loss][0].cls
    landscape = cls.examples()[0]
    names, own = ({entry.name for entry in dataclasses.fields(one)} for one in (LOSSES[loss].make, cls))
    assert own - {"problem"} == names
    settings = {name: getattr(landscape, name) for name in names}
    g = torch.Generator().manual_seed(0)
    k = landscape.problem.num_classes
    logits = torch.randn(7, k, generator=g, dtype=torch.float64)
    y = torch.randint(0, k, (7,), generator=g)
    trained = LOSSES[loss].make(**settings)(Outputs(logits, logits, logits), y)
    IDENTITY.check(landscape.sample_losses(logits, y), trained)


@pytest.mark.parametrize("loss", sorted(answered()))
def test_the_record_is_what_the_minimiser_is(loss: str) -> None:
    """Sizes, parts of the minimum and metrics, measured at the minimiser."""
    found = predict(loss, **SMALL, bias="free")
    problem = Problem.balanced(4, 6, 5, decay_head=5e-3, decay_features=2e-3, bias="free")
    landscape = answered()[loss][0].cls(problem)
    state, norms = landscape.minimiser(), found.norms
    assert norms is not None
    IDENTITY.check([norms.weight, norms.features], [float(state[name].norm()) for name in ("weight", "h")])
    mean_loss = landscape.sample_losses(problem.logits(state), problem.labels).mean()
    assert found.mean_loss == pytest.approx(float(mean_loss), rel=1e-9)
    evidence = Evidence(ClassStats.of(landscape.features(state)), landscape.head(state), landscape.features(state))
    assert {"weight_norm", "feature_norm"} <= set(found.predicts) <= set(REGISTRY)
    for name, measured in measure_evidence(evidence, found.predicts)[0].items():
        assert measured.value == pytest.approx(found.predicts[name], rel=1e-8, abs=1e-8), name


def test_the_answer_is_followed_over_decay() -> None:
    found = predict("cross_entropy", **SMALL, follow=True)
    sweep = found.sweep
    assert sweep is not None
    assert sweep.vanishes_at == pytest.approx(1 / found.thresholds["strength_times_classes"], rel=1e-9)
    at = sweep.factor.index(1.0)
    assert (sweep.minimum[at], sweep.margin[at]) == (found.minimum, found.margin)
    assert list(sweep.factor) == sorted(sweep.factor)
    assert list(sweep.margin) == sorted(sweep.margin, reverse=True)
    assert list(sweep.minimum) == sorted(sweep.minimum)
    assert sweep.minimum[-1] == pytest.approx(math.log(4))


def test_beyond_the_threshold_everything_is_zero() -> None:
    found = predict("cross_entropy", **{**SMALL, "decay_head": 10.0}, follow=True)
    assert found.norms is not None
    assert (found.norms.weight, found.margin) == (0.0, 0.0)
    assert found.geometry is not None
    assert found.geometry.cosines_weights is None
    assert found.sweep is not None
    assert found.sweep.vanishes_at is not None
    assert found.sweep.vanishes_at < 1


def test_a_hundred_thousand_classes_take_a_few_numbers() -> None:
    found = predict("cross_entropy", num_classes=100_000, per_class=5, decay_head=5e-6, decay_features=1e-7)
    assert found.settings["num_features"] == 100_000
    assert found.counts == ((5, 100_000),)
    assert len(found.model_dump_json()) < 4000
    assert found.geometry is not None
    assert found.geometry.cosines_means is not None
    assert found.geometry.cosines_means.between[0][0] == pytest.approx(-1 / 99_999, rel=1e-9)


def test_without_decay_there_is_a_direction_and_no_norms() -> None:
    asked = {**SMALL, "decay_head": 0.0, "decay_features": 0.0}
    found = predict("cross_entropy", **asked, bias="none", follow=True)
    assert (found.model, found.attained, found.minimum) == ("unregularised_cross_entropy", False, 0.0)
    assert (found.norms, found.mean_loss, found.margin, found.sweep) == (None, None, None, None)
    assert found.predicts["nc2_max_angle_means"] == 0.0
    assert "weight_norm" not in found.predicts
    with pytest.raises(InputError, match="decay_head and decay_features must be above 0"):
        predict("cross_entropy", **asked)


def test_unequal_classes_are_asked_of_the_models_that_know_them() -> None:
    asked = {"decay_head": 5e-3, "decay_features": 1e-3}
    found = predict("mse", counts=(5, 50, 10, 50), **asked, bias="none")
    assert found.counts == ((5, 1), (50, 1), (10, 1), (50, 1))
    assert "per_class" not in found.settings
    assert found.norms is not None
    # Every critical point balances decay, whatever the sizes.
    IDENTITY.check(asked["decay_head"] * found.norms.weight**2, asked["decay_features"] * found.norms.features**2)
    found = predict("cross_entropy", counts=(5, 50, 10, 50), **asked)
    assert (found.model, found.geometry and found.geometry.weights.sizes) == ("imbalanced_cross_entropy", (2, 1, 1))
    with pytest.raises(InputError, match="classes must have one size here, got sizes 5 to 50"):
        predict("label_smoothing", counts=(5, 50, 10, 50), **asked)


def softplus_margins(logits: Tensor, y: Tensor) -> Tensor:
    """A convex loss that no model is called like: soft hinges of all differences from the own logit."""
    return functional.softplus(1 - (logits.gather(1, y[:, None]) - logits)).sum(1)


@pytest.mark.parametrize("bias", ["none", "free"])
def test_a_function_of_ones_own_agrees_with_brute_force(bias: Any) -> None:
    found = predict(softplus_margins, **SMALL, bias=bias)
    assert (found.loss, found.model) == ("softplus_margins", "symmetric")
    problem = Problem.balanced(4, 6, 5, decay_head=5e-3, decay_features=2e-3, bias=bias)
    state = problem.draw(torch.Generator().manual_seed(0))
    free = [x.requires_grad_() for x in state.values()]
    solver = torch.optim.LBFGS(free, max_iter=2000, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def value() -> Tensor:
        solver.zero_grad()
        total = softplus_margins(problem.logits(state), problem.labels).mean() + problem.penalty(state)
        total.backward()
        return total

    solver.step(value)
    assert found.minimum == pytest.approx(float(value().detach()), abs=1e-6)
    assert found.norms is not None
    assert found.norms.weight == pytest.approx(float(state["weight"].detach().norm()), abs=1e-4)


def test_the_next_model_is_asked_where_the_first_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    cross_entropy, mse = (theory.REGISTRY[name] for name in ("cross_entropy", "mse"))
    monkeypatch.setattr("collapselab.theory._predict.answered", lambda: {"cross_entropy": (cross_entropy, mse)})
    asked = {"counts": (6, 3), "decay_head": 5e-3, "decay_features": 1e-3}
    assert predict("cross_entropy", **asked, bias="none").model == "mse"
    # Both refuse; what the one that takes unequal classes lacks says more than that the other wants equal ones.
    with pytest.raises(InputError, match="bias must be 'none' or 'free' for classes of different sizes"):
        predict("cross_entropy", **asked, bias="decay", decay_bias=1.0)


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    ("cross_entropi", {}, r"no model answers the loss 'cross_entropi'; did you mean 'cross_entropy'\?"),
    ("hinge", {}, "no model answers the loss 'hinge'; known: cross_entropy, focal"),
    ("focal", {"gama": 2.0}, r"focal has no setting 'gama'; did you mean 'gamma'\?"),
    ("cross_entropy", {"gamma": 2.0}, "cross_entropy has no setting 'gamma'; its settings: none"),
    ("focal", {"gamma": -1.0}, "gamma must be a finite number of at least 0"),
    (3, {}, "loss must be a name or a function of logits and labels, got 3"),
    (softplus_margins, {"gamma": 2.0}, "a function has no settings, got gamma"),
    ("mse", {"per_class": None}, "per_class must be given, or counts, got nothing"),
    ("mse", {"num_classes": None}, "num_classes must be given, or counts, got nothing"),
    ("mse", {"counts": (3, 3, 3, 3)}, "per_class must not be given beside counts, got 6"),
    ("mse", {"counts": (3, 3, 3), "per_class": None}, "num_classes must be 3, the number of counts, got 4"),
    ("mse", {"counts": "3", "per_class": None}, "counts must be whole numbers, one a class, got '3'"),
    ("mse", {"counts": (3, 3, 3, 2.5), "per_class": None}, r"counts\[3\] must be an integer"),
    ("cross_entropy", {"num_features": 2}, "num_features must be at least 3, got 2"),
    ("cross_entropy", {"decay_features": 0.0}, "must be above 0"),
    ("cross_entropy", {"nonnegative": True}, "nonnegative must be false"),
    ("mse", {"bias": "decay"}, "decay_bias must be given for a bias that is decayed, got nothing"),
    ("mse", {"decay_bias": 1.0}, "decay_bias must be 0 with bias 'free', got 1.0"),
]


@pytest.mark.parametrize(("loss", "changes", "message"), REFUSED)
def test_bad_input_is_named(loss: "str | Callable[..., Any]", changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict(loss, **{**SMALL, **changes})


def test_the_refusal_that_says_most_is_told() -> None:
    """One model wants classes of one size; that the other has too few features is what can be mended."""
    with pytest.raises(InputError, match="num_features must be at least 2"):
        predict("cross_entropy", counts=(50, 50, 10), num_features=1, decay_head=5e-3, decay_features=1e-3)
