"""The linearised squared-error flow: its operator, its subspaces, its solution and the bound of the theorem."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError, NotKnown
from collapselab.theory import LinearisedSquaredErrorFlow, SquaredErrorFlow, State, integrate
from tolerances import IDENTITY, REFERENCE, Relative

EXAMPLES = LinearisedSquaredErrorFlow.examples()

# What LSODA gives at its tightest tolerance.
SOLVED = Relative("integrated at a tolerance of 1e-13", 1e-10, 1e-12)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(state: State) -> np.ndarray:
    return np.concatenate([state[name].numpy().ravel() for name in ("weight", "h")])


def slow_operator(one: LinearisedSquaredErrorFlow, bias: float) -> np.ndarray:
    """(W, H) -> s ((Y - b 1^T) H^T, W^T (Y - b 1^T)), column by column, with H of shape (d, N)."""
    k, d, n = one.num_classes, one.num_features, one.per_class
    y = np.kron(np.eye(k), np.ones((1, n))) - bias
    columns = []
    for at in range(d * (k + k * n)):
        unit = np.zeros(d * (k + k * n))
        unit[at] = 1
        w, h = unit[: k * d].reshape(k, d), unit[k * d :].reshape(k * n, d).T
        columns.append(one.speed * np.concatenate([(y @ h.T).ravel(), (w.T @ y).T.ravel()]))
    return np.array(columns).T


def counted(values: np.ndarray) -> Counter[float]:
    return Counter(round(float(value), 9) + 0.0 for value in values)


@pytest.mark.parametrize("one", EXAMPLES)
@pytest.mark.parametrize("t", [0.0, 0.3, math.inf])
def test_spectrum_is_that_of_the_operator(one: LinearisedSquaredErrorFlow, t: float) -> None:
    bias = (1 - math.exp(-one.bias_rate * t)) / one.num_classes
    operator = slow_operator(one, bias)
    np.testing.assert_array_equal(operator, operator.T)
    stated: Counter[float] = Counter()
    for space in one.invariant_spaces(t).values():
        stated[round(space.eigenvalue, 9) + 0.0] += space.dimension
    assert +stated == counted(np.linalg.eigvalsh(operator))


def test_spectrum_of_the_specification() -> None:
    """K = 4, n = 6, d = 10: +-2.449490 thirty times each and 220 zeros; with the mean +-.102062."""
    for one, rate in ((EXAMPLES[0], 2.449490), (EXAMPLES[1], 0.102062)):
        found = one.invariant_spaces()
        assert found["attracting"].eigenvalue == pytest.approx(rate, abs=1e-6)
        assert found["contracting"].eigenvalue == pytest.approx(-rate, abs=1e-6)
        assert found["attracting"].dimension == found["contracting"].dimension == 30
        assert sum(space.dimension for space in found.values() if space.eigenvalue == 0) == 220


@pytest.mark.parametrize("one", EXAMPLES)
def test_components_are_eigenvectors_at_right_angles_that_add_up(one: LinearisedSquaredErrorFlow) -> None:
    state = one.draw(generator(1))
    parts = one.components(state)
    IDENTITY.floor(1.0).check(sum(flat(part) for part in parts.values()), flat(state))
    spaces = one.invariant_spaces(0.0)
    for name, part in parts.items():
        velocity = one.drift(0.0, part | {"bias": state["bias"]})
        IDENTITY.floor(1.0).check(flat(velocity), spaces[name].eigenvalue * flat(part))
        for other in parts:
            expected = float(flat(part) @ flat(part)) if other == name else 0.0
            IDENTITY.floor(1.0).check(flat(part) @ flat(parts[other]), expected)


def slow_solution(one: LinearisedSquaredErrorFlow, t: float, start: State) -> tuple[np.ndarray, np.ndarray]:
    """Section 4, closed solution, with H of shape (d, N) and A of shape (d, K)."""
    k, n, s = one.num_classes, one.per_class, one.speed
    w, h = start["weight"].numpy(), start["h"].numpy().T
    ones = np.ones((1, n))
    a = np.stack([h[:, i * n : (i + 1) * n].sum(1) for i in range(k)], 1) / math.sqrt(n)
    off = h - np.kron(a, ones) / math.sqrt(n)
    pi, j = np.eye(k) - 1 / k, np.full((k, k), 1 / k)
    plus, minus, r = (w + a.T) / 2, (w - a.T) / 2, s * math.sqrt(n)
    eta = (1 - math.exp(-s * n * k * t)) / (k * math.sqrt(n))
    plus = math.exp(r * t) * pi @ plus + math.exp(eta) * j @ plus
    minus = math.exp(-r * t) * pi @ minus + math.exp(-eta) * j @ minus
    return plus + minus, (off + np.kron((plus - minus).T, ones) / math.sqrt(n)).T


@pytest.mark.parametrize("one", EXAMPLES)
def test_solution_against_its_twin_and_the_integrator(one: LinearisedSquaredErrorFlow) -> None:
    start = one.draw(generator(2))
    times = (0.2 / one.rate, 1.0 / one.rate, 3.674 / one.rate)
    found = integrate(one, start, times, method="DOP853", relative=1e-13, absolute=1e-15).require("finished")
    for t, state in zip(found.times, found.states, strict=True):
        exact = one.solution(t, start)
        weight, h = slow_solution(one, t, start)
        REFERENCE.floor(1.0).check(exact["weight"], weight)
        REFERENCE.floor(1.0).check(exact["h"], h)
        for name in exact:
            SOLVED.check(state[name], exact[name])


def test_solution_from_a_bias_that_is_not_zero() -> None:
    one = EXAMPLES[0]
    start = one.draw(generator(3)) | {"bias": torch.full((4,), -0.4, dtype=torch.float64)}
    found = integrate(one, start, (0.7,), method="DOP853", relative=1e-13, absolute=1e-15).end
    for name, exact in one.solution(0.7, start).items():
        SOLVED.check(found[name], exact)
    assert one.invariant_spaces(0.0, bias=-0.4)["common_growing"].eigenvalue == pytest.approx(2.6 * math.sqrt(6))


@pytest.mark.parametrize("one", EXAMPLES)
def test_distance_from_the_attracted_part_stays_below_the_bound(one: LinearisedSquaredErrorFlow) -> None:
    """Eq. 19; the bound is as good as 1 + 1/(K sqrt n) allows."""
    for seed in range(5):
        start = one.draw(generator(seed))
        part = flat(one.attracted(start))
        rest = float(np.linalg.norm(flat(start) - part))
        assert one.bound(start) == pytest.approx(math.exp(1 / one.num_classes / math.sqrt(one.per_class)) * rest)
        for t in (0.0, 0.1 / one.rate, 1 / one.rate, 10 / one.rate):
            now = one.solution(t, start)
            assert np.linalg.norm(flat(now) - math.exp(one.rate * t) * part) <= one.bound(start)


def test_the_flow_near_zero_is_the_linear_one() -> None:
    """What the product of class vectors and features adds is of the third order in the size."""
    away = []
    for scale in (1e-2, 1e-3):
        one = SquaredErrorFlow(4, 6, 10, scale=scale)
        linear = LinearisedSquaredErrorFlow(4, 6, 10, scale=scale)
        start = one.draw(generator(5))
        found = integrate(one, start, (0.5,), method="DOP853", relative=1e-13, absolute=1e-18).end
        away.append(np.linalg.norm(flat(found) - flat(linear.solution(0.5, start))))
    assert math.log10(away[0] / away[1]) == pytest.approx(3, abs=0.05)


def test_bad_starts() -> None:
    one = EXAMPLES[0]
    start = one.draw(generator(0))
    uneven = start | {"bias": torch.arange(4, dtype=torch.float64)}
    with pytest.raises(NotKnown, match="from a bias that is the same for all classes"):
        one.solution(1.0, uneven)
    with pytest.raises(InputError, match=r"start must have a bias of zero, got \[0.0, 1.0, 2.0, 3.0\]"):
        one.bound(uneven)
    with pytest.raises(InputError, match="t must be a finite number of at least 0, got -1"):
        one.solution(-1.0, start)
