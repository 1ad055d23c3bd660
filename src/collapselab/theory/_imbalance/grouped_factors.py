r"""Factors of the logits of `Grouped` programs, in which the nuclear norm is smooth, and the derivatives by them.

With $a_g=u_g^2/(K_g-1)$ and $B=2XY^\top$ the nuclear norm is at most the squared length of $v=(u,X,Y)$, with equality
at a minimum. A budget $\rho$ becomes a sphere, a price the decay $\mu\|v\|^2$. With as many columns as B can have
independent ones, every local minimiser is a global one.

All but `Factored.logits`, `Factored.curvature_along` and `Factored.across` work for many vectors at once, in leading
axes, one for each row of the masses if there are several.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from collapselab.theory._imbalance.grouped import Array, Grouped, Logits, Slopes


class Point(NamedTuple):
    """Factors, and what is found there.

    Attributes:
        v: (..., n) factors and bias.
        wrong: (..., g, g) probability that a sample of a group gives to all wrong classes of another one together.
        value: The objective, (...).
    """

    v: Array
    wrong: Array
    value: Array


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
        x, y = (part.reshape(*v.shape[:-1], g, r) for part in (v[..., i:j], v[..., j:k]))
        return v[..., :i], x, y, v[..., k:]

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
        factors = v[..., :k]
        length = np.sqrt(self.program.budget / (factors * factors).sum(-1, keepdims=True))
        return np.concatenate([factors * length, v[..., k:]], -1)

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
        shared = 2 * x @ y.mT
        numbers = np.concatenate([u * u * p.inverse, shared.reshape(*u.shape[:-1], -1), bias], -1)
        value, wrong = p.probabilities((numbers @ self._away.T).reshape(shared.shape))
        return Point(v, wrong, self.worth(v, value))

    def worth(self, v: Array, loss: Array | float) -> Array:
        """The objective, where the loss is known.

        Args:
            v: (n,).
            loss: Weighted mean of cross-entropy.

        Returns:
            The loss and what the factors and the bias cost.
        """
        p, k = self.program, self._spans[2]
        if p.budget is None:
            loss = loss + p.price * (v[..., :k] ** 2).sum(-1)
        if p.decay_bias:
            loss = loss + 0.5 * p.decay_bias * (v[..., k:] ** 2 @ p.sizes)
        return np.asarray(loss)

    def slopes(self, point: Point) -> Slopes:
        """Derivatives by the logits.

        Args:
            point: Where.

        Returns:
            The slopes.
        """
        g = self.program.num_groups
        moved = self.program.masses[..., None] * point.wrong
        flat = moved.reshape(*moved.shape[:-2], -1) @ self._away
        shared = flat[..., g : g + g * g].reshape(moved.shape)
        return Slopes(point.value, point.wrong, flat[..., :g], shared, flat[..., g + g * g :])

    def gradient(self, point: Point, slopes: Slopes) -> tuple[Array, Array | float]:
        """Derivative by the factors within the sphere, and the price that stands for a budget.

        Args:
            point: Where.
            slopes: Derivatives by the logits there.

        Returns:
            (n,) and the multiplier of the nuclear norm.
        """
        p, (_, _, k) = self.program, self._spans
        u, x, y, bias = self.split(point.v)
        of_u, of_x, of_y = u * p.inverse * slopes.differences, slopes.shared @ y, slopes.shared.mT @ x
        flat, factors = (*u.shape[:-1], -1), point.v[..., :k]
        e = 2 * np.concatenate(
            [of_u, of_x.reshape(flat), of_y.reshape(flat), slopes.bias[..., : bias.shape[-1]] / 2], -1
        )
        price = p.price if p.budget is None else (factors * e[..., :k]).sum(-1) / (-2 * p.budget)
        e[..., :k] += 2 * np.asarray(price)[..., None] * factors
        if p.decay_bias:
            e[..., k:] += p.decay_bias * p.sizes * bias
        return e, price

    def hessian(self, point: Point, slopes: Slopes, price: Array | float) -> Array:
        """Second derivatives, with a positive entry along the normal of the sphere.

        Args:
            point: Where.
            slopes: Derivatives by the logits there.
            price: The multiplier.

        Returns:
            (n, n).
        """
        p, (i, j, k), n = self.program, self._spans, point.v.shape[-1]
        jacobian = self._away @ self._numbers_by_factors(point.v)
        weighted = p.masses[..., None] * point.wrong
        means = (point.wrong[..., None] * jacobian.reshape(*weighted.shape, n)).sum(-2)
        h = (jacobian.mT * weighted.reshape(*weighted.shape[:-2], 1, -1)) @ jacobian
        h -= (means.mT * p.masses[..., None, :]) @ means
        for column in range(self.columns):
            x, y = slice(i + column, j, self.columns), slice(j + column, k, self.columns)
            h[..., x, y] += 2 * slopes.shared
            h[..., y, x] += 2 * slopes.shared.mT
        diagonal = h.reshape(*h.shape[:-2], n * n)[..., :: n + 1]
        diagonal[..., :k] += 2 * np.asarray(price)[..., None]
        diagonal[..., :i] += 2 * p.inverse * slopes.differences
        if p.bias:
            diagonal[..., k:] += p.decay_bias * p.sizes
        if p.budget is not None:
            normal = point.v / math.sqrt(p.budget)
            normal[..., k:] = 0
            _towards(h, normal=normal, curvature=2 * np.asarray(price))
        return h

    def curvature_along(self, point: Point, slopes: Slopes, price: Array | float, direction: Array) -> Array:
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
        g, (i, j, k), r, n = self.program.num_groups, self._spans, self.columns, v.shape[-1]
        u, x, y, _ = self.split(v)
        found = np.zeros((*v.shape[:-1], self._away.shape[1], n))
        found.reshape(*v.shape[:-1], -1)[..., : g * n : n + 1] = 2 * u * self.program.inverse
        for row in range(g):
            found[..., g * (row + 1) : g * (row + 2), i + row * r : i + (row + 1) * r] = 2 * y
            found[..., g + row : g + g * g : g, j + row * r : j + (row + 1) * r] = 2 * x
        if self.program.bias:
            found[..., g + g * g :, k:] = np.eye(g)
        return found


def _towards(h: Array, *, normal: Array, curvature: Array) -> None:
    """Restrict second derivatives to the directions across a normal, in place, with a curvature along it."""
    across = (h @ normal[..., None])[..., 0]
    outer = across[..., None] * normal[..., None, :]
    along = (normal * across).sum(-1) + curvature
    h += (normal[..., None] * normal[..., None, :]) * along[..., None, None] - outer - outer.mT
