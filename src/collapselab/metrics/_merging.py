"""Which rows lie so close to another one that they are the same row, without a K x K matrix."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from collapselab.metrics._tiles import Tile, gram_tiles

# Directions in which pairs are looked at first. Rows that merge agree in every direction, and a few dozen random ones
# leave hardly a pair that does not: most tiles are then settled at a small part of the cost of the whole product.
_DIRECTIONS = 32


def merged_rows(rows: Float[Tensor, "k d"], distance: float) -> Bool[Tensor, " k"]:
    """Which rows have another row within a distance.

    Args:
        rows: At least one.
        distance: Of the order of the rows themselves: squares are compared after a subtraction that rounds them to
            about 1e-15 of the largest squared norm.

    Returns:
        True where another row is that close.
    """
    k, d = rows.shape
    found = torch.zeros(k, dtype=torch.bool, device=rows.device)
    shadow = rows if d <= 2 * _DIRECTIONS else rows @ _directions(d, rows)
    norms = rows.square().sum(1)
    shadow_norms = shadow.square().sum(1)
    # A projection shortens distances, so that its bound needs room for rounding alone.
    room = 1e-12 * float(norms.max())
    for tile in gram_tiles(shadow):
        near = _near(tile, shadow_norms, distance**2 + (0 if shadow is rows else room))
        if shadow is not rows and bool(near.any()):
            near = _near_in_full(tile, rows, norms, near, distance**2)
        found[tile.rows] |= near.any(1)
        found[tile.columns] |= near.any(0)
    return found


def _directions(d: int, like: Tensor) -> Float[Tensor, "d r"]:
    """Orthonormal columns, always the same."""
    generator = torch.Generator().manual_seed(0)
    columns = torch.randn(d, _DIRECTIONS, dtype=torch.float64, generator=generator)
    return torch.linalg.qr(columns).Q.to(like)


def _near(tile: Tile, norms: Float[Tensor, " k"], bound: float) -> Bool[Tensor, "a b"]:
    """Pairs of a tile of inner products, each once, whose squared distance is at most a bound; overwrites the tile."""
    squared = tile.values.mul_(-2).add_(norms[tile.rows, None]).add_(norms[tile.columns])
    near = squared <= bound
    return near if tile.repeated is None else near.masked_fill_(tile.repeated, False)


def _near_in_full(
    tile: Tile, rows: Float[Tensor, "k d"], norms: Float[Tensor, " k"], near: Bool[Tensor, "a b"], bound: float
) -> Bool[Tensor, "a b"]:
    """Of the pairs near in projection, those that are near; only rows with such a pair are multiplied."""
    first, second = near.any(1).nonzero()[:, 0], near.any(0).nonzero()[:, 0]
    a, b = tile.first + first, tile.second + second
    squared = norms[a, None] + norms[b] - 2 * rows[a] @ rows[b].T
    near = near.clone()
    near[first[:, None], second] &= squared <= bound
    return near
