"""Groups of similar classes taken together: a `Grouped` program whose solution is a good start for the finer one."""

from dataclasses import dataclass, replace

import numpy as np

from collapselab.theory._imbalance.grouped import Array, Grouped, Logits


@dataclass(frozen=True, eq=False)
class Coarse:
    """A coarser program.

    Attributes:
        program: With fewer groups.
        bins: (g,) which of its groups each group of the finer one is in.
    """

    program: Grouped
    bins: Array


def coarser(program: Grouped, most: int) -> Coarse:
    """Take neighbouring groups together, as many classes in each bin as far as possible.

    Args:
        program: Groups in the order of their weight.
        most: Most groups that are left.

    Returns:
        The coarser program.
    """
    middle = np.cumsum(program.sizes) - program.sizes / 2
    bins = np.unique((middle / program.sizes.sum() * most).astype(int), return_inverse=True)[1]
    sizes, masses = np.bincount(bins, program.sizes), np.bincount(bins, program.masses)
    scales = np.sqrt(np.bincount(bins, program.sizes * program.scales**2) / sizes)
    return Coarse(replace(program, sizes=sizes, masses=masses, scales=scales, apart=None), bins)


def lifted(program: Grouped, coarse: Coarse, at: Logits) -> Logits:
    """Logits of the coarser program as logits of the finer one, of the same nuclear norm.

    Args:
        program: The finer one.
        coarse: The coarser one.
        at: Its logits.

    Returns:
        The same matrix in other blocks.
    """
    bins = coarse.bins
    parts = np.sqrt(program.sizes / coarse.program.sizes[bins])
    shared = at.shared[bins][:, bins] * parts[:, None] * parts
    differences = at.differences[bins]
    same = bins[:, None] == bins
    shared += np.diag(differences) - same * (differences[:, None] * parts[:, None] * parts)
    return Logits(np.where(program.others > 0, differences, 0.0), shared, at.bias[bins])
