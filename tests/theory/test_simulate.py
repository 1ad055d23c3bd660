"""Paths of equations with noise: order of convergence, batches, and the process of single samples behind them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError, NotConverged, NotKnown
from collapselab.theory import (
    AbstractStochasticDynamics,
    LocallyElastic,
    LocallyElasticGeneral,
    LocallyElasticLogits,
    LocallyElasticReference,
    PowerLaw,
    State,
    constant,
    euler_maruyama_step,
    sample_updates,
    separable_pairs,
    simulate,
)
from tolerances import ORDER, REFERENCE

RATES = (PowerLaw(0.9, 0.6), PowerLaw(0.25, 0.8), constant(0.25))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class GeometricBrownian(AbstractStochasticDynamics):
    """dx = m x dt + s x dW, whose noise depends on the state: strong order one half."""

    m: float = 0.5
    s: float = 0.6

    @property
    def assumptions(self) -> tuple[str, ...]:
        return ("none",)

    @property
    def disturbed(self) -> tuple[str, ...]:
        return ("x",)

    def drift(self, t: float, x: State) -> State:
        return {"x": self.m * x["x"]}

    def diffusion(self, t: float, x: State, increment: State) -> State:
        return {"x": self.s * x["x"] * increment["x"]}

    def draw(self, generator: torch.Generator) -> State:
        return {"x": torch.ones(1, dtype=torch.float64)}

    @classmethod
    def examples(cls) -> Sequence["GeometricBrownian"]:
        return (cls(),)


# ---------------------------------------------------------------- order


def driven(dynamics: Any, start: State, increments: torch.Tensor, until: float, merged: int) -> torch.Tensor:
    """The end of paths driven by given Wiener increments (steps, paths, ...), several of which make one step."""
    count = len(increments) // merged
    steps, length = increments.reshape(count, merged, *increments.shape[1:]).sum(1), until / count
    (name,) = dynamics.disturbed
    x = {key: value.unsqueeze(0) for key, value in start.items()}
    for place in range(count):
        x = euler_maruyama_step(dynamics, place * length, x, step=length, increment={name: steps[place]})
    return x[name]


def test_strong_order_one_half_where_noise_depends_on_the_state() -> None:
    """Exact coupling: the solution is known along every Wiener path."""
    model, fine, paths = GeometricBrownian(), 512, 2000
    increments = torch.randn(fine, paths, 1, generator=generator(), dtype=torch.float64) / math.sqrt(fine)
    exact = torch.exp((model.m - model.s**2 / 2) + model.s * increments.sum(0))
    merged = (4, 8, 16, 32, 64)
    errors = [float((driven(model, model.draw(generator()), increments, 1.0, k) - exact).abs().mean()) for k in merged]
    ORDER.check([k / fine for k in merged], errors, order=model.strong_order)
    with pytest.raises(NotKnown, match="moments of GeometricBrownian"):
        model.moments(1.0, {})


def test_strong_order_one_where_means_move_samples() -> None:
    """Exact coupling: a sample is the mean plus its Wiener path."""
    model = LocallyElastic(3, *RATES)
    start = model.draw(generator(1))
    increments = torch.randn(128, 50, 3, 3, generator=generator(), dtype=torch.float64) * math.sqrt(2 / 128)
    exact = model.solution(2.0, start)["h"] + 0.5 * increments.sum(0)
    merged = (1, 2, 4, 8)
    errors = [float((driven(model, start, increments, 2.0, k) - exact).abs().mean()) for k in merged]
    ORDER.check([2 * k / 128 for k in merged], errors, order=1.0)


@pytest.mark.parametrize("who", ["mean", "self"])
@pytest.mark.parametrize("kind", [LocallyElastic, LocallyElasticLogits, LocallyElasticReference])
def test_weak_order_one(kind: type, who: Any) -> None:
    """The expectation of the scheme is the scheme without noise, since the drift is linear."""
    model = kind(3, *RATES, moved_by=who)
    start = model.draw(generator(2))
    still = torch.zeros(64, 1, 3, 3, dtype=torch.float64)
    exact = model.moments(4.0, start).mean["h"]
    merged = (1, 2, 4, 8)
    errors = [float((driven(model, start, still, 4.0, k)[0] - exact).norm()) for k in merged]
    ORDER.check([k / 16 for k in merged], errors, order=1.0)


@pytest.mark.parametrize("kind", [LocallyElastic, LocallyElasticLogits, LocallyElasticReference])
def test_weak_order_one_of_the_covariance_of_samples_that_move_themselves(kind: type) -> None:
    """The scheme is linear in the increments: one step's increment in one direction at a time gives its covariance."""
    model = kind(3, *RATES, moved_by="self")
    begun, until = model.begin(torch.zeros(3, 3)), 4.0
    exact = model.moments(until, begun).covariance["h"]
    errors = []
    for count in (8, 16, 32, 64):
        units = torch.eye(9 * count, dtype=torch.float64).reshape(9 * count, count, 3, 3).transpose(0, 1)
        carried = driven(model, begun, units, until, 1).flatten(1)  # what each increment becomes
        errors.append(float((until / count * carried.T @ carried - exact).norm()))
    ORDER.check([until / count for count in (8, 16, 32, 64)], errors, order=1.0)


