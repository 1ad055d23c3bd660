"""What the metrics of imbalance are worth in a geometry whose classes differ in size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from collapselab.records.groups import class_groups
from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._geometry import Geometry
from collapselab.theory._imbalance.grouped import Array

# Rows of the classifier closer than this part of the longest count as one, as in `merged_classifiers`.
_MERGED = 0.05

# Part of the largest squared norm below which another one is rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Kinds:
    """Classes of one group of a geometry and of one size, the largest first.

    Attributes:
        group: (a,) group of the geometry.
        count: (a,) samples of each class.
        many: (a,) how many classes.
    """

    group: Array
    count: Array
    many: Array

    @classmethod
    def of(cls, group: Sequence[int], counts: Sequence[int]) -> "Kinds":
        """Sort classes.

        Args:
            group: Group of each class.
            counts: Samples of each class.

        Returns:
            The kinds.
        """
        pairs = np.stack([-np.asarray(counts), np.asarray(group)], 1)
        there, many = np.unique(pairs, axis=0, return_counts=True)
        return cls(there[:, 1], -there[:, 0], many)

    @property
    def small(self) -> Array:
        """(a,) whether classes are of at most average size."""
        return self.count * self.many.sum() <= self.many @ self.count

    @property
    def smallest(self) -> Array:
        """(a,) whether classes are of the smallest size."""
        return self.count == self.count.min()

    @cached_property
    def named(self) -> Array:
        """(a,) head, medium or tail."""
        every = class_groups(np.repeat(self.count, self.many).tolist())
        return np.array(every)[np.cumsum(self.many) - self.many]


@dataclass(frozen=True, eq=False)
class Uneven:
    """A geometry looked at by kinds of classes.

    Attributes:
        geometry: Inner products.
        kinds: Which classes there are.
    """

    geometry: Geometry
    kinds: Kinds

    def mean_cosine(self, gram: BlockMatrix, first: Array, second: Array | None = None) -> float | None:
        """Mean cosine of pairs of different classes.

        Args:
            gram: Inner products.
            first: (a,) which classes.
            second: (a,) the others; the same if None.

        Returns:
            The mean; None where a vector is zero, or there is no pair.
        """
        second = first if second is None else second
        own, between = self._spread(gram)
        floor = _ROUNDING * max(gram.own)
        if not (first.any() and second.any()) or min(own[first].min(), own[second].min()) <= floor:
            return None
        many = self.kinds.many[:, None] * self.kinds.many - np.diag(self.kinds.many)
        weights = np.where(first[:, None] & second, many, 0)
        roots = np.sqrt(np.maximum(own, floor))
        total = int(weights.sum())
        found = float((weights * between / (roots[:, None] * roots)).sum()) / total if total else None
        return None if found is None else min(1.0, max(-1.0, found))

    def mean_norm(self, gram: BlockMatrix, which: Array) -> float:
        """Mean norm of some vectors.

        Args:
            gram: Inner products.
            which: (a,) which classes.

        Returns:
            The mean.
        """
        own, many = self._spread(gram)[0][which], self.kinds.many[which]
        return float(many @ np.sqrt(np.maximum(own, 0.0)) / many.sum())

    def norm_ratio(self, gram: BlockMatrix, first: Array, second: Array) -> float | None:
        """Mean norm of some vectors over that of others.

        Args:
            gram: Inner products.
            first: (a,) which classes.
            second: (a,) the others.

        Returns:
            The ratio; None where the others are zero, or either are none.
        """
        if not (first.any() and second.any()):
            return None
        below = self.mean_norm(gram, second)
        floor = math.sqrt(_ROUNDING * max(gram.own))
        return self.mean_norm(gram, first) / below if below > floor else None

    def near(self, part: float = _MERGED) -> int | None:
        """Classes whose class vector has another one close by.

        Args:
            part: Of the longest class vector, how far that is.

        Returns:
            Their number; None where all class vectors are zero.
        """
        own, between = self._spread(self.geometry.weights)
        if own.max() <= 0:
            return None
        squares = own[:, None] + own - between - between.T
        alone = np.diag(self.kinds.many == 1)
        nearest = np.where(alone, math.inf, squares).min(1)
        return int(self.kinds.many[nearest <= part**2 * own.max()].sum())

    @property
    def smallest_margin(self) -> float:
        """Own logit less the largest other, of a sample of the smallest classes that has least of it."""
        own, between = self._spread(self.geometry.logits)
        bias = np.asarray(self.geometry.bias)[self.kinds.group]
        gaps = (own + bias) - (between + bias[:, None])  # rows are class vectors, columns samples
        gaps = np.where(np.diag(self.kinds.many == 1), math.inf, gaps)
        return float(gaps[:, self.kinds.smallest].min())

    @property
    def features_norm(self) -> float:
        """Frobenius norm of the features of all samples, each at its class mean."""
        own = self._spread(self.geometry.means)[0]
        return math.sqrt(float((self.kinds.many * self.kinds.count) @ np.maximum(own, 0.0)))

    def metrics(self) -> dict[str, float]:
        """What the metrics of imbalance are worth, as far as they are defined.

        Returns:
            Key of a metric to value.
        """
        small, named = self.kinds.small, self.kinds.named
        head, tail = named == "head", named == "tail"
        found: dict[str, float | None] = {"merged_classifiers": self.near()}
        for of, gram in self._grams().items():
            found[f"minority_cosine_{of}"] = self.mean_cosine(gram, small)
            found[f"head_group_cosine_{of}"] = self.mean_cosine(gram, head)
            found[f"tail_group_cosine_{of}"] = self.mean_cosine(gram, tail)
            found[f"head_tail_cosine_{of}"] = self.mean_cosine(gram, head, tail)
            found[f"head_tail_norm_ratio_{of}"] = self.norm_ratio(gram, head, tail)
        return {name: float(value) for name, value in found.items() if value is not None}

    def _grams(self) -> dict[str, BlockMatrix]:
        means = self.geometry.means.centred()
        # A mean at the global mean has no direction, and no metric of means then has a value; nor with two classes.
        there = means.size > 2 and min(means.own) > _ROUNDING * max(map(abs, self.geometry.means.own))
        return {"weights": self.geometry.weights} | ({"means": means} if there else {})

    def _spread(self, matrix: BlockMatrix) -> tuple[Array, Array]:
        """(a,) diagonal and (a, a) entries off it, by kinds in place of groups."""
        at = self.kinds.group
        return np.asarray(matrix.own)[at], np.asarray(matrix.between)[at][:, at]
