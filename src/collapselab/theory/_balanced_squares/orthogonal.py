"""Frames of orthogonal rows without negative entries: rows that share no coordinate."""

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError


def nonnegative_frame(num_rows: int, num_features: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Orthonormal rows that are not negative: each has coordinates of its own, and every coordinate is used.

    Args:
        num_rows: r >= 1.
        num_features: d >= r.
        generator: Deals the coordinates to the rows and draws their sizes; None deals them in turn, in equal parts.

    Returns:
        (r, d) rows with the identity as Gram matrix.

    Raises:
        InputError: If there are fewer features than rows.

    Example:
        >>> nonnegative_frame(2, 5).square().mul(6).round().tolist()
        [[2.0, 0.0, 2.0, 0.0, 2.0], [0.0, 3.0, 0.0, 3.0, 0.0]]
    """
    r = checks.whole(num_rows, "num_rows", at_least=1)
    d = checks.whole(num_features, "num_features", at_least=1)
    if d < r:
        raise InputError(f"num_features must be at least {r} for {r} rows that share no coordinate, got {d}")
    owner, size = torch.arange(d) % r, torch.ones(d, dtype=torch.float64)
    if generator is not None:
        owner = owner[torch.randperm(d, generator=generator)]
        size = 0.5 + torch.rand(d, generator=generator, dtype=torch.float64)
    rows = torch.zeros(r, d, dtype=torch.float64)
    rows[owner, torch.arange(d)] = size
    return rows / rows.norm(dim=1, keepdim=True)