# ---------------------------------------------------------------- the simulator


def reference_paths(model: LocallyElastic, start: State, increments: torch.Tensor, until: float) -> np.ndarray:
    """Euler-Maruyama path by path, class by class: dX_k = (1/K) sum_l E_kl Xbar_l dt + sigma dW_k."""
    steps, paths, k, p = increments.shape
    dt, ends = until / steps, np.zeros((paths, k, p))
    for path in range(paths):
        mean, x = start["mean"].numpy().copy(), start["h"].numpy().copy()
        for step in range(steps):
            t = step * dt
            velocity = np.zeros((k, p))
            for a in range(k):
                for b in range(k):
                    rate = model.intra.rate(t) if a == b else model.inter.rate(t)
                    velocity[a] += rate * mean[b] / k
            x += velocity * dt + math.sqrt(model.noise.rate(t)) * increments[step, path].numpy()
            mean += velocity * dt
        ends[path] = x
    return ends


def test_all_paths_at_once_are_the_paths_one_by_one() -> None:
    model = LocallyElastic(3, *RATES)
    start = model.draw(generator(3))
    found = simulate(model, start, (1.0,), step=0.1, paths=4, generator=generator(4)).end["h"]
    draw = generator(4)
    drawn = [torch.randn(4, 3, 3, generator=draw, dtype=torch.float64) for _ in range(10)]
    REFERENCE.check(found, reference_paths(model, start, math.sqrt(0.1) * torch.stack(drawn), 1.0))


def test_states_at_the_wanted_times() -> None:
    model = LocallyElasticLogits(3, *RATES)
    found = simulate(model, generator(5), (0.0, 0.25, 1.0), step=0.1, paths=6, generator=generator(6))
    assert found.times == (0.0, 0.25, 1.0)
    assert found.status == "finished"
    assert found.stats["steps"] == 3 + 8
    assert [tuple(state["h"].shape) for state in found.states] == [(6, 3, 3)] * 3
    assert [tuple(state["mean"].shape) for state in found.states] == [(1, 3, 3)] * 3
    start = model.draw(generator(5))
    torch.testing.assert_close(found.states[0]["h"], start["h"].expand(6, 3, 3))
    torch.testing.assert_close(found.states[1]["mean"][0], model.carried(0.25, start["mean"]), rtol=0.05, atol=0.01)


@pytest.mark.parametrize("who", ["mean", "self"])
def test_samples_of_a_class_are_an_axis_before_those_of_the_model(who: Any) -> None:
    model = LocallyElastic(3, *RATES, moved_by=who)
    one = model.begin(torch.randn(3, 3, generator=generator(), dtype=torch.float64))
    start = one | {"h": one["h"].expand(5, 3, 3)}
    found = simulate(model, start, (1.0,), step=0.1, paths=7, generator=generator(1)).end
    assert found["h"].shape == (7, 5, 3, 3)
    assert float(found["h"].var((0, 1)).min()) > 0


def test_batches_of_paths_within_the_memory() -> None:
    model = LocallyElastic(3, *RATES)
    budget = 8 * 8 * 18 * 3 / 2**20  # three paths
    found = simulate(model, generator(1), (0.5,), step=0.1, paths=7, generator=generator(2), memory_mb=budget)
    assert found.end["h"].shape == (7, 3, 3)
    assert found.end["mean"].shape == (1, 3, 3)
    first = simulate(model, generator(1), (0.5,), step=0.1, paths=3, generator=generator(2))
    torch.testing.assert_close(found.end["h"][:3], first.end["h"])
    alone = simulate(model, generator(1), (0.5,), step=0.1, paths=2, generator=generator(2), memory_mb=1e-9)
    assert alone.end["h"].shape == (2, 3, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"times": (1.0, 0.5)}, "times must ascend"),
        ({"times": ()}, "times must ascend"),
        ({"times": (-1.0,)}, "times must be a finite number of at least 0"),
        ({"step": 0.0}, "step must be a finite number above 0"),
        ({"paths": 0}, "paths must be an integer of at least 1"),
        ({"memory_mb": -1.0}, "memory_mb must be a finite number above 0"),
        ({"start": {"h": torch.ones(3, 3)}}, "start must have the entries mean, h, got h"),
        ({"start": {"h": torch.ones(2, 3), "mean": torch.ones(3, 3)}}, r"h must end in axes of sizes \(3, 3\)"),
        ({"start": {"h": torch.ones(3, 3), "mean": torch.full((3, 3), math.nan)}}, "mean must be finite, got nan"),
    ],
)
def test_bad_arguments(settings: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"times": (1.0,), "step": 0.1, "paths": 2, "generator": generator()} | settings
    start, times = given.pop("start", generator()), given.pop("times")
    with pytest.raises(InputError, match=message):
        simulate(LocallyElastic(3, *RATES), start, times, **given)


