"""Deep linear networks: courses of modes, decayed critical points, and the equation of continuous depth."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate as quadrature
from scipy import optimize

from collapselab.core.errors import InputError, NotKnown
from collapselab.theory import (
    integrate,
    minimise,
    mode_thresholds,
    mode_time,
    mode_trajectory,
    regularised_roots,
    regularised_singular_values,
    rotation_branches,
    taghvaei_residual,
)
from collapselab.theory._deep.linear_control import continuous_layer, continuous_map
from collapselab.theory.deep_linear import DeepLinear
from collapselab.theory.linear_mode import LinearMode, LinearNetworkFlow, product
from tolerances import IDENTITY, ORDER, REFERENCE


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------------------------ modes


@pytest.mark.parametrize("layers", [1, 2, 3, 4, 7])
@pytest.mark.parametrize(("start", "target"), [(0.01, 1.3), (0.4, 1.0), (1.5, 0.7), (0.3, 0.0), (0.8, 0.8)])
def test_trajectory_solves_its_equation(start: float, target: float, layers: int) -> None:
    """du/dt = L u^(2-2/L) (s-u), integrated by another method in u itself."""
    times = [0.0, 0.3, 1.0, 4.0]
    found = mode_trajectory(start, target, times, layers=layers)
    slow = quadrature.solve_ivp(
        lambda _, u: layers * u ** (2 - 2 / layers) * (target - u),
        (0, 4),
        [start],
        method="LSODA",
        t_eval=times,
        rtol=1e-12,
        atol=1e-14,
    )
    assert found[0] == pytest.approx(start, rel=1e-14)
    np.testing.assert_allclose(found, slow.y[0], rtol=1e-8)  # what the other method keeps


def test_times_may_come_in_any_order() -> None:
    forth = mode_trajectory(0.1, 1.0, [0.5, 1.0, 2.0], layers=3)
    back = mode_trajectory(0.1, 1.0, [2.0, 0.5, 1.0, 0.5], layers=3)
    REFERENCE.check(back, forth[[2, 0, 1, 0]])


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_time_is_the_integral_of_the_equation(layers: int) -> None:
    slow, _ = quadrature.quad(lambda u: 1 / (layers * u ** (2 - 2 / layers) * (1.2 - u)), 0.05, 1.1)
    found = mode_time(0.05, 1.1, 1.2, layers=layers)
    REFERENCE.check(found, slow)
    IDENTITY.check(mode_trajectory(0.05, 1.2, [found], layers=layers), [1.1])
    IDENTITY.check(mode_time(1.1, 0.05, 1.2, layers=layers), -found)


def test_two_layers_have_the_logistic_time() -> None:
    """(1/2s) ln[u_f (s - u_0) / (u_0 (s - u_f))], whose course is s e^(2st) / (e^(2st) - 1 + s/u_0)."""
    s, start, end = 1.7, 0.02, 1.6
    REFERENCE.check(mode_time(start, end, s), math.log(end * (s - start) / (start * (s - end))) / (2 * s))
    grown = math.exp(2 * s * 0.9)
    REFERENCE.check(mode_trajectory(start, s, [0.9]), [s * grown / (grown - 1 + s / start)])


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_matrix_flow_follows_the_modes(layers: int) -> None:
    """From balanced layers that are aligned with the target, every singular value keeps to its own equation."""
    goals, starts, time = (1.4, 0.9, 0.5), (0.05, 0.1, 0.02), 2.0
    flow = LinearNetworkFlow(goals, layers)
    end = integrate(flow, flow.balanced(starts), [time]).require("finished").end
    expected = [float(mode_trajectory(u, s, [time], layers=layers)) for u, s in zip(starts, goals, strict=True)]
    np.testing.assert_allclose(product(list(end.values())), np.diag(expected), rtol=1e-7, atol=1e-9)  # of integrate


def test_small_modes_are_learnt_last() -> None:
    dynamics = LinearMode((2.0, 1.0, 0.5), 2)
    late = dynamics.solution(2.0, {"strength": torch.full((3,), 1e-3, dtype=torch.float64)})["strength"]
    share = late / torch.tensor(dynamics.targets)
    assert share[0] > 0.5 > 0.1 > share[1] > share[2]
    with pytest.raises(NotKnown, match="see mode_time"):
        LinearMode((1.0,), 3).solution(1.0, {"strength": torch.ones(1)})


# ------------------------------------------------------------------------------------------------ decayed modes


def test_values_of_the_spec() -> None:
    """Section 6: products of singular values."""
    assert regularised_singular_values([1.0], 0.3, layers=2).item() == pytest.approx(0.7, abs=1e-12)
    assert regularised_singular_values([1.0], 0.1, layers=3).item() == pytest.approx(0.89628, abs=5e-6)
    assert regularised_singular_values([2.0], 0.05, layers=4).item() == pytest.approx(1.96433, abs=5e-6)


@pytest.mark.parametrize("layers", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("decay", [0.01, 0.2, 0.36, 0.45, 0.9])
def test_roots_are_the_critical_points(layers: int, decay: float) -> None:
    """Against a fine grid of half the squared error plus lambda L / 2 u^(2/L)."""
    sigma = np.linspace(0, 1.1, 400_001)
    value = 0.5 * (sigma**layers - 1) ** 2 + decay * layers / 2 * sigma**2
    turns = np.nonzero(np.diff(np.sign(np.diff(value))))[0] + 1
    roots = regularised_roots(1.0, decay, layers=layers)
    np.testing.assert_allclose(roots, sigma[turns] ** layers, atol=1e-4)  # of the grid
    best = regularised_singular_values([1.0, 0.0], decay, layers=layers)
    assert best[0].item() == pytest.approx(sigma[value.argmin()] ** layers, abs=1e-4)
    assert best[1].item() == 0


def test_thresholds_of_three_layers() -> None:
    """Non-zero is best as long as it is at least half of the target (L = 3)."""
    found = mode_thresholds(1.0, layers=3)
    assert regularised_roots(1.0, found.best, layers=3)[-1] == pytest.approx(0.5, abs=1e-12)
    assert regularised_roots(1.0, found.exists * (1 - 1e-12), layers=3)[0] == pytest.approx(0.25, abs=1e-4)
    assert regularised_roots(1.0, found.exists, layers=3) == ()
    assert mode_thresholds(0.8, layers=2) == (0.8, 0.8)


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_critical_points_are_balanced(layers: int) -> None:
    landscape = DeepLinear((4, 3, 2), 4, 0.3 if layers == 2 else 0.1, layers)
    end = minimise(landscape, generator(1)).end
    factors = [end[name] for name in landscape.names]
    factors[0] = factors[0].T
    for before, after in pairwise(factors):
        assert float((after.T @ after - before @ before.T).abs().max()) < 1e-6
    strengths = torch.linalg.svdvals(product(factors))
    for strength, count in zip(strengths.tolist(), landscape.counts, strict=True):
        roots = regularised_roots(math.sqrt(count), landscape.decay, layers=layers)
        assert min(abs(strength - root) for root in (0.0, *roots)) < 1e-6


def test_a_start_near_zero_stays_there_with_three_layers() -> None:
    landscape = DeepLinear((5, 5, 5), 4, 1.0, 3)
    small = {name: 0.01 * x for name, x in landscape.draw(generator(3)).items()}
    stuck = float(landscape.loss(minimise(landscape, small).end))
    zero = [state for state in landscape.local_minimisers() if not any(x.any() for x in state.values())]
    assert len(zero) == 1
    assert stuck == pytest.approx(float(landscape.loss(zero[0])), abs=1e-8)
    assert stuck > landscape.minimum + 0.5


def test_only_the_largest_classes_can_be_learnt_alone() -> None:
    """Where a smaller class is learnt and a larger is not, the state is a saddle: it is no known local minimiser."""
    landscape = DeepLinear((9, 4), 3, 0.3, 3)
    strength = regularised_roots(2.0, 0.3, layers=3)[-1]
    saddle = landscape._state([0.0, strength], None)
    here = float(landscape.loss(saddle))
    moved = {name: x.clone() for name, x in saddle.items()}
    for sign in (1, -1):  # the larger class through the units of the smaller
        moved["weight"][0, 1] = sign * 1e-3
        moved["h"][:9, 1] = sign * 1e-3 / 3
        assert float(landscape.loss(moved)) < here - 1e-8
    assert [round(float(landscape.loss(s)), 6) for s in landscape.local_minimisers()] == [
        6.5,
        round(2.0 + landscape._value(regularised_roots(3.0, 0.3, layers=3)[-1], 9), 6),
    ]


# ------------------------------------------------------------------------------------------------ continuous depth


def test_layers_follow_their_equation() -> None:
    """A' = A A^T - A^T A, and the map is what the layers do one after the other."""
    first = torch.randn(3, 3, generator=generator(4), dtype=torch.float64) / 2
    step = 1e-5
    slope = (continuous_layer(first, 0.4 + step) - continuous_layer(first, 0.4 - step)) / (2 * step)
    layer = continuous_layer(first, 0.4)
    np.testing.assert_allclose(slope, layer @ layer.T - layer.T @ layer, atol=1e-9)  # of the difference
    moved = quadrature.solve_ivp(
        lambda t, x: (continuous_layer(first, t).numpy() @ x.reshape(3, 3)).ravel(),
        (0, 1.5),
        np.eye(3).ravel(),
        method="DOP853",
        rtol=1e-12,
        atol=1e-12,
    )
    np.testing.assert_allclose(continuous_map(first, horizon=1.5), moved.y[:, -1].reshape(3, 3), atol=1e-10)


