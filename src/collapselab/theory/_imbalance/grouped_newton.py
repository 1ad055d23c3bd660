"""Newton's method for `Grouped` programs with a few groups, for many programs at once."""

from typing import NamedTuple

import numpy as np

from collapselab.theory._imbalance.grouped import Array
from collapselab.theory._imbalance.grouped_factors import Factored, Point

# Curvature below this part of the largest is that of a rotation of the factors, along which nothing changes.
_FLAT = 1e-11

# Expected decrease, as a part of the value: what rounding may hide, and at what no further step is taken.
_UNSEEN, _DONE = 1e-13, 1e-17

# Steps whose decrease rounding may hide that are taken at most.
_MOST_UNSEEN = 4

# How often a step is shortened, each time to the same part, before it is given up.
_MOST_SHORTER, _SHORTER = 24, 0.4


class Walk(NamedTuple):
    """Where the method ended.

    Attributes:
        v: (m, n) factors and bias.
        steps: (m,) steps taken.
    """

    v: Array
    steps: Array


class _Step(NamedTuple):
    """Where Newton's step leads, and the decrease that is expected of it."""

    move: Array
    expected: Array


def descend(factored: Factored, starts: Array, *, max_steps: int) -> Walk:
    """Newton steps with all curvatures taken as positive, shortened until the objective falls.

    Args:
        factored: The programs, one for each row of the masses.
        starts: (m, n) where from.
        max_steps: Most steps.

    Returns:
        Where it ended; whether that is a minimum is for the gap to say.
    """
    point = factored.at(factored.retracted(starts))
    active, unseen, steps = np.ones(len(starts), dtype=bool), np.zeros(len(starts)), np.zeros(len(starts), dtype=int)
    for _ in range(max_steps):
        step = _newton(factored, point)
        scale = np.abs(point.value)
        # A step too short for the value to show may still make the slope smaller.
        unseen += active & (step.expected <= _UNSEEN * scale)
        point, moved = _taken(factored, point, step, active=active, trusted=unseen > 0)
        steps += active
        active &= moved & (step.expected > _DONE * scale) & (unseen < _MOST_UNSEEN)
        if not active.any():
            break
    return Walk(point.v, steps)


def _newton(factored: Factored, point: Point) -> _Step:
    slopes = factored.slopes(point)
    slope, price = factored.gradient(point, slopes)
    curvatures, axes = np.linalg.eigh(factored.hessian(point, slopes, price))
    sizes = np.abs(curvatures)
    # Where everything underflows there is no step; division by zero would make it one to nowhere.
    floor = np.maximum(_FLAT * sizes.max(-1, keepdims=True), np.finfo(float).tiny)
    along = (slope[:, None] @ axes)[:, 0] / np.maximum(sizes, floor)
    move = -(axes @ along[..., None])[..., 0]
    return _Step(move, -(move * slope).sum(-1))


def _taken(factored: Factored, point: Point, step: _Step, *, active: Array, trusted: Array) -> tuple[Point, Array]:
    """Points along the steps whose objective is low enough, and which of them moved."""
    part, high = active.astype(float), active & ~trusted
    asked = high
    for _ in range(_MOST_SHORTER):
        found = factored.at(factored.retracted(point.v + part[:, None] * step.move))
        high = asked & ~(found.value <= point.value - 1e-4 * part * step.expected)
        if not high.any():
            return found, part > 0
        part[high] *= _SHORTER
    part[high] = 0.0
    return factored.at(factored.retracted(point.v + part[:, None] * step.move)), part > 0