def test_paths_beyond_the_range_of_floats_are_told() -> None:
    model = LocallyElastic(3, constant(1.0), constant(0.2))
    with pytest.raises(NotConverged, match="paths have left the range of float64 by time 5000"):
        simulate(model, generator(), (1.0, 5000.0), step=1.0, paths=2, generator=generator())
    with pytest.raises(NotConverged, match="paths have left the range of float64 by time 5000"):
        sample_updates(model, torch.ones(2, 3, 3), 5000.0, step=1.0, paths=2, generator=generator())


# ---------------------------------------------------------------- one sample moves the others


@pytest.mark.parametrize("kind", [LocallyElastic, LocallyElasticLogits, LocallyElasticReference])
def test_updates_by_single_samples_tend_to_the_equation(kind: type) -> None:
    """(41): the mean over paths is that of the Euler scheme, and tends to the closed form as h tends to 0."""
    model = kind(3, PowerLaw(0.9, 0.6), PowerLaw(0.25, 0.8), constant(0.05))
    start = torch.randn(4, 3, 3, generator=generator(3), dtype=torch.float64) + 1
    begun = model.begin(start.mean(0))
    exact, t = model.moments(2.0, begun).mean["h"], 2.0
    off = []
    for step in (0.4, 0.1, 0.025):
        h = sample_updates(model, start, t, step=step, paths=1500, generator=generator(4))
        found = h.mean(1)  # class means of every path
        still = torch.zeros(round(t / step), 1, 3, 3, dtype=torch.float64)
        euler = driven(model, begun, still, t, 1)[0]
        errors = (found.mean(0) - euler) / found.std(0) * math.sqrt(len(found))
        assert float(errors.abs().max()) < 4, step
        off.append(float((euler - exact).norm()))
    assert off[0] > 3 * off[1] > 9 * off[2]
    end = (found.mean(0) - exact) / found.std(0) * math.sqrt(len(found))
    assert float(end.abs().max()) < 4.5  # with what is left of the bias


def test_updates_move_every_sample_of_a_class_alike_without_noise() -> None:
    model = LocallyElastic(3, PowerLaw(0.9, 0.6), PowerLaw(0.25, 0.8), constant(0.0))
    start = torch.randn(4, 3, 3, generator=generator(3), dtype=torch.float64)
    h = sample_updates(model, start, 1.0, step=0.1, paths=5, generator=generator())
    moved = h - start
    torch.testing.assert_close(moved, moved[:, :1].expand_as(moved))
    assert float(moved.std(0).min()) > 0  # paths differ by the samples drawn
    torch.testing.assert_close(
        sample_updates(model, start, 0.0, step=0.1, paths=2, generator=generator())[1], start.double()
    )
    with pytest.raises(InputError, match=r"start must have shape \(n, 3, 3\)"):
        sample_updates(model, start[0], 1.0, step=0.1, paths=2, generator=generator())
    with pytest.raises(InputError, match="at least one sample"):
        sample_updates(model, start[:0], 1.0, step=0.1, paths=2, generator=generator())
    with pytest.raises(InputError, match="start must be finite, got nan"):
        sample_updates(model, start * math.nan, 1.0, step=0.1, paths=2, generator=generator())


def test_the_process_separates_classes_as_moving_means_do_and_unlike_samples_that_move_themselves() -> None:
    """Samples of a class share what noise does to their mean, and amplified noise that all share separates nothing."""
    still = constant(0.0)
    model, alone = (LocallyElastic(3, constant(1.0), still, moved_by=who) for who in ("mean", "self"))
    begun, t = torch.randn(3, 3, generator=generator(1), dtype=torch.float64), 12.0
    h = sample_updates(model, begun.expand(20, 3, 3), t, step=0.05, paths=10, generator=generator(2))
    assert float(separable_pairs(h).double().mean()) > 0.95
    for one, separates in ((model, True), (alone, False)):
        ends = [
            simulate(one, one.begin(begun), (t,), step=0.05, paths=20, generator=generator(seed)).end["h"]
            for seed in range(5)
        ]
        share = float(separable_pairs(torch.stack(ends)).double().mean())
        assert share == 1 if separates else share < 0.2


def test_updates_with_any_matrices() -> None:
    model = LocallyElasticGeneral.examples()[0]
    h = sample_updates(model, torch.ones(2, 3, 2), 0.5, step=0.1, paths=3, generator=generator())
    assert h.shape == (3, 2, 3, 2)
