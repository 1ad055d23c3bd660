"""From classes to groups of equal ones and back: the geometry and a state of a solved `Grouped` program."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._geometry import Geometry
from collapselab.theory._imbalance.grouped import Array, Grouped, Logits
from collapselab.theory._imbalance.grouped_solve import Solved
from collapselab.theory._problem import State
from collapselab.theory.nuclear import balanced_factors


@dataclass(frozen=True)
class Groups:
    """Classes that count the same, the weightiest first.

    Attributes:
        group: Group of each class.
        sizes: Classes in each group.
        weights: What a class of each group counts in the sum of losses: its samples, if nothing is weighted.
    """

    group: tuple[int, ...]
    sizes: tuple[int, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, weights: Sequence[float]) -> "Groups":
        """Group classes.

        Args:
            weights: What each class counts in the sum of losses; up to rounding.

        Returns:
            The groups.
        """
        kinds = [float(f"{weight:.12g}") for weight in weights]
        there = sorted(set(kinds), reverse=True)
        place = {kind: g for g, kind in enumerate(there)}
        group = tuple(place[kind] for kind in kinds)
        return cls(group, tuple(map(int, np.bincount(group))), tuple(there))

    @cached_property
    def shares(self) -> Array:
        """(g,) part of each group in the mean loss."""
        found = np.array(self.sizes) * np.array(self.weights)
        return found / math.fsum(found)


@dataclass(frozen=True, eq=False)
class Solution:
    r"""A solved program with the sizes that logits are split into.

    Attributes:
        groups: Which classes are alike.
        program: What was solved.
        solved: Where it ended.
        ratio: $\|h\|^2/\|w\|^2$ of what belongs to equal singular values.
    """

    groups: Groups
    program: Grouped
    solved: Solved
    ratio: float

    @property
    def rank(self) -> int:
        """How many features the logits need."""
        at = self.solved.logits
        apart = sum(size - 1 for size, a in zip(self.groups.sizes, at.differences, strict=True) if a > 0)
        sizes = np.linalg.svd(at.shared, compute_uv=False)
        top = max(float(sizes[0]), float(at.differences.max()))
        return apart + int((sizes > 1e-12 * top).sum()) if top > 0 else 0

    @cached_property
    def geometry(self) -> Geometry:
        """Inner products of class vectors and class means."""
        return balanced_geometry(self.groups.sizes, self.solved.logits, self.program.scales, self.ratio)

    def class_logits(self) -> Tensor:
        """Logits of a sample of each class without bias, in the order of the classes.

        Returns:
            (k, k), rows are classes of samples.
        """
        dense = self.geometry.logits.dense().T
        order = torch.argsort(torch.argsort(torch.tensor(self.groups.group), stable=True))
        return dense[order][:, order]

    def factors(self, num_features: int, generator: torch.Generator | None) -> State:
        """Class means and class vectors, in the order of the classes.

        Args:
            num_features: d.
            generator: Turns them at random.

        Returns:
            ``h`` with one row a class, and ``weight``.
        """
        scales = torch.from_numpy(self.program.scales)[torch.tensor(self.groups.group)]
        scaled = self.class_logits() / scales[:, None]
        state = balanced_factors(scaled, num_features, decay_head=self.ratio, decay_features=1.0, generator=generator)
        return {"h": state["h"] * scales[:, None], "weight": state["weight"]}

    @property
    def merged(self) -> tuple[int, ...]:
        """Groups of two classes or more, by place, whose class vectors coincide.

        Rare classes of different sizes come close to one direction, but no answer here says that they share it.
        """
        differences = self.solved.logits.differences
        return tuple(g for g, size in enumerate(self.groups.sizes) if size > 1 and differences[g] == 0)


def balanced_geometry(sizes: Sequence[int], at: Logits, scales: Array, ratio: float) -> Geometry:
    """Inner products of the balanced factors of logits.

    Args:
        sizes: Classes in each group.
        at: The logits, rows divided by the scales.
        scales: (g,).
        ratio: Squared norm of class means over that of class vectors, of what belongs to equal singular values.

    Returns:
        The geometry.
    """
    left, s, right = np.linalg.svd(at.shared)
    a, root = at.differences, math.sqrt(ratio)
    weights = blocks(sizes, a, (right.T * s) @ right).scaled(1 / root)
    means = _rescaled(blocks(sizes, a, (left * s) @ left.T).scaled(root), scales, scales)
    logits = _rescaled(blocks(sizes, a, at.shared.T), np.ones(len(a)), scales)
    return Geometry(weights, means, logits, tuple(map(float, at.bias)))


def refuse_few_features(needed: int, num_features: int) -> None:
    """Check that features suffice for the best logits.

    Args:
        needed: Rank of the logits.
        num_features: d.

    Raises:
        InputError: If they do not.
    """
    if num_features < needed:
        raise InputError(f"num_features must be at least {needed}, the rank of the best logits, got {num_features}")


def blocks(sizes: Sequence[int], differences: Array, shared: Array) -> BlockMatrix:
    """The matrix with a multiple of the centring projection within each group, and a part that groups share.

    Args:
        sizes: Classes in each group.
        differences: (g,) multiple of the projection.
        shared: (g, g) entries by the normalised vector of ones of each group.

    Returns:
        The matrix.
    """
    k = np.array(sizes, dtype=np.float64)
    between = shared / np.sqrt(k[:, None] * k)
    between[np.diag_indices(len(k))] -= differences / k
    own = between.diagonal() + differences
    alone = k == 1  # the projection within a group of one class is zero
    own = np.where(alone, shared.diagonal(), own)
    between[np.diag_indices(len(k))] = np.where(alone, shared.diagonal(), between.diagonal())
    return BlockMatrix(tuple(sizes), tuple(own.tolist()), tuple(tuple(row) for row in between.tolist()))


def _rescaled(matrix: BlockMatrix, rows: Array, columns: Array) -> BlockMatrix:
    """Rows and columns of each group times a number."""
    own = tuple(float(x * r * c) for x, r, c in zip(matrix.own, rows, columns, strict=True))
    between = tuple(
        tuple(float(x * r * c) for x, c in zip(row, columns, strict=True))
        for row, r in zip(matrix.between, rows, strict=True)
    )
    return BlockMatrix(matrix.sizes, own, between)
