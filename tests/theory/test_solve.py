"""Solvers on problems with known answers, and the status of what they return."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from collapselab.core.errors import InputError, NotConverged
from collapselab.theory import (
    AbstractDynamics,
    AbstractLandscape,
    CrossEntropyFeatures,
    Problem,
    State,
    integrate,
    minimise,
    stationarity,
)


@dataclass(frozen=True)
class Bowl(AbstractLandscape):
    """Half the weighted squared distance to a point, with entries that may have to be non-negative."""

    bounded: bool = False

    weights = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    centre = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)

    @property
    def assumptions(self) -> tuple[str, ...]:
        return ("It is a bowl.",)

    @property
    def nonnegative_entries(self) -> tuple[str, ...]:
        return ("x",) if self.bounded else ()

    @property
    def minimum(self) -> float:
        return 20.0 if self.bounded else 0.0

    @property
    def labels(self) -> Tensor:
        return torch.arange(3)

    def loss(self, state: State) -> Tensor:
        return (self.weights * (state["x"] - self.centre).square()).sum() / 2

    def draw(self, generator: torch.Generator) -> State:
        return {"x": torch.rand(3, generator=generator, dtype=torch.float64)}

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        return {"x": self.centre.clamp_min(0) if self.bounded else self.centre.clone()}

    @classmethod
    def examples(cls) -> "Sequence[Bowl]":
        return (cls(), cls(bounded=True))


@dataclass(frozen=True)
class Spiral(AbstractDynamics):
    """A rotation that shrinks."""

    @property
    def assumptions(self) -> tuple[str, ...]:
        return ("It is linear.",)

    def drift(self, t: float, x: State) -> State:
        return {"x": torch.stack([-x["x"][0] - x["x"][1], x["x"][0] - x["x"][1]])}

    def draw(self, generator: torch.Generator) -> State:
        return {"x": torch.randn(2, generator=generator, dtype=torch.float64)}

    @classmethod
    def examples(cls) -> "Sequence[Spiral]":
        return (cls(),)


@pytest.mark.parametrize("bounded", [False, True])
def test_a_quadratic_is_minimised(bounded: bool) -> None:
    bowl = Bowl(bounded)
    found = minimise(bowl, torch.Generator().manual_seed(0)).require()
    torch.testing.assert_close(found.end["x"], bowl.minimiser()["x"], rtol=0, atol=1e-8)
    assert float(bowl.loss(found.end)) == pytest.approx(bowl.minimum, abs=1e-12)
    assert found.states[0]["x"].shape == (3,)
    assert found.stats["evaluations"] >= found.stats["steps"] > 0


def test_a_zero_that_wants_to_be_negative_is_stationary_where_it_must_not() -> None:
    at_bound = {"x": torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64)}
    assert stationarity(Bowl(bounded=True), at_bound) == 0
    assert stationarity(Bowl(bounded=False), at_bound) == pytest.approx(20)


def test_a_solver_that_stops_early_says_so() -> None:
    landscape = CrossEntropyFeatures(Problem.balanced(4, 5, 6, decay_head=1e-3, decay_features=1e-3))
    found = minimise(landscape, torch.Generator().manual_seed(0), max_steps=3)
    assert found.status == "step_limit"
    with pytest.raises(NotConverged, match="stopped early"):
        found.require()
    assert minimise(landscape, torch.Generator().manual_seed(0)).require().status in ("converged", "stalled")


def test_starts_are_left_as_they_were() -> None:
    start = {"x": torch.ones(3, dtype=torch.float64)}
    minimise(Bowl(), start)
    assert torch.equal(start["x"], torch.ones(3, dtype=torch.float64))
    assert not start["x"].requires_grad


def test_a_linear_equation_is_followed() -> None:
    start = {"x": torch.tensor([1.0, 0.0], dtype=torch.float64)}
    found = integrate(Spiral(), start, (0.0, 0.5, 2.0)).require("finished")
    assert found.times == (0.0, 0.5, 2.0)
    for t, state in zip(found.times, found.states, strict=True):
        turned = torch.tensor([t], dtype=torch.float64)
        expected = torch.exp(-turned) * torch.cat([turned.cos(), turned.sin()])
        torch.testing.assert_close(state["x"], expected, rtol=1e-8, atol=1e-10)
    assert integrate(Spiral(), start, (0.0,)).end["x"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("times", [(), (1.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_times_that_do_not_ascend_are_refused(times: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="times must"):
        integrate(Spiral(), torch.Generator().manual_seed(0), times)


def test_an_integrator_that_finds_no_end_says_so() -> None:
    found = integrate(Spiral(), torch.Generator().manual_seed(0), (1e9,), max_evaluations=50)
    assert found.status == "failed"
    assert "no end after 50 evaluations" in found.message
    with pytest.raises(NotConverged, match="stopped early"):
        found.require()
