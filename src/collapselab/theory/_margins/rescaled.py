"""Descent of cross-entropy without decay to losses that no number can hold: steps of its logarithm."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._margins.log_domain import log_loss_slopes
from collapselab.theory._problem import State
from collapselab.theory._solve import Status, Trajectory
from collapselab.theory.max_margin import UnregularisedCrossEntropy

# A step shorter than asked for by a factor of 2^40 that still does not lead down is rounding.
_HALVINGS = 40


def rescaled_descent(
    landscape: UnregularisedCrossEntropy,
    start: State | torch.Generator,
    log_losses: Sequence[float],
    *,
    step: float = 0.25,
    max_steps: int = 100_000,
) -> Trajectory:
    r"""Go down by $\theta\leftarrow\theta-\eta\nabla\log L$ with $\eta=\text{step}\cdot KN/\max(1,\|\theta\|^2)$.

    The path is that of gradient descent, each step as long as the curvature of log L allows: log L falls by about the
    same amount in every step, where steps of one length on L need exponentially many for that. All of it happens in
    logarithms. A step that does not lead down by at least half of what the slope says is halved. The time of gradient
    flow along the path, $dt=ds/L$, is added up in logarithms as well, as if log L fell evenly within a step.

    From a small start (`Problem.draw` with a size of 0.01) the samples of a class come together at once; from a large
    one $W^TW-H^TH$, which gradient flow conserves, stays, and vanishes only against the growing norm.

    Args:
        landscape: The loss.
        start: Where to start; or a generator to draw it from.
        log_losses: Logarithms of the loss, descending, at which the state is wanted: -1151.3 is a loss of 1e-500.
        step: Length of a step; up to about 1 the path stays smooth.
        max_steps: Most steps.

    Returns:
        The first state at or below each of the losses, at step numbers in `Trajectory.times`; ``log_loss`` and
        ``log_time`` in `Trajectory.series`. Of a run that is stopped early the last state comes with them.

    Raises:
        InputError: If the losses do not descend.

    Example:
        >>> from collapselab.theory import Problem, UnregularisedCrossEntropy, normalised_margin
        >>> problem = Problem.balanced(3, 4, 5, decay_head=0.0, decay_features=0.0)
        >>> landscape = UnregularisedCrossEntropy(problem)
        >>> start = problem.draw(torch.Generator().manual_seed(0), size=0.01)
        >>> end = rescaled_descent(landscape, start, [-200.0]).end
        >>> round(normalised_margin(end, landscape.labels) / landscape.margin_bound, 3)
        1.0
    """
    wanted = [checks.real(x, "log_losses") for x in log_losses]
    if not wanted or any(b >= a for a, b in itertools.pairwise(wanted)):
        raise InputError(f"log_losses must descend, got {list(log_losses)!r}")
    checks.whole(max_steps, "max_steps", at_least=1)
    p = landscape.problem
    length = checks.real(step, "step", above=0) * p.num_classes * p.num_samples
    given = landscape.draw(start) if isinstance(start, torch.Generator) else start
    point = _point(landscape, {name: x.detach().double() for name, x in given.items()}, -math.inf)
    kept: list[tuple[int, _Point]] = []
    for taken in range(max_steps + 1):
        while len(kept) < len(wanted) and point.log_loss <= wanted[len(kept)]:
            kept.append((taken, point))
        if len(kept) == len(wanted):
            return _trajectory(kept, "finished", "the last loss was reached")
        following = _following(landscape, point, length) if taken < max_steps else None
        if following is None:
            kept.append((taken, point))
            break
        point = following
    if kept[-1][0] == max_steps:
        return _trajectory(kept, "step_limit", f"{max_steps} steps led to a log loss of {point.log_loss:.6g}")
    return _trajectory(kept, "stalled", f"no step leads below a log loss of {point.log_loss:.6g}")


@dataclass(frozen=True, eq=False)
class _Point:
    """Where the path is: the state, the loss, the gradient of its logarithm, and the time of gradient flow."""

    state: State
    log_loss: float
    slopes: State
    log_time: float


def _point(landscape: UnregularisedCrossEntropy, state: State, log_time: float) -> _Point:
    h, weight = state["h"], state["weight"]
    value, slopes = log_loss_slopes(h @ weight.T, landscape.labels)
    return _Point(state, value, {"h": slopes @ weight, "weight": slopes.T @ h}, log_time)


def _following(landscape: UnregularisedCrossEntropy, point: _Point, length: float) -> _Point | None:
    """One step down; None where rounding lets none lead down."""
    square = _squared_norm(point.slopes)
    eta = length / max(1.0, _squared_norm(point.state))
    for _ in range(_HALVINGS):
        state = {name: x - eta * point.slopes[name] for name, x in point.state.items()}
        found = _point(landscape, state, -math.inf)
        fall = point.log_loss - found.log_loss
        if fall > 0 and fall >= eta * square / 2:
            # The integral of ds / L over a step of length eta in which log L falls evenly.
            spent = math.log(eta) - point.log_loss + fall + math.log(-math.expm1(-fall) / fall)
            return replace(found, log_time=float(np.logaddexp(point.log_time, spent)))
        eta /= 2
    return None


def _squared_norm(state: State) -> float:
    return sum(float(x.square().sum()) for x in state.values())


def _trajectory(kept: Sequence[tuple[int, _Point]], status: Status, message: str) -> Trajectory:
    taken, points = zip(*kept, strict=True)
    series = {"log_loss": tuple(p.log_loss for p in points), "log_time": tuple(p.log_time for p in points)}
    stats = {"steps": taken[-1], "log_loss": points[-1].log_loss, "log_time": points[-1].log_time}
    return Trajectory(tuple(map(float, taken)), tuple(p.state for p in points), status, message, stats, series)
