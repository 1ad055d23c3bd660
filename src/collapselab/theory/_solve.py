"""Solvers: a landscape and a start give a minimum found, a dynamics and a start give a trajectory."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from collapselab.core import checks, extras
from collapselab.core.errors import InputError, NotConverged
from collapselab.theory._model import AbstractDynamics, AbstractLandscape
from collapselab.theory._problem import State

Status = Literal["converged", "stalled", "step_limit", "finished", "failed"]
"""``converged``: the gradient is as small as was asked for. ``stalled``: rounding lets the loss fall no further.
``step_limit``: it was stopped before. ``finished``: the last time was reached. ``failed``: the integrator gave up."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The outcome of `minimise` or `integrate`.

    Attributes:
        times: Steps, or times.
        states: The state at each of them.
        status: How it ended.
        message: What the method says of its end.
        stats: Numbers about the work: evaluations, steps, size of the last gradient.
        series: Numbers beside the states, by name, one a state.
    """

    times: tuple[float, ...]
    states: tuple[State, ...]
    status: Status
    message: str
    stats: Mapping[str, float]
    series: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def end(self) -> State:
        """The last state."""
        return self.states[-1]

    def require(self, *wanted: Status) -> "Trajectory":
        """Insist on how it ended.

        Args:
            wanted: The status, or several; by default any but ``step_limit`` and ``failed``.

        Returns:
            Itself.

        Raises:
            NotConverged: If it ended otherwise.
        """
        if self.status not in (wanted or ("converged", "stalled", "finished")):
            raise NotConverged(f"stopped early ({self.status}): {self.message}")
        return self


def gradient(landscape: AbstractLandscape, free: State) -> tuple[float, State]:
    """Loss and gradient in the coordinates of `AbstractLandscape.chart`.

    Args:
        landscape: The loss.
        free: Where.

    Returns:
        The value, and its derivative by each entry.
    """
    with torch.enable_grad():
        leaves = {name: x.detach().double().requires_grad_() for name, x in free.items()}
        value = landscape.loss(landscape.chart(leaves))
        found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return float(value.detach()), dict(zip(leaves, found, strict=True))


def stationarity(landscape: AbstractLandscape, free: State) -> float:
    """Largest entry of the gradient, not counting what pushes a zero below zero where it must not go.

    Args:
        landscape: The loss.
        free: Where.

    Returns:
        0 at a critical point.
    """
    _, slopes = gradient(landscape, free)
    for name in landscape.nonnegative_entries:
        slopes[name] = torch.where(free[name] > 0, slopes[name], slopes[name].clamp_max(0))
    return max((float(slope.abs().max()) for slope in slopes.values() if slope.numel()), default=0.0)


def minimise(
    landscape: AbstractLandscape,
    start: State | torch.Generator,
    *,
    max_steps: int = 5000,
    tolerance: float = 1e-12,
    memory: int = 10,
) -> Trajectory:
    """Go down from a start by L-BFGS in float64, within bounds where entries must not be negative.

    Args:
        landscape: The loss.
        start: Where to start; or a generator to draw it from.
        max_steps: Most steps.
        tolerance: Largest entry of the gradient at which to stop.
        memory: Pairs of steps and gradients that stand for the curvature.

    Returns:
        Start and end, with a status: a minimum is only claimed where that is ``converged`` or ``stalled``.

    Example:
        >>> from collapselab.theory import CrossEntropyFeatures, Problem
        >>> problem = Problem.balanced(4, 10, 8, decay_head=5e-3, decay_features=5e-3)
        >>> landscape = CrossEntropyFeatures(problem)
        >>> found = minimise(landscape, torch.Generator().manual_seed(0)).end
        >>> abs(float(landscape.loss(found)) - landscape.minimum) < 1e-10
        True
    """
    checks.whole(max_steps, "max_steps", at_least=1)
    optimize = extras.require("scipy.optimize", extra="theory", purpose="minimising a landscape")
    given = landscape.draw(start) if isinstance(start, torch.Generator) else start
    layout = _Layout.of(given)

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, slopes = gradient(landscape, layout.state(flat))
        return value, layout.flat(slopes)

    bounds = layout.bounds(landscape.nonnegative_entries)
    options = {"maxiter": max_steps, "maxfun": 20 * max_steps, "ftol": 0.0, "gtol": tolerance, "maxcor": memory}
    found = optimize.minimize(evaluate, layout.flat(given), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    end = layout.state(found.x)
    slope = stationarity(landscape, end)
    status: Status = "converged" if slope <= tolerance else ("step_limit" if found.status == 1 else "stalled")
    stats = {"evaluations": int(found.nfev), "steps": int(found.nit), "gradient": slope, "loss": float(found.fun)}
    states = (landscape.chart(layout.state(layout.flat(given))), landscape.chart(end))
    return Trajectory((0.0, float(found.nit)), states, status, str(found.message), stats)


def integrate(
    dynamics: AbstractDynamics,
    start: State | torch.Generator,
    times: Sequence[float],
    *,
    method: str = "LSODA",
    relative: float = 1e-10,
    absolute: float = 1e-13,
    max_evaluations: int = 1_000_000,
) -> Trajectory:
    """Follow a differential equation without noise.

    Args:
        dynamics: The equation.
        start: State at time 0; or a generator to draw it from.
        times: Ascending times of at least 0 at which the state is wanted.
        method: Of ``scipy.integrate.solve_ivp``.
        relative: Relative tolerance.
        absolute: Absolute tolerance.
        max_evaluations: Most evaluations of the velocity; where a path slides along a kink no step is short enough.

    Returns:
        The states at the times, as far as the integrator came; the start alone if evaluations ran out.

    Raises:
        InputError: If the times do not ascend from 0 or later.
    """
    solve = extras.require("scipy.integrate", extra="theory", purpose="integrating a differential equation")
    wanted = [checks.real(t, "times", at_least=0) for t in times]
    if not wanted or any(b <= a for a, b in itertools.pairwise(wanted)):
        raise InputError(f"times must ascend, got {list(times)!r}")
    given = dynamics.draw(start) if isinstance(start, torch.Generator) else start
    layout = _Layout.of(given)

    evaluations = itertools.count(1)

    def velocity(t: float, flat: np.ndarray) -> np.ndarray:
        if next(evaluations) > max_evaluations:
            raise _RunOut(f"no end after {max_evaluations} evaluations, at time {t:.6g}")
        with torch.no_grad():
            return layout.flat(dynamics.drift(t, layout.state(flat)))

    if wanted[-1] == 0:
        return Trajectory((0.0,), (layout.state(layout.flat(given)),), "finished", "nothing to do", {"evaluations": 0})
    options = {"method": method, "t_eval": wanted, "rtol": relative, "atol": absolute}
    try:
        found = solve.solve_ivp(velocity, (0.0, wanted[-1]), layout.flat(given), **options)
    except _RunOut as out:
        begun = layout.state(layout.flat(given))
        return Trajectory((0.0,), (begun,), "failed", str(out), {"evaluations": max_evaluations})
    states = tuple(layout.state(column) for column in found.y.T)
    status: Status = "finished" if found.status == 0 else "failed"
    return Trajectory(tuple(map(float, found.t)), states, status, str(found.message), {"evaluations": int(found.nfev)})


class _RunOut(Exception):
    """Evaluations ran out."""


@dataclass(frozen=True)
class _Layout:
    """How the entries of a state lie in one vector."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, state: State) -> "_Layout":
        return cls(tuple((name, tuple(x.shape)) for name, x in state.items()))

    def flat(self, state: State) -> np.ndarray:
        return np.concatenate([state[name].detach().double().cpu().numpy().ravel() for name, _ in self.shapes])

    def state(self, flat: np.ndarray) -> State:
        parts, at = {}, 0
        for name, shape in self.shapes:
            size = math.prod(shape)
            parts[name] = _tensor(flat[at : at + size]).reshape(shape)
            at += size
        return parts

    def bounds(self, nonnegative: tuple[str, ...]) -> Any:
        """Bounds as scipy takes them; None where there are none."""
        if not nonnegative:
            return None
        low = np.concatenate(
            [np.full(math.prod(shape), 0.0 if name in nonnegative else -np.inf) for name, shape in self.shapes]
        )
        return [(x if np.isfinite(x) else None, None) for x in low]


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))