def test_branches_of_the_spec() -> None:
    found = rotation_branches(math.pi / 2, 0.1)
    expected = [(-0.0095, 1.4263, 0.2242), (-0.112, -4.221, 2.006), (-1.18, -3.065, 2.220)]
    np.testing.assert_allclose(found, expected, atol=5e-4)  # digits of the spec
    assert [len(rotation_branches(math.pi / 2, decay)) for decay in (0.5, 0.1, 0.03, 0.01)] == [1, 3, 11, 31]


@pytest.mark.parametrize(("decay", "horizon"), [(0.1, 1.0), (0.03, 1.0), (0.05, 2.0)])
def test_branches_solve_the_matrix_equation(decay: float, horizon: float) -> None:
    eye, turn = torch.eye(2, dtype=torch.float64), torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    target = torch.matrix_exp(0.8 * turn)
    for growth, b, cost in rotation_branches(0.8, decay, horizon=horizon):
        first = growth * eye + b * turn
        residual = taghvaei_residual(first, target, decay, horizon=horizon, covariance=eye)
        assert float(residual.abs().max()) < 1e-9
        error = (continuous_map(first, horizon=horizon) - target).square().sum() / 2
        IDENTITY.check(cost, error + decay / 2 * horizon * first.square().sum())


def discrete_optimum(target: np.ndarray, decay: float, layers: int) -> torch.Tensor:
    """First layer of the best network of so many layers, each the implicit midpoint of X' = A X, taken to depth 0."""
    step, eye = 1 / layers, torch.eye(2, dtype=torch.float64)
    goal = torch.from_numpy(target)

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        a = torch.tensor(flat.reshape(layers, 2, 2), requires_grad=True)
        maps = torch.linalg.solve(eye - step / 2 * a, eye + step / 2 * a)
        x = product(list(maps))
        value = (x - goal).square().sum() / 2 + decay * step / 2 * a.square().sum()
        value.backward()
        assert a.grad is not None
        return value.item(), a.grad.numpy().ravel()

    options = {"maxiter": 500, "gtol": 1e-12, "ftol": 0.0}
    found = optimize.minimize(evaluate, np.zeros(4 * layers), jac=True, method="L-BFGS-B", options=options)
    a = torch.from_numpy(found.x[:4].reshape(2, 2))
    turn = torch.matrix_exp(-step / 2 * (a - a.T))  # from the middle of the first layer to its beginning
    return turn @ a @ turn.T


