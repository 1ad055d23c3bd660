"""Batch-normalised features: both problems against slow twins, the trap of eq. 62, PyTorch's layer, training."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.evidence import ClassStats
from collapselab.metrics import Evidence, measure_evidence
from collapselab.theory import literal_excess, literal_solution, minimise, torch_affine, unit_batch_norm
from collapselab.theory._normalisation.batch_norm_layer import unit_shape
from collapselab.theory.batch_norm import BatchNormFeatures
from collapselab.theory.batch_norm_rescaled import RescaledBatchNormFeatures
from tolerances import IDENTITY, REFERENCE

BALANCED = BatchNormFeatures((6, 6, 6, 6), 10, 0.4)
IMBALANCED = BatchNormFeatures((12, 6, 2, 1), 8, 1.2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------------------------ slow twins


def slow_layer(u: list[float], gamma: float, alpha: float) -> list[float]:
    """BN of one unit: unit l2 norm, not unit variance."""
    mean = sum(u) / len(u)
    norm = math.sqrt(sum((x - mean) ** 2 for x in u))
    return [gamma * (x - mean) / norm + alpha / math.sqrt(len(u)) for x in u]


def slow_loss(landscape: BatchNormFeatures, state: dict[str, torch.Tensor]) -> float:
    """Eq. 61, sample by sample."""
    h, weight = state["h"].numpy(), state["weight"].numpy()
    n, d = h.shape
    units = [slow_layer(list(h[:, j]), float(state["gamma"][j]), float(state["alpha"][j])) for j in range(d)]
    total = 0.0
    for i in range(n):
        for k in range(weight.shape[0]):
            logit = sum(weight[k, j] * max(0.0, units[j][i]) for j in range(d))
            total += (logit - (1.0 if landscape.labels[i] == k else 0.0)) ** 2 / 2
    squares = sum(float((state[name] ** 2).sum()) for name in ("weight", "gamma", "alpha"))
    return total + landscape.decay / 2 * squares


@pytest.mark.parametrize("landscape", BatchNormFeatures.examples())
def test_loss_is_the_slow_twins(landscape: BatchNormFeatures) -> None:
    state = landscape.draw(generator(1))
    REFERENCE.check(landscape.loss(state), slow_loss(landscape, state))


def test_rescaled_loss_is_what_is_left_of_the_decayed_one() -> None:
    """Of all ways to rescale a unit the best costs the product of its norms."""
    rescaled = RescaledBatchNormFeatures(BALANCED.counts, BALANCED.num_features, BALANCED.decay)
    state = rescaled.draw(generator(2))
    length = torch.linalg.vector_norm(state["weight"], dim=0).sqrt()
    moved = {"gamma": state["gamma"] * length, "alpha": state["alpha"] * length, "weight": state["weight"] / length}
    REFERENCE.check(BALANCED.loss(state | moved), rescaled.loss(state))


def test_layer_is_pytorchs_with_translated_parameters() -> None:
    draw = generator(3)
    h = torch.randn(9, 4, generator=draw, dtype=torch.float64)
    gamma, alpha = torch.randn(2, 4, generator=draw, dtype=torch.float64)
    layer = torch.nn.BatchNorm1d(4, eps=1e-300, dtype=torch.float64)
    weight, bias = torch_affine(gamma, alpha, 9)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
        expected = layer(h)
    found = unit_batch_norm(h, gamma, alpha)
    REFERENCE.check(found, expected)
    REFERENCE.check(found, np.array([slow_layer(h[:, j].tolist(), gamma[j], alpha[j]) for j in range(4)]).T)
    REFERENCE.check(found.square().sum(0), gamma**2 + alpha**2)


# ------------------------------------------------------------------------------------------------ the spec's numbers


def test_values_of_the_spec() -> None:
    """Section 13, row 17: the minimum, and eq. 62 as it stands."""
    assert BALANCED.minimum == pytest.approx(3.599184, abs=1e-6)
    assert float(BALANCED.loss(literal_solution(BALANCED))) == pytest.approx(4.480327, abs=1e-6)
    assert IMBALANCED.minimum == pytest.approx(7.1333659, abs=1e-7)
    logits = IMBALANCED.geometry().logits
    assert [round(x, 4) for x in logits.own] == [0.6536, 0.5101, 0.1515, 0.0]


@pytest.mark.parametrize("landscape", BatchNormFeatures.examples())
def test_literal_solution_solves_the_rescaled_problem_only(landscape: BatchNormFeatures) -> None:
    rescaled = RescaledBatchNormFeatures(landscape.counts, landscape.num_features, landscape.decay)
    literal = literal_solution(landscape)
    IDENTITY.check(landscape.loss(literal), landscape.minimum + literal_excess(landscape))
    IDENTITY.check(rescaled.loss(rescaled.minimiser()), rescaled.minimum)
    IDENTITY.check(rescaled.minimum, landscape.minimum)


def test_literal_solution_is_right_where_lengths_are_one() -> None:
    landscape = BatchNormFeatures((4, 4, 4), 3, 1.0)
    assert literal_excess(landscape) == 0
    IDENTITY.check(landscape.loss(literal_solution(landscape)), landscape.minimum)


def test_parameters_of_equation_62() -> None:
    state = literal_solution(BALANCED)
    n, k = 6, 4
    IDENTITY.check(state["gamma"][:k], [math.sqrt(1 - 1 / k)] * k)
    IDENTITY.check(state["alpha"][:k], [1 / math.sqrt(k)] * k)
    IDENTITY.check(state["weight"][:, :k], (math.sqrt(n) - 0.4) * np.eye(k))
    assert float(state["weight"][:, k:].abs().max()) == 0
    outputs = BALANCED.outputs(state)
    IDENTITY.floor(1).check(outputs[:, :k], BALANCED.targets / math.sqrt(n))  # eq. 63
    means = ClassStats.of(BALANCED.features(state)).means
    centred = (means - means.mean(0))[:, :k]
    IDENTITY.floor(1).check(centred, (np.eye(k) - 1 / k) / math.sqrt(n))  # eq. 64
    gamma, alpha = unit_shape(torch.tensor([12, 1]), 21)
    IDENTITY.check(gamma**2 + alpha**2, [1.0, 1.0])


# ------------------------------------------------------------------------------------------------ what is fixed


def test_units_split_but_inner_products_stay() -> None:
    states = [BALANCED.minimiser(None), BALANCED.minimiser(generator(5)), BALANCED.minimiser(generator(6))]
    active = [int((state["weight"].abs().sum(0) > 0).sum()) for state in states]
    assert len(set(active)) > 1
    for state in states:
        outputs = BALANCED.outputs(state)
        IDENTITY.floor(1).check(outputs @ state["weight"].T, (1 - 0.4 / math.sqrt(6)) * BALANCED.targets)
        size = (math.sqrt(6) - 0.4) / 6
        IDENTITY.floor(1).check(outputs @ outputs.T, size * BALANCED.targets @ BALANCED.targets.T)


def test_rescaled_features_depend_on_how_units_are_shared() -> None:
    landscape = RescaledBatchNormFeatures((6,) * 4, 10, 0.4)
    assert landscape.geometry() is None
    assert landscape.predicts() == {"accuracy": 1.0}
    norms = [
        landscape.outputs(landscape.minimiser(draw)).square().sum(1) for draw in (generator(1), generator(2), None)
    ]
    assert float((norms[0] - norms[1]).abs().max()) > 0.1
    IDENTITY.check(norms[2], [1 / 6] * 24)


def test_a_class_too_small_for_the_decay_vanishes() -> None:
    """Batch normalisation does not cure the loss of minority classes."""
    state = IMBALANCED.minimiser(generator(1))
    assert float(state["weight"][3].abs().max()) == 0
    assert IMBALANCED.thresholds() == {
        "decay_first_vanishes": 1.0,
        "decay_all_vanish": pytest.approx(math.sqrt(12)),
        "vanished_classes": 1.0,
    }
    assert BatchNormFeatures((12, 6, 2, 1), 8, 0.99).thresholds()["vanished_classes"] == 0


# ------------------------------------------------------------------------------------------------ training


@pytest.mark.parametrize("seed", range(3))
def test_training_reaches_the_value(seed: int) -> None:
    found = minimise(BALANCED, generator(seed)).end
    assert float(BALANCED.loss(found)) == pytest.approx(3.599184, abs=1e-6)
    features = BALANCED.features(found)
    evidence = Evidence(ClassStats.of(features), BALANCED.head(found), features)
    measured, _, _ = measure_evidence(evidence, ("etf_error", "nc1_pinv", "nc2_max_angle_means"))
    assert all((one.value or 0) < 1e-3 for one in measured.values()), measured


def test_adam_reaches_the_value() -> None:
    """As networks are trained: the value to the digits that so few steps give, and the cosines of the spec."""
    landscape = BALANCED
    state = {name: x.requires_grad_() for name, x in landscape.draw(generator(2)).items()}
    optimiser = torch.optim.Adam(state.values(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1500)
    for _ in range(1500):
        optimiser.zero_grad()
        landscape.loss(state).backward()
        optimiser.step()
        schedule.step()
    end = {name: x.detach() for name, x in state.items()}
    assert float(landscape.loss(end)) == pytest.approx(landscape.minimum, abs=1e-4)
    means = ClassStats.of(landscape.features(end)).means
    centred = torch.nn.functional.normalize(means - means.mean(0))
    assert float((centred @ centred.T + 1 / 3)[~torch.eye(4, dtype=torch.bool)].abs().max()) < 0.01


def test_few_units_are_caught_at_the_known_local_minimiser() -> None:
    """Three units for three classes under strong decay: most random starts end with one constant unit."""
    landscape = BatchNormFeatures((3, 3, 3), 3, 1.2)
    trapped = float(landscape.loss(landscape.local_minimisers()[0]))
    ends = [float(landscape.loss(minimise(landscape, generator(seed)).end)) for seed in range(8)]
    caught = [end for end in ends if end == pytest.approx(trapped, abs=1e-6)]
    reached = [end for end in ends if end == pytest.approx(landscape.minimum, abs=1e-6)]
    assert len(caught) + len(reached) == 8
    assert len(caught) > len(reached) > 0


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (((4,), 3, 0.1), "counts must be those of two classes or more"),
        (((4, 0), 3, 0.1), r"counts\[1\] must be an integer of at least 1, got 0"),
        (((4, 4), 1, 0.1), "num_features must be an integer of at least 2, got 1"),
        (((4, 4), 2, 0.0), "decay must be a finite number above 0, got 0.0"),
    ],
)
@pytest.mark.parametrize("cls", [BatchNormFeatures, RescaledBatchNormFeatures])
def test_settings_are_refused(cls: Any, settings: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cls(*settings)


def test_a_constant_unit_is_refused() -> None:
    h = torch.tensor([[1.0, 2.0], [0.0, 2.0]])
    with pytest.raises(InputError, match="h must have no constant column, got one at 1"):
        unit_batch_norm(h, torch.ones(2), torch.zeros(2))
