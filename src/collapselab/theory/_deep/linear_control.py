r"""Decayed linear networks of continuous depth (Taghvaei, Kim & Mehta 2017): critical points from one matrix equation.

A state moves as $\dot X=A_tX$ for a time T, the depth, at the cost
$\tfrac12E|X_T-RX_0|^2+\tfrac\lambda2\int_0^T\|A_t\|^2dt$. At every critical point $\dot A=AA^T-A^TA$, so that
$A_t=e^{t\Omega}Ce^{-t\Omega}$ with $\Omega=C-C^T$: the first layer C determines all.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._balanced_squares.roots import last_that_holds

# Points of the search along a branch for each radian that it can wind.
_POINTS = 400


class RotationBranch(NamedTuple):
    """A critical point with first layer aI + bJ, where J turns by a right angle.

    Attributes:
        growth: a, what the plane is stretched by in a unit of depth, as a logarithm.
        turn: b, in radians in a unit of depth.
        cost: Value of the objective there.
    """

    growth: float
    turn: float
    cost: float


def continuous_layer(first: Tensor, depth: float) -> Tensor:
    r"""The layer at a depth of a critical point, $e^{t\Omega}Ce^{-t\Omega}$.

    Args:
        first: C, (d, d).
        depth: t.

    Returns:
        (d, d).
    """
    c = _square(first, "first")
    turn = torch.matrix_exp(depth * (c - c.T))
    return turn @ c @ turn.T


def continuous_map(first: Tensor, *, horizon: float = 1.0) -> Tensor:
    r"""What all layers of a critical point do together, $F=e^{T(C-C^T)}e^{TC^T}$.

    Args:
        first: C, (d, d).
        horizon: T, the depth.

    Returns:
        (d, d).
    """
    c = _square(first, "first")
    return torch.matrix_exp(horizon * (c - c.T)) @ torch.matrix_exp(horizon * c.T)


def taghvaei_residual(
    first: Tensor, target: Tensor, decay: float, *, horizon: float = 1.0, covariance: Tensor | None = None
) -> Tensor:
    r"""What is missing in the characteristic equation, $\lambda C-F^T(R-F)\Sigma_0$: zero at critical points only.

    Args:
        first: C, (d, d), the layer at depth 0.
        target: R, (d, d), the map to be learnt.
        decay: lambda >= 0.
        horizon: T, the depth.
        covariance: $\Sigma_0=E[X_0X_0^T]$; the identity by default.

    Returns:
        (d, d).

    Raises:
        InputError: If a matrix is not square, or they differ in size.

    Example:
        >>> zero = torch.zeros(2, 2, dtype=torch.float64)
        >>> float(taghvaei_residual(zero, torch.eye(2), 0.1).abs().max())
        0.0
    """
    c, r = _square(first, "first"), _square(target, "target")
    if c.shape != r.shape:
        raise InputError(f"first and target must have one shape, got {tuple(c.shape)} and {tuple(r.shape)}")
    weight = checks.real(decay, "decay", at_least=0)
    f = continuous_map(c, horizon=checks.real(horizon, "horizon", above=0))
    pull = f.T @ (r - f)
    return weight * c - (pull if covariance is None else pull @ _square(covariance, "covariance"))


def rotation_branches(angle: float, decay: float, *, horizon: float = 1.0) -> tuple[RotationBranch, ...]:
    r"""Critical points that learn a rotation of the plane, among first layers $aI+bJ$, with whitened inputs.

    They solve $\lambda a=e^{Ta}\cos(\theta-Tb)-e^{2Ta}$ and $\lambda b=e^{Ta}\sin(\theta-Tb)$. The squares of both give
    b up to its sign for each a; along these two curves the angle is right at isolated places, the more of them the
    weaker the decay: each winds once more around the circle. Places where two are about to merge can be missed.

    Args:
        angle: theta, between 0 and pi; other angles are mirror images.
        decay: lambda > 0.
        horizon: T, the depth.

    Returns:
        The best first.

    Example:
        >>> for branch in rotation_branches(math.pi / 2, 0.1):
        ...     print([round(x, 3) for x in branch])
        [-0.01, 1.426, 0.224]
        [-0.112, -4.221, 2.006]
        [-1.18, -3.065, 2.22]
    """
    theta = checks.real(angle, "angle", above=0, below=math.pi)
    weight = checks.real(decay, "decay", above=0)
    t = checks.real(horizon, "horizon", above=0)
    found = [branch for sign in (1.0, -1.0) for branch in _along(_Curve(theta, weight, t, sign))]
    return tuple(sorted(found, key=lambda branch: branch.cost))


class _Curve(NamedTuple):
    """First layers that satisfy both equations but for the angle, by a place between 0 (a = 0) and pi (smallest a)."""

    theta: float
    decay: float
    horizon: float
    sign: float

    @property
    def lowest(self) -> float:
        """The smallest a, where the squares leave nothing for b."""

        def too_low(a: float) -> bool:
            return self.decay * a + math.exp(2 * self.horizon * a) + math.exp(self.horizon * a) <= 0

        return last_that_holds(too_low, -2 / self.decay, 0.0)

    def layer(self, place: np.ndarray, lowest: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """a, b, and by how much the angle is off. Places crowd at both ends, where b grows like a root."""
        a = lowest * (1 - np.cos(place)) / 2
        size = np.exp(self.horizon * a)
        along = self.decay * a + size**2
        across = self.sign * np.sqrt(np.maximum(0.0, size**2 - along**2))
        b = across / self.decay
        return a, b, self.theta - self.horizon * b - np.arctan2(across, along)

    def branch(self, place: float, lowest: float) -> RotationBranch:
        """The critical point at a place."""
        a, b, _ = (float(x) for x in self.layer(np.array(place), lowest))
        t, stretch = self.horizon, math.exp(self.horizon * a)
        error = stretch**2 - 2 * stretch * math.cos(self.theta - t * b) + 1
        return RotationBranch(a, b, error + self.decay * t * (a * a + b * b))


def _along(curve: _Curve) -> list[RotationBranch]:
    """Where the angle is right up to whole turns."""
    lowest = curve.lowest
    places = np.linspace(0.0, math.pi, int(_POINTS * (4 + curve.horizon / curve.decay)))
    turns = np.floor(curve.layer(places, lowest)[2] / (2 * math.pi))
    found = []
    for at in np.nonzero(np.diff(turns))[0]:
        level = 2 * math.pi * max(turns[at], turns[at + 1])
        falls = turns[at] > turns[at + 1]

        def before(place: float, level: float = level, falls: bool = falls) -> bool:
            return bool((curve.layer(np.array(place), lowest)[2] >= level) == falls)

        found.append(curve.branch(last_that_holds(before, float(places[at]), float(places[at + 1])), lowest))
    return found


def _square(value: Tensor, name: str) -> Tensor:
    matrix = checks.matrix(value, name, axes="(rows, columns)").double()
    if matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"{name} must be square, got {tuple(matrix.shape)}")
    return matrix
