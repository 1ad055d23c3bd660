r"""Newton's method for `Grouped` programs in factors of the logits, where the nuclear norm is smooth.

With $a_g=u_g^2/(K_g-1)$ and $B=2XY^\top$ the nuclear norm is at most the squared length of $v=(u,X,Y)$, with equality
at a minimum. A budget $\rho$ becomes a sphere, a price the decay $\mu\|v\|^2$. With as many columns as B can have
independent ones, every local minimiser is a global one.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from collapselab.theory._grouped import Array, Grouped, Logits, Slopes

# Curvature below this part of the largest is that of a rotation of the factors, along which nothing changes.
_FLAT = 1e-11

# Expected decrease, as a part of the value: what rounding may hide, and at what no further step is taken.
_UNSEEN, _DONE = 1e-13, 1e-17

# Steps whose decrease rounding may hide that are taken at most.
_MOST_UNSEEN = 4

# Smallest part of a step that is tried.
_SHORTEST = 1e-9


class Point(NamedTuple):
    """Factors, and what is found there.

    Attributes:
        v: (n,) factors and bias.
        wrong: (g, g) probability that a sample of a group gives to all wrong classes of another one together.
        value: The objective.
    """

    v: Array
    wrong: Array
    value: float


class Walk(NamedTuple):
    """Where the method ended.

    Attributes:
        v: Factors and bias.
        logits: What they stand for.
        steps: Steps taken.
    """

    v: Array
    logits: Logits
    steps: int


@dataclass(frozen=True, eq=False)
class Factored:
    """A program as a function of a vector of factors.

    Attributes:
        program: Groups, masses, budget or price.
        columns: Of X and Y.
    """

    program: Grouped
    columns: int

    @property
    def _spans(self) -> tuple[int, int, int]:
        g, r = self.program.num_groups, self.columns
        return g, g + g * r, g + 2 * g * r

    def split(self, v: Array) -> tuple[Array, Array, Array, Array]:
        """The parts of a vector.

        Args:
            v: (n,).

        Returns:
            u, X, Y and the bias, which is empty where there is none.
        """
        g, r = self.program.num_groups, self.columns
        i, j, k = self._spans
        return v[:i], v[i:j].reshape(g, r), v[j:k].reshape(g, r), v[k:]

    def start(self, size: float) -> Array:
        """The factors of a simplex among all classes.

        Args:
            size: Every singular value of Z.

        Returns:
            (n,) with no bias.
        """
        p = self.program
        axes = np.linalg.svd(np.sqrt(p.sizes)[None])[2][1:].T[:, : self.columns]
        root = np.sqrt(size / 2) * axes
        bias = np.zeros(p.num_groups if p.bias else 0)
        return self.retracted(np.concatenate([np.sqrt(size * p.others), root.ravel(), root.ravel(), bias]))

    def retracted(self, v: Array) -> Array:
        """A vector brought to the sphere where there is a budget.

        Args:
            v: (n,).

        Returns:
            (n,).
        """
        if self.program.budget is None:
            return v
        k = self._spans[2]
        return np.concatenate([v[:k] * np.sqrt(self.program.budget / (v[:k] @ v[:k])), v[k:]])

    def logits(self, v: Array) -> Logits:
        """What factors stand for.

        Args:
            v: (n,).

        Returns:
            The logits.
        """
        u, x, y, bias = self.split(v)
        return Logits(u * u * self.program.inverse, 2 * x @ y.T, bias if len(bias) else np.zeros(len(u)))

    def at(self, v: Array) -> Point:
        """The objective of a vector.

        Args:
            v: (n,).

        Returns:
            The point.
        """
        p = self.program
        u, x, y, bias = self.split(v)
        numbers = np.concatenate([u * u * p.inverse, (2 * x @ y.T).ravel(), bias])
        value, wrong = p.probabilities((self._away @ numbers).reshape(len(u), len(u)))
        return Point(v, wrong, self.worth(v, value))

    def worth(self, v: Array, loss: float) -> float:
        """The objective, where the loss is known.

        Args:
            v: (n,).
            loss: Weighted mean of cross-entropy.

        Returns:
            The loss and what the factors and the bias cost.
        """
        p, k = self.program, self._spans[2]
        if p.budget is None:
            loss += p.price * float(v[:k] @ v[:k])
        if p.decay_bias:
            loss += 0.5 * p.decay_bias * float(p.sizes @ v[k:] ** 2)
        return loss

    def slopes(self, point: Point) -> Slopes:
        """Derivatives by the logits.

        Args:
            point: Where.

        Returns:
            The slopes.
        """
        g = self.program.num_groups
        flat = (self.program.masses[:, None] * point.wrong).ravel() @ self._away
        return Slopes(point.value, point.wrong, flat[:g], flat[g : g + g * g].reshape(g, g), flat[g + g * g :])

    def gradient(self, point: Point, slopes: Slopes) -> tuple[Array, float]:
        """Derivative by the factors within the sphere, and the price that stands for a budget.

        Args:
            point: Where.
            slopes: Derivatives by the logits there.

        Returns:
            (n,) and the multiplier of the nuclear norm.
        """
        p, (_, _, k) = self.program, self._spans
        u, x, y, bias = self.split(point.v)
        of_u, of_x, of_y = u * p.inverse * slopes.differences, slopes.shared @ y, slopes.shared.T @ x
        e = 2 * np.concatenate([of_u, of_x.ravel(), of_y.ravel(), slopes.bias[: len(bias)] / 2])
        price = p.price if p.budget is None else -float(point.v[:k] @ e[:k]) / (2 * p.budget)
        e[:k] += 2 * price * point.v[:k]
        if p.decay_bias:
            e[k:] += p.decay_bias * p.sizes * bias
        return e, price

    def hessian(self, point: Point, slopes: Slopes, price: float) -> Array:
        """Second derivatives, with a positive entry along the normal of the sphere.

        Args:
            point: Where.
            slopes: Derivatives by the logits there.
            price: The multiplier.

        Returns:
            (n, n).
        """
        p, (i, j, k), n = self.program, self._spans, len(point.v)
        jacobian = self._away @ self._numbers_by_factors(point.v)
        weighted = p.masses[:, None] * point.wrong
        means = (point.wrong[:, :, None] * jacobian.reshape(len(weighted), -1, n)).sum(1)
        h = (jacobian.T * weighted.ravel()) @ jacobian - (means.T * p.masses) @ means
        for column in range(self.columns):
            x, y = slice(i + column, j, self.columns), slice(j + column, k, self.columns)
            h[x, y] += 2 * slopes.shared
            h[y, x] += 2 * slopes.shared.T
        diagonal = h.reshape(-1)[:: n + 1]
        diagonal[:k] += 2 * price
        diagonal[:i] += 2 * p.inverse * slopes.differences
        if p.bias:
            diagonal[k:] += p.decay_bias * p.sizes
        if p.budget is not None:
            _towards(
                h, normal=np.concatenate([point.v[:k] / math.sqrt(p.budget), np.zeros(n - k)]), curvature=2 * price
            )
        return h

    def curvature_along(self, point: Point, slopes: Slopes, price: float, direction: Array) -> Array:
        """Second derivatives times a direction across the normal of the sphere, without forming them.

        Args:
            point: Where.
            slopes: Derivatives by the logits there.
            price: The multiplier.
            direction: (n,).

        Returns:
            (n,) across the normal.
        """
        p, k = self.program, self._spans[2]
        (u, x, y, _), (du, dx, dy, db) = self.split(point.v), self.split(direction)
        change = Logits(2 * u * du * p.inverse, 2 * (dx @ y.T + x @ dy.T), db)
        away = p.away(change)
        away -= (point.wrong * away).sum(1)[:, None]
        away *= p.masses[:, None] * point.wrong
        more = p.of_masses(0.0, point.wrong, away)
        of_u = p.inverse * (u * more.differences + du * slopes.differences)
        of_x = more.shared @ y + slopes.shared @ dy
        of_y = more.shared.T @ x + slopes.shared.T @ dx
        h = 2 * np.concatenate([of_u, of_x.ravel(), of_y.ravel(), more.bias[: len(db)] / 2])
        h[:k] += 2 * price * direction[:k]
        if p.decay_bias:
            h[k:] += p.decay_bias * p.sizes * db
        return self.across(point.v, h)

    def across(self, v: Array, direction: Array) -> Array:
        """A direction without its part along the normal of the sphere.

        Args:
            v: (n,) where.
            direction: (n,).

        Returns:
            (n,) the direction itself where there is no budget.
        """
        if self.program.budget is None:
            return direction
        k = self._spans[2]
        found = direction.copy()
        found[:k] -= v[:k] * (float(v[:k] @ direction[:k]) / self.program.budget)
        return found

    @cached_property
    def _away(self) -> Array:
        """(g*g, m) derivative of the difference of each wrong logit and the own one by a, B and the bias if any."""
        p, g = self.program, self.program.num_groups
        every, of_own, of_bias = np.arange(g), np.zeros((g, g, g)), np.zeros((g, g, g))
        of_shared = np.zeros((g, g, g, g))
        of_own[every, :, every] = -p.own
        for row in range(g):
            of_shared[row, every, row, every] += p.cross[row]
            of_shared[row, :, row, row] -= p.diagonal[row]
            of_bias[row, every, every] += 1
            of_bias[row, :, row] -= 1
        parts = [of_own.reshape(g * g, g), of_shared.reshape(g * g, g * g), of_bias.reshape(g * g, g)]
        return np.concatenate(parts if p.bias else parts[:2], 1)

    def _numbers_by_factors(self, v: Array) -> Array:
        """(m, n) derivative of a, B and the bias if any by the factors."""
        g, (i, j, k), r, n = self.program.num_groups, self._spans, self.columns, len(v)
        u, x, y, _ = self.split(v)
        found = np.zeros((self._away.shape[1], n))
        found.reshape(-1)[: g * n : n + 1] = 2 * u * self.program.inverse
        for row in range(g):
            found[g * (row + 1) : g * (row + 2), i + row * r : i + (row + 1) * r] = 2 * y
            found[g + row : g + g * g : g, j + row * r : j + (row + 1) * r] = 2 * x
        if self.program.bias:
            found[g + g * g :, k:] = np.eye(g)
        return found


def _towards(h: Array, *, normal: Array, curvature: float) -> None:
    """Restrict second derivatives to the directions across a normal, in place, with a curvature along it."""
    across = h @ normal
    outer = across[:, None] * normal
    h += (normal[:, None] * normal) * (float(normal @ across) + curvature) - outer - outer.T


def descend(factored: Factored, start: Array, *, max_steps: int) -> Walk:
    """Newton steps with all curvatures taken as positive, shortened until the objective falls.

    Args:
        factored: The program.
        start: Where from.
        max_steps: Most steps.

    Returns:
        Where it ended; whether that is a minimum is for the gap to say.
    """
    point, unseen = factored.at(factored.retracted(start)), 0
    for step in range(max_steps):
        slopes = factored.slopes(point)
        slope, price = factored.gradient(point, slopes)
        curvatures, axes = np.linalg.eigh(factored.hessian(point, slopes, price))
        sizes = np.abs(curvatures)
        along = axes.T @ slope
        along /= np.maximum(sizes, _FLAT * sizes.max())
        move = -axes @ along
        expected = -float(move @ slope)
        # A step too short for the value to show may still make the slope smaller.
        unseen += expected <= _UNSEEN * abs(point.value)
        found = (
            factored.at(factored.retracted(point.v + move)) if unseen else _shortened(factored, point, move, expected)
        )
        if found is None:
            return Walk(point.v, factored.logits(point.v), step)
        point = found
        if expected <= _DONE * abs(point.value) or unseen == _MOST_UNSEEN:
            return Walk(point.v, factored.logits(point.v), step + 1)
    return Walk(point.v, factored.logits(point.v), max_steps)


def _shortened(factored: Factored, point: Point, move: Array, expected: float) -> Point | None:
    """The first point along a step whose objective is low enough; None if there is none."""
    part = 1.0
    while part > _SHORTEST:
        found = factored.at(factored.retracted(point.v + part * move))
        if found.value <= point.value - 1e-4 * part * expected:
            return found
        part *= 0.4
    return None
