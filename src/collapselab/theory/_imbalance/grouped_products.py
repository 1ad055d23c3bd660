"""Newton's method for `Grouped` programs with many groups: conjugate gradients within a trust region."""

import math
from typing import NamedTuple

import numpy as np

from collapselab.theory._imbalance.grouped import Array, Logits, Slopes
from collapselab.theory._imbalance.grouped_dual import gap
from collapselab.theory._imbalance.grouped_factors import Factored, Point

# Expected decrease, as a part of the value, that rounding may hide, and how many such steps are taken.
_UNSEEN, _MOST_UNSEEN = 1e-13, 4

# Length of the gradient, as a part of the value and relative to the factors: at which to stop, and to ask for the gap.
_DONE, _CLOSE = 1e-14, 1e-3

# How well the linear equations of a step are solved, and in how many products with the second derivatives at most.
_ACCURACY, _MOST_PRODUCTS = 0.1, 250


class Course(NamedTuple):
    """Where the method ended.

    Attributes:
        logits: What the last factors stand for.
        steps: Steps taken.
    """

    logits: Logits
    steps: int


class _Model(NamedTuple):
    """The quadratic model of the objective at a point."""

    point: Point
    slopes: Slopes
    slope: Array
    price: Array | float


def descend_by_products(factored: Factored, start: Array, *, max_steps: int, enough: float = 0.0) -> Course:
    """Steps of a trust region, each from conjugate gradients (Steihaug).

    Args:
        factored: The program.
        start: Where from.
        max_steps: Most steps.
        enough: Gap, as a part of the value, at which no further step is taken.

    Returns:
        Where it ended; whether that is a minimum is for the gap to say.
    """
    here = _model(factored, factored.retracted(start))
    radius, unseen = 0.3 * _length(here.point.v), 0
    for step in range(max_steps):
        if here.point.value == 0:  # it underflows
            return Course(factored.logits(here.point.v), step)
        flat = _length(here.slope) * _length(here.point.v) / abs(here.point.value)
        if flat <= _DONE or unseen == _MOST_UNSEEN or (flat <= _CLOSE and _near(factored, here, enough)):
            return Course(factored.logits(here.point.v), step)
        move, expected = _step(factored, here, radius)
        found = factored.retracted(here.point.v + move)
        there = _model(factored, found)
        gained = (here.point.value - there.point.value) / expected if expected > 0 else 0.0
        hidden = expected <= _UNSEEN * abs(here.point.value)
        if hidden and _length(there.slope) >= _length(here.slope):
            return Course(factored.logits(here.point.v), step)
        unseen += hidden
        if gained > 0.75 or hidden:
            radius = max(radius, 2 * _length(move))
        elif gained < 0.25:
            radius = 0.25 * _length(move)
        if gained > 0.05 or hidden:
            here = there
    return Course(factored.logits(here.point.v), max_steps)


def _near(factored: Factored, here: _Model, enough: float) -> bool:
    return gap(factored.program, factored.logits(here.point.v)) <= enough * float(here.point.value)


def _model(factored: Factored, v: Array) -> _Model:
    slopes = factored.program.slopes(factored.logits(v))
    point = Point(v, slopes.wrong, factored.worth(v, slopes.value))
    slope, price = factored.gradient(point, slopes)
    return _Model(point, slopes, slope, price)


def _step(factored: Factored, here: _Model, radius: float) -> tuple[Array, float]:
    """A step within a radius, and the decrease that is expected of it."""

    def product(direction: Array) -> Array:
        return factored.curvature_along(here.point, here.slopes, here.price, direction)

    step, bent = np.zeros_like(here.slope), np.zeros_like(here.slope)
    rest, ahead = here.slope.copy(), -here.slope
    size = float(rest @ rest)
    goal = _ACCURACY**2 * size
    for _ in range(_MOST_PRODUCTS):
        along = product(ahead)
        curvature = float(ahead @ along)
        part = size / curvature if curvature > 0 else math.inf
        if curvature <= 0 or _length(step + part * ahead) >= radius:
            part = _to_boundary(step, ahead, radius)
            step, bent = step + part * ahead, bent + part * along
            break
        step, bent, rest = step + part * ahead, bent + part * along, rest + part * along
        before, size = size, float(rest @ rest)
        if size <= goal:
            break
        ahead = (size / before) * ahead - rest
    return step, -float(step @ (here.slope + bent / 2))


def _to_boundary(step: Array, ahead: Array, radius: float) -> float:
    a, b, c = float(ahead @ ahead), float(step @ ahead), float(step @ step) - radius * radius
    return (-b + math.sqrt(max(0.0, b * b - a * c))) / a


def _length(v: Array) -> float:
    return math.sqrt(float(v @ v))
