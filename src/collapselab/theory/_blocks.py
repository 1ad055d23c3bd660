"""Matrices over classes that are constant on blocks of equal classes: the geometry of K classes in a few numbers."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError

# Past this many classes a dense matrix is no longer something to look at (128 MB).
_LARGEST_DENSE = 4096


@dataclass(frozen=True)
class BlockMatrix:
    """A K x K matrix over classes in groups: one number on the diagonal of a group, one elsewhere in each block.

    Balanced problems have one group, so that a hundred thousand classes take two numbers.

    Attributes:
        sizes: Classes in each group.
        own: Diagonal entry of each group.
        between: Entry of each block of groups off the diagonal; row, then column.
    """

    sizes: tuple[int, ...]
    own: tuple[float, ...]
    between: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        """Check that the numbers fit together."""
        g = len(self.sizes)
        if g == 0 or len(self.own) != g or len(self.between) != g or any(len(row) != g for row in self.between):
            raise InputError(f"blocks must be one a group and pair of groups, got {self.sizes} and {self.between}")
        for size in self.sizes:
            checks.whole(size, "sizes", at_least=1)

    @classmethod
    def uniform(cls, size: int, own: float, other: float) -> "BlockMatrix":
        """One group.

        Args:
            size: K.
            own: Diagonal entry.
            other: Entry off the diagonal.

        Returns:
            The matrix.

        Example:
            >>> BlockMatrix.uniform(3, 1.0, -0.5).dense().sum().item()
            0.0
        """
        return cls((size,), (own,), ((other,),))

    @property
    def size(self) -> int:
        """K."""
        return sum(self.sizes)

    def scaled(self, factor: float) -> "BlockMatrix":
        """Every entry times a number.

        Args:
            factor: The number.

        Returns:
            New matrix.
        """
        own = tuple(factor * x for x in self.own)
        return BlockMatrix(self.sizes, own, tuple(tuple(factor * x for x in row) for row in self.between))

    def pairs(self, g: int, h: int) -> int:
        """How many entries off the diagonal a block has.

        Args:
            g: Group of the row.
            h: Group of the column.

        Returns:
            Their number.
        """
        return self.sizes[g] * (self.sizes[h] - (g == h))

    def trace(self) -> float:
        """Sum of the diagonal.

        Returns:
            The trace.
        """
        return math.fsum(s * x for s, x in zip(self.sizes, self.own, strict=True))

    def norm(self) -> float:
        """Frobenius norm.

        Returns:
            The norm.
        """
        groups = range(len(self.sizes))
        squares = [s * x * x for s, x in zip(self.sizes, self.own, strict=True)]
        squares += [self.pairs(g, h) * self.between[g][h] ** 2 for g in groups for h in groups]
        return math.sqrt(math.fsum(squares))

    def row_means(self) -> tuple[float, ...]:
        """Mean of a row of each group.

        Returns:
            One number a group.
        """
        return tuple(
            math.fsum([self.own[g], *((s - (g == h)) * self.between[g][h] for h, s in enumerate(self.sizes))])
            / self.size
            for g in range(len(self.sizes))
        )

    def column_means(self) -> tuple[float, ...]:
        """Mean of a column of each group.

        Returns:
            One number a group.
        """
        return self.transposed().row_means()

    def transposed(self) -> "BlockMatrix":
        """Rows and columns exchanged.

        Returns:
            New matrix.
        """
        return BlockMatrix(self.sizes, self.own, tuple(zip(*self.between, strict=True)))

    def columns_centred(self) -> "BlockMatrix":
        """The matrix times the projection that takes the mean over columns away, A Pi.

        Returns:
            New matrix.
        """
        means = self.row_means()
        own = tuple(x - m for x, m in zip(self.own, means, strict=True))
        return BlockMatrix(
            self.sizes, own, tuple(tuple(x - m for x in row) for row, m in zip(self.between, means, strict=True))
        )

    def centred(self) -> "BlockMatrix":
        """Means over rows and over columns taken away, Pi A Pi.

        Returns:
            New matrix.
        """
        return self.columns_centred().transposed().columns_centred().transposed()

    def cosines(self) -> "BlockMatrix":
        """Entries divided by the roots of the diagonal: cosines, if this is a Gram matrix.

        Returns:
            New matrix.

        Raises:
            InputError: If a diagonal entry is not positive.
        """
        if min(self.own) <= 0:
            raise InputError(f"cosines need positive squared norms, got {min(self.own)}")
        roots = [math.sqrt(x) for x in self.own]
        between = tuple(
            tuple(x / (r * s) for x, s in zip(row, roots, strict=True))
            for row, r in zip(self.between, roots, strict=True)
        )
        return BlockMatrix(self.sizes, tuple(1.0 for _ in roots), between)

    def dense(self) -> Tensor:
        """All entries.

        Returns:
            (K, K) float64, groups one after the other.

        Raises:
            InputError: If there are too many classes.
        """
        if self.size > _LARGEST_DENSE:
            raise InputError(f"a dense matrix must have at most {_LARGEST_DENSE} classes, got {self.size}")
        group = torch.repeat_interleave(torch.arange(len(self.sizes)), torch.tensor(self.sizes))
        entries = torch.tensor(self.between, dtype=torch.float64)[group][:, group]
        entries.diagonal().copy_(torch.tensor(self.own, dtype=torch.float64)[group])
        return entries