def test_discrete_optima_satisfy_the_equation_in_the_limit() -> None:
    target, decay = np.array([[0.3, -1.0], [1.2, 0.5]]), 0.1
    layers = [10, 20, 40]
    errors = [
        float(taghvaei_residual(discrete_optimum(target, decay, n), torch.from_numpy(target), decay).abs().max())
        for n in layers
    ]
    assert errors[-1] < 1e-3
    ORDER.check([1 / n for n in layers], errors, order=2)


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mode_trajectory(0.0, 1.0, [1.0]), "start must be a finite number above 0, got 0.0"),
        (lambda: mode_trajectory(0.1, 1.0, [1.0, -2.0]), "times must be at least 0, got -2.0"),
        (lambda: mode_time(0.1, 1.0, 1.0), "end must be a finite number above 0 and below 1.0, got 1.0"),
        (lambda: regularised_roots(1.0, 0.0, layers=3), "decay must be a finite number above 0"),
        (lambda: mode_thresholds(1.0, layers=1), "layers must be an integer of at least 2, got 1"),
        (lambda: LinearMode((), 2), r"targets must be at least one number, got \(\)"),
        (lambda: LinearNetworkFlow((1.0, 0.0), 2), r"targets\[1\] must be a finite number above 0, got 0.0"),
        (lambda: DeepLinear((3, 3), 1, 0.1), "num_features must be an integer of at least 2, got 1"),
        (lambda: DeepLinear((3, 3), 2, 0.1, 1), "layers must be an integer of at least 2, got 1"),
        (lambda: rotation_branches(4.0, 0.1), "angle must be a finite number above 0 and below 3.14"),
        (lambda: taghvaei_residual(torch.ones(2, 3), torch.eye(2), 0.1), r"first must be square, got \(2, 3\)"),
        (lambda: taghvaei_residual(torch.eye(3), torch.eye(2), 0.1), "first and target must have one shape"),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
