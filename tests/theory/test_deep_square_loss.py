"""Squared-error flow of homogeneous networks: both flows against real networks, the norm at rest, and the margins."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.evidence import LabelledFeatures
from collapselab.measuring import measure
from collapselab.theory import (
    State,
    decayed_equilibrium_norms,
    equilibrium_norm,
    integrate,
    largest_spread,
    margin_form,
    mode_trajectory,
    norm_trajectory,
    norm_velocity,
)
from collapselab.theory._deep.relu_network import SquareLossDynamics, pullback
from collapselab.theory.deep_square_loss import WeightDecayedSquareLoss, WeightNormalisedSquareLoss
from tolerances import IDENTITY, REFERENCE

SIGNS = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(4)[:, None]
ONE_HOT = torch.eye(3, dtype=torch.float64).repeat(3, 1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def follow(dynamics: SquareLossDynamics, state: State, *, step: float, steps: int) -> State:
    """Small steps of one size, which slide along kinks; layers that have unit norm are given it back."""
    for _ in range(steps):
        velocity = dynamics.drift(0.0, state)
        state = {name: x + step * velocity[name] for name, x in state.items()}
        if "norm" in state:
            state = {name: x if name == "norm" else x / x.norm() for name, x in state.items()}
    return state


# ------------------------------------------------------------------------------------------------ real networks


def network(weights: list[Tensor], inputs: Tensor) -> Tensor:
    for weight in weights[:-1]:
        inputs = torch.relu(torch.nn.functional.linear(inputs, weight))
    return torch.nn.functional.linear(inputs, weights[-1])


@pytest.mark.parametrize("dynamics", WeightNormalisedSquareLoss.examples())
def test_normalised_flow_is_that_of_a_weight_normalised_network(dynamics: SquareLossDynamics) -> None:
    """rho and v of f = rho net(v / |v|), by automatic differentiation at |v| = 1."""
    state = {name: x.requires_grad_() for name, x in dynamics.draw(generator(1)).items()}
    weights = [weight / weight.norm() for weight in dynamics.weights(state)]
    error = dynamics.targets - state["norm"] * network(weights, dynamics.inputs)
    loss = error.square().sum(1).mean() + dynamics.decay * state["norm"] ** 2
    slopes = torch.autograd.grad(loss, list(state.values()))
    with torch.no_grad():
        found = dynamics.drift(0.0, state)
    for name, slope in zip(state, slopes, strict=True):
        REFERENCE.floor(1).check(found[name], -slope)
    outputs = dynamics.outputs(state).detach()
    norm = float(state["norm"].detach())
    REFERENCE.check(found["norm"], norm_velocity(norm, outputs, dynamics.targets, dynamics.decay))


@pytest.mark.parametrize("dynamics", WeightDecayedSquareLoss.examples())
def test_decayed_flow_is_that_of_a_decayed_network(dynamics: SquareLossDynamics) -> None:
    state = {name: x.requires_grad_() for name, x in dynamics.draw(generator(1)).items()}
    error = dynamics.targets - network(list(state.values()), dynamics.inputs)
    loss = error.square().sum(1).mean() + dynamics.decay * sum(x.square().sum() for x in state.values())
    slopes = torch.autograd.grad(loss, list(state.values()))
    with torch.no_grad():
        found = dynamics.drift(0.0, state)
    for name, slope in zip(state, slopes, strict=True):
        REFERENCE.floor(1).check(found[name], -slope)


def test_outputs_are_homogeneous_in_each_layer() -> None:
    """Sum over a layer of weight times derivative is the output, once for each layer."""
    dynamics = WeightNormalisedSquareLoss.examples()[1]
    weights = dynamics.weights(dynamics.draw(generator(2)))
    upstream = normal(3, *dynamics.targets.shape)
    total = float((upstream * network(weights, dynamics.inputs)).sum())
    for weight, slope in zip(weights, pullback(weights, dynamics.inputs, upstream), strict=True):
        REFERENCE.check((weight * slope).sum(), total)


# ------------------------------------------------------------------------------------------------ the norm


def slow_norm_velocity(norm: float, f: np.ndarray, y: np.ndarray, decay: float) -> float:
    """Minus the derivative of the mean of |y - rho f|^2 plus decay rho^2, by differences."""

    def loss(rho: float) -> float:
        return sum(float(((y[i] - rho * f[i]) ** 2).sum()) for i in range(len(f))) / len(f) + decay * rho * rho

    return -(loss(norm + 1e-4) - loss(norm - 1e-4)) / 2e-4


@pytest.mark.parametrize("targets", [SIGNS, ONE_HOT])
def test_norm_moves_and_rests_as_stated(targets: Tensor) -> None:
    outputs, decay = 0.3 * targets + 0.2 * normal(4, *targets.shape), 0.07
    IDENTITY.check(
        norm_velocity(0.8, outputs, targets, decay), slow_norm_velocity(0.8, outputs.numpy(), targets.numpy(), decay)
    )
    rest = equilibrium_norm(outputs, targets, decay)
    assert norm_velocity(rest, outputs, targets, decay) == pytest.approx(0, abs=1e-14)
    times = [0.0, 0.5, 3.0]
    course = norm_trajectory(2.0, outputs, targets, decay=decay, times=times)
    slow, step = 2.0, 1e-3
    for _ in range(500):  # the midpoint rule
        middle = slow + step / 2 * norm_velocity(slow, outputs, targets, decay)
        slow += step * norm_velocity(middle, outputs, targets, decay)
    assert course[0] == pytest.approx(2.0, rel=1e-15)
    assert course[1] == pytest.approx(slow, rel=1e-6)
    assert norm_trajectory(2.0, outputs, targets, decay=decay, times=[100.0]).item() == pytest.approx(rest, rel=1e-6)


def test_norm_of_decayed_layers_is_a_mode_of_a_deep_linear_network() -> None:
    """Layers of equal norm whose directions are held: rho' = 2 L rho^(2-2/L) (c - rho e) without decay."""
    outputs = 0.4 * SIGNS + 0.1 * normal(5, 8, 1)
    correlation, energy = float((outputs * SIGNS).mean()), float(outputs.square().mean())
    layers, rho, step, time = 3, 0.05, 5e-3, 6.0

    def velocity(norm: float) -> float:
        each = norm ** (1 / layers)  # d|W|/dt = 2 (c - rho e) rho / |W|
        return layers * norm / each * 2 * (correlation - norm * energy) * norm / each

    for _ in range(round(time / step)):
        rho += step * velocity(rho + step / 2 * velocity(rho))
    expected = mode_trajectory(0.05, correlation / energy, [2 * energy * time], layers=layers)
    assert rho == pytest.approx(expected.item(), rel=1e-5)
    lower, upper = decayed_equilibrium_norms(outputs, SIGNS, 0.01, layers=layers)
    for root in (lower, upper):
        assert root ** (1 - 2 / layers) * (correlation - root * energy) == pytest.approx(0.01, rel=1e-9)
    assert decayed_equilibrium_norms(-outputs, SIGNS, 0.01, layers=layers) == ()
    assert decayed_equilibrium_norms(outputs, SIGNS, 10.0, layers=layers) == ()


