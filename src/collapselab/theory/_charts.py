"""Charts of spheres, balls and budgets: what lies elsewhere is rescaled, what fulfils the constraint stays."""

import math

import torch
from torch import Tensor

# A point this close to the boundary of a ball counts as being on it: rounding must not decide which way the chart
# looks there, since along the boundary the radial slope is not felt and inside it is.
_ON_BOUNDARY = 1e-12


def on_sphere(rows: Tensor, radius: float = 1.0) -> Tensor:
    """Rows rescaled to one norm.

    Args:
        rows: (..., d), none of them zero.
        radius: The norm.

    Returns:
        Rows of that norm.
    """
    return radius * rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True)


def in_ball(rows: Tensor, radius: float) -> Tensor:
    """Rows that are too long rescaled to a norm.

    Args:
        rows: (..., d).
        radius: The largest norm.

    Returns:
        Rows of at most that norm.
    """
    norms = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    outside = norms > radius * (1 - _ON_BOUNDARY)
    return torch.where(outside, radius * rows / torch.where(outside, norms, 1.0), rows)


def within_budget(rows: Tensor, mean_square: float) -> Tensor:
    """All rows rescaled together where their mean squared norm is too large.

    Args:
        rows: (n, d).
        mean_square: The largest mean squared norm.

    Returns:
        Rows of at most that mean squared norm.
    """
    return in_ball(rows.reshape(1, -1), math.sqrt(rows.shape[0] * mean_square)).reshape(rows.shape)
