"""The renormalised flow: its law, and a simulation on features that knows nothing of it."""

import math

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.evidence import ClassStats, LabelledFeatures
from collapselab.metrics import nc1_pinv
from collapselab.theory import RenormalisedFlow, integrate, renormalised, renormalised_step, signal_to_noise
from tolerances import IDENTITY, ORDER, REFERENCE

FLOW = RenormalisedFlow(num_classes=4, per_class=10)


def at(*values: float) -> dict[str, torch.Tensor]:
    return {"singular_values": torch.tensor(values, dtype=torch.float64)}


def slow_time(omega: float, k: int, n: int) -> float:
    """n (K^2 log w + K w^2 + w^4 / 4) by the trapezoidal rule on n (K + w^2)^2 / w, from w = 1."""
    x = np.linspace(0, math.log(omega), 200_001)
    integrand = n * (k + np.exp(2 * x)) ** 2
    return float(np.trapezoid(integrand, x)) + n * (k + 0.25)


def test_clock_against_its_twin() -> None:
    for omega in (0.3, 1.0, 4.0):
        REFERENCE.check(FLOW.clock(at(omega, omega, omega)), [slow_time(omega, 4, 10)] * 3)


@pytest.mark.parametrize("start", [(3.676, 2.042, 1.134), (1e-8, 1.0, 1e4), (1e-30, 1e-3, 0.9)])
@pytest.mark.parametrize("t", [0.0, 1e-3, 1e3, 1e8, 1e300])
def test_solution_solves_the_law(start: tuple[float, ...], t: float) -> None:
    end = FLOW.solution(t, at(*start))
    before, after = FLOW.clock(at(*start)), FLOW.clock(end)
    IDENTITY.check(after, before + t)
    assert bool((end["singular_values"] >= torch.tensor(start, dtype=torch.float64) * (1 - 1e-12)).all())


def test_numbers_of_the_specification() -> None:
    """K = 4, n = 10 from 3.676, 2.042, 1.134; the simulation they come from took steps of 2, and of 20 at the end."""
    loss = float(FLOW.loss(at(3.676, 2.042, 1.134)))
    assert loss == pytest.approx(0.18435, abs=2e-5)
    for t, expected in ((1e3, (4.597, 3.814, 3.515)), (4e3, (6.088, 5.746, 5.640)), (2e4, (9.150, 9.045, 9.014))):
        found = FLOW.solution(t, at(3.676, 2.042, 1.134))["singular_values"]
        np.testing.assert_allclose(found, expected, rtol=1e-3)
    late = FLOW.solution(40000.0, at(3.676, 2.042, 1.134))["singular_values"]
    assert float(late[0] / late[-1]) == pytest.approx(1.0074, abs=1e-4)
    assert float(FLOW.loss({"singular_values": late})) == pytest.approx(0.01219, abs=1e-4)


def test_singular_values_become_equal_and_grow_like_the_fourth_root() -> None:
    omega = FLOW.solution(1e12, at(0.5, 1.0, 5.0))["singular_values"]
    assert float(omega.max() / omega.min()) - 1 < 1e-8
    assert float(omega[0]) == pytest.approx((4e12 / 10) ** 0.25, rel=1e-3)


def test_nc1_of_renormalised_features_is_the_sum_of_inverse_squares() -> None:
    features = renormalised(simulated())
    expected = float((1 / signal_to_noise(features).square()).sum())
    IDENTITY.check(nc1_pinv(ClassStats.of(features)), expected)


def test_integrated_and_solved_states_agree_over_a_long_time() -> None:
    start = FLOW.draw(torch.Generator().manual_seed(1))
    found = integrate(FLOW, start, (10.0, 1e3, 1e5)).require("finished")
    for t, state in zip(found.times, found.states, strict=True):
        np.testing.assert_allclose(state["singular_values"], FLOW.solution(t, start)["singular_values"], rtol=1e-8)


# ------------------------------------------------------------------------------------------------ on features


def simulated() -> LabelledFeatures:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 10)
    return renormalised(LabelledFeatures.of(rng.standard_normal((40, 6)) + 1.5 * rng.standard_normal((4, 6))[y], y))


def within(features: LabelledFeatures) -> torch.Tensor:
    return features.h - ClassStats.of(features).means[features.y]


def test_features_follow_the_law() -> None:
    """Row 13: t = 1000 in steps of 2, the law off by the order of the step; deviations within classes do not move."""
    features = simulated()
    start, before, time = signal_to_noise(features), within(features), 1000.0
    u, _, vh = torch.linalg.svd(ClassStats.of(features).centred_means, full_matrices=False)
    for _ in range(500):
        features = renormalised_step(features, 2.0)
    end = signal_to_noise(features)
    clocks = FLOW.clock({"singular_values": end}) - FLOW.clock({"singular_values": start})
    np.testing.assert_allclose(clocks, time, rtol=0.01)
    np.testing.assert_allclose(end, FLOW.solution(time, {"singular_values": start})["singular_values"], rtol=1e-3)
    assert float((within(features) - before).abs().max()) < 1e-10
    turned = u.T @ ClassStats.of(features).centred_means @ vh.T
    np.testing.assert_allclose(turned[:3, :3], torch.diag(end), atol=1e-9)


def test_steps_are_of_the_first_order() -> None:
    features = simulated()
    start = {"singular_values": signal_to_noise(features)}
    away, counts = [], (4, 8, 16)
    for steps in counts:
        now = features
        for _ in range(steps):
            now = renormalised_step(now, 40 / steps)
        away.append(float((signal_to_noise(now) - FLOW.solution(40.0, start)["singular_values"]).norm()))
    ORDER.check([40 / steps for steps in counts], away, order=1)


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"singular_values must be above 0, got 0\.0"):
        FLOW.clock(at(1.0, 0.0, 1.0))
    with pytest.raises(InputError, match="per_class must be an integer of at least 2, got 1"):
        RenormalisedFlow(4, 1)
    with pytest.raises(InputError, match="t must be a finite number of at least 0"):
        FLOW.solution(math.inf, at(1.0, 1.0, 1.0))