# ------------------------------------------------------------------------------------------------ margins


@pytest.mark.parametrize("targets", [SIGNS, ONE_HOT])
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_loss_at_the_best_norm_depends_on_margins_alone(targets: Tensor, decay: float) -> None:
    outputs = 0.3 * targets + 0.2 * normal(6, *targets.shape)
    rho = equilibrium_norm(outputs, targets, decay)
    loss = (targets - rho * outputs).square().sum(1).mean() + decay * rho**2
    form = margin_form(outputs, targets, decay)
    REFERENCE.check(form.value, loss)
    margins = [float(sum(y * f for y, f in zip(a, b, strict=True))) for a, b in zip(targets, outputs, strict=True)]
    REFERENCE.check(form.mean, np.mean(margins))
    REFERENCE.check(form.variance, np.var(margins))
    assert (form.rest == pytest.approx(0, abs=1e-15)) == (targets.shape[1] == 1)


def test_equal_margins_are_best_and_bound_the_spread_of_all_that_is_better() -> None:
    equal, decay = 0.4, 0.05
    base = margin_form(equal * SIGNS, SIGNS, decay)
    assert base.value == pytest.approx(decay / (decay + equal**2))
    assert margin_form(equal * SIGNS, SIGNS, 0.0).value == 0
    better = 0
    for seed in range(200):
        spread = normal(seed, 8, 1) * 0.15
        outputs = SIGNS * (equal + 0.3 * torch.rand((), generator=generator(seed), dtype=torch.float64) + spread)
        form = margin_form(outputs, SIGNS, decay)
        within = form.variance + form.rest <= largest_spread(form.mean, equal, decay)
        assert within == (form.value <= base.value)
        better += within
    assert 20 < better < 190


# ------------------------------------------------------------------------------------------------ at rest


