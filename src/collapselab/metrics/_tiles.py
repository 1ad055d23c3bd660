"""Distances between all pairs of rows, tile by tile: K x K numbers are seen but never stored.

Metrics of class means do not sweep on their own: `collapselab.metrics._pairs.class_pairs` does one sweep for them all
(distances, cosines, log kernel), because the product behind the distances costs five times what is done with them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from collapselab.core.linalg import CLOSE_PAIR

# 1024 x 1024 float64 is 8 MB: large enough for full BLAS speed, small enough that what follows finds it in the cache.
TILE_ROWS = 1024

# Values subtracted at once where close pairs are computed directly: 2 MB stays in the cache.
_DIRECT_VALUES = 2**18

# A tile may leave this share of its pairs to direct subtraction. Classes in a few tight groups far apart make most
# pairs close relative to their norms: those are looked at from nearer centres first, of which so many are tried.
_FEW = 1 / 64
_CENTRES = 8


@dataclass(frozen=True, eq=False)
class Tile:
    """Pairs (i, j) with i in first .. first + a and j in second .. second + b.

    On a tile of the diagonal (``first == second``) only entries above its diagonal are pairs not met elsewhere.

    Attributes:
        first: Index of the first row of the tile.
        second: Index of its first column.
        values: What is known of each pair.
    """

    first: int
    second: int
    values: Float[Tensor, "a b"]

    @property
    def rows(self) -> slice:
        """Indices i."""
        return slice(self.first, self.first + self.values.shape[0])

    @property
    def columns(self) -> slice:
        """Indices j."""
        return slice(self.second, self.second + self.values.shape[1])

    @cached_property
    def repeated(self) -> Bool[Tensor, "a b"] | None:
        """Mask of the entries that are no new pair, on a tile of the diagonal; None elsewhere."""
        if self.first != self.second:
            return None
        return torch.ones_like(self.values, dtype=torch.bool).tril_()


class Workspace:
    """Memory for one tile, used again for the next: fresh pages for 8 MB cost more than most sweeps over them.

    Args:
        like: A tensor of the wanted dtype and device.
        tile: Rows and columns of the largest tile.
    """

    def __init__(self, like: Tensor, tile: int) -> None:
        self._memory = like.new_empty(tile * tile)

    def of(self, a: int, b: int) -> Float[Tensor, "a b"]:
        """Uninitialised values of a tile.

        Args:
            a: Its rows.
            b: Its columns.

        Returns:
            A contiguous view of the memory.
        """
        return self._memory[: a * b].view(a, b)


def gram_tiles(rows: Float[Tensor, "k d"], *, tile: int = TILE_ROWS) -> Iterator[Tile]:
    """Inner products of all unordered pairs of rows.

    Args:
        rows: The rows.
        tile: Rows and columns of a tile.

    Yields:
        Tiles on and above the diagonal; the caller may overwrite each, and the next one does.
    """
    kept = Workspace(rows, min(tile, rows.shape[0]))
    for first in range(0, rows.shape[0], tile):
        for second in range(first, rows.shape[0], tile):
            a, b = rows[first : first + tile], rows[second : second + tile]
            yield Tile(first, second, torch.mm(a, b.T, out=kept.of(a.shape[0], b.shape[0])))


def upper_tiles(rows: Float[Tensor, "k d"], *, tile: int = TILE_ROWS) -> Iterator[Tile]:
    """Squared distances of all unordered pairs of rows, each pair once, exact to about 1e-12 however close it is.

    Rows should be centred: a common offset cancels digits. Entries that are no new pair (the diagonal, and below it on
    a tile of the diagonal) are infinite, so that a minimum or a sum of inverses passes over them.

    Args:
        rows: The rows.
        tile: Rows and columns of a tile.

    Yields:
        Tiles on and above the diagonal; the caller may overwrite each, and the next one does.
    """
    norms = rows.square().sum(1)
    for block in gram_tiles(rows, tile=tile):
        squared_distances(rows, norms, block)
        if block.repeated is not None:
            block.values.masked_fill_(block.repeated, torch.inf)
        yield block


def squared_distances(rows: Float[Tensor, "k d"], norms: Float[Tensor, " k"], block: Tile) -> None:
    """Turn inner products into squared distances, in place.

    Args:
        rows: All rows.
        norms: Their squared norms.
        block: Inner products of some of them.
    """
    a, b = norms[block.rows, None], norms[block.columns]
    squared = block.values.mul_(-2).add_(a).add_(b)
    sharpen(squared, squared < CLOSE_PAIR * (a + b), rows[block.rows], rows[block.columns])


def sharpen(
    squared: Float[Tensor, "a b"], close: Bool[Tensor, "a b"], first: Float[Tensor, "a d"], second: Float[Tensor, "b d"]
) -> None:
    """Recompute squared distances of pairs that are close relative to their norms, in place.

    Args:
        squared: Squared distances that are right where the pair is not close.
        close: Which pairs to recompute; overwritten.
        first: Rows of the tile.
        second: Rows of its columns.
    """
    few = _FEW * close.numel()
    for _ in range(_CENTRES):
        if int(close.sum()) <= few:
            break
        _from_nearer(squared, close, first, second)
    if int(close.sum()) > few:
        exact = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist").square_()
        squared.copy_(torch.where(close, exact, squared))
        return
    pairs = close.nonzero()
    for some in torch.split(pairs, max(_DIRECT_VALUES // first.shape[1], 1)):
        i, j = some.unbind(1)
        squared[i, j] = (first[i] - second[j]).square_().sum(1)


def _from_nearer(squared: Tensor, close: Tensor, first: Tensor, second: Tensor) -> None:
    """Settle the pairs that are no longer close seen from the row with most close pairs."""
    centre = first[close.sum(1).argmax()]
    x, z = first - centre, second - centre
    norms = x.square().sum(1)[:, None] + z.square().sum(1)
    again = torch.addmm(norms, x, z.T, alpha=-2)
    settled = close & (again >= CLOSE_PAIR * norms)
    squared.copy_(torch.where(settled, again, squared))
    close &= ~settled