def test_a_network_comes_to_rest_at_the_stated_norm_and_interpolates_without_decay() -> None:
    """The smaller the decay, the more equal the margins: their relative spread falls faster than the decay."""
    inputs, spreads, sizes = normal(1, 8, 6), [], []
    for decay in (0.1, 0.02, 0.004):
        dynamics = WeightNormalisedSquareLoss(inputs, SIGNS, (16,), decay)
        start = dynamics.draw(generator(0))
        end = follow(dynamics, start, step=0.1, steps=800)
        outputs, rho = dynamics.outputs(end), float(end["norm"])
        form = margin_form(outputs, SIGNS, decay)
        assert rho == pytest.approx(equilibrium_norm(outputs, SIGNS, decay), rel=1e-3)  # it slides along kinks
        loss = (SIGNS - rho * outputs).square().mean() + decay * rho**2
        assert float(loss) == pytest.approx(form.value, rel=1e-4)
        spreads.append(form.variance / form.mean**2)
        sizes.append(abs(rho * form.mean - 1))
    assert spreads[0] > 0.05  # with decay margins are not equal
    assert spreads[1] < spreads[0] / 5
    assert spreads[2] < spreads[1] / 5
    assert sizes[0] > 2 * sizes[1] > 6 * sizes[2]


def test_outputs_of_three_classes_collapse_without_decay() -> None:
    inputs, labels, ratios = normal(1, 9, 8), torch.arange(3).repeat(3), []
    for decay in (0.1, 0.001):
        dynamics = WeightNormalisedSquareLoss(inputs, ONE_HOT, (16, 12), decay)
        end = follow(dynamics, dynamics.draw(generator(0)), step=0.1, steps=600)
        outputs = dynamics.outputs(end)
        assert float(end["norm"]) == pytest.approx(equilibrium_norm(outputs, ONE_HOT, decay), rel=1e-2)
        ratios.append(measure(LabelledFeatures(outputs, labels, 3), metrics=["nc1_trace_ratio"])["nc1_trace_ratio"])
    assert ratios[0] > 0.03
    assert ratios[1] < 0.1 * ratios[0]


def test_decayed_layers_come_to_equal_norms_or_die() -> None:
    """With three layers a small start ends at zero, where a larger one comes to rest at the stated norm."""
    dynamics = WeightDecayedSquareLoss(normal(1, 9, 8), ONE_HOT, (16, 12), 0.1)
    start = dynamics.draw(generator(0))
    end = follow(dynamics, start, step=0.2, steps=700)
    norms = [float(weight.norm()) for weight in dynamics.weights(end)]
    assert max(norms) - min(norms) < 0.01
    rho = math.prod(norms)
    stable = decayed_equilibrium_norms(dynamics.outputs(end) / rho, ONE_HOT, 0.1, layers=3)[-1]
    assert rho == pytest.approx(stable, rel=1e-2)
    small = follow(dynamics, {name: 0.1 * x for name, x in start.items()}, step=0.2, steps=400)
    assert max(float(x.abs().max()) for x in small.values()) < 1e-6


def test_balance_falls_at_the_stated_rate() -> None:
    dynamics = WeightDecayedSquareLoss.examples()[0]
    start = dynamics.draw(generator(4))
    end = integrate(dynamics, start, [0.7]).require("finished").end
    expected = dynamics.balance(start) * math.exp(-4 * dynamics.decay * 0.7)
    np.testing.assert_allclose(dynamics.balance(end), expected, rtol=1e-7)  # of integrate


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: equilibrium_norm(torch.zeros(2, 1), torch.ones(2, 1), 0.0), "outputs must not all be zero"),
        (lambda: equilibrium_norm(torch.ones(2, 1), torch.ones(3, 1), 0.0), "outputs and targets must have one shape"),
        (lambda: margin_form(torch.ones(2, 1), 2 * torch.ones(2, 1), 0.0), "targets must have unit length"),
        (lambda: largest_spread(1.0, 0.0, 0.1), "equal_margin must be a finite number above 0"),
        (
            lambda: WeightNormalisedSquareLoss(torch.ones(3, 2), torch.ones(2, 1), (4,), 0.1),
            "targets must be one a sample: 3 samples, 2 targets",
        ),
        (
            lambda: WeightDecayedSquareLoss(torch.ones(2, 2), torch.ones(2, 1), (), 0.1),
            "hidden must be the units of at least one layer",
        ),
        (
            lambda: WeightDecayedSquareLoss(torch.ones(2, 2), torch.ones(2, 1), (4,), -0.1),
            "decay must be a finite number of at least 0, got -0.1",
        ),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
