"""Pairs of points on curves: how far apart along the curve, and how far a step on one moves the other."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from collapselab.core.random import generators
from collapselab.dynamics import relative_similarity, tangent_kernel
from collapselab.training.data._curved import Curved


@dataclass(frozen=True, eq=False)
class Points:
    """Points on two curves, as they are made: not standardised, class by class.

    Attributes:
        x: (n, 3) float32.
        y: Targets (n,), 0 or 1.
        distances: (m, m) within each class.
    """

    x: Tensor
    y: Tensor
    distances: tuple[Tensor, ...]

    @classmethod
    def draw(cls, data: Curved, per_class: int, seed: int) -> "Points":
        """Points of both classes.

        Args:
            data: Where they lie.
            per_class: How many of each class.
            seed: What they come from.

        Returns:
            The points.
        """
        (draw,) = generators(seed, "points on curves")
        y = torch.arange(2).repeat_interleave(per_class)
        x = data.points(y, draw)
        distances = tuple(data.distances(own, label) for label, own in enumerate(x.chunk(2)))
        return cls(x.float(), y.float(), distances)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of different samples of a class.

    Attributes:
        similarity: For each class (m (m-1),), the relative similarity with the sign of the tangent kernel.
        distance: Likewise.
    """

    similarity: tuple[Tensor, ...]
    distance: tuple[Tensor, ...]

    @classmethod
    def of(cls, network: nn.Module, points: Points) -> "Pairs":
        """The pairs as a network sees them.

        Args:
            network: Points to one output.
            points: The points.

        Returns:
            Similarities and distances.
        """
        kernels = [tangent_kernel(network, x).double() for x in points.x.chunk(2)]
        similarities = tuple(_apart(kernel.sign() * relative_similarity(kernel)) for kernel in kernels)
        return cls(similarities, tuple(_apart(own) for own in points.distances))

    def correlation(self, *, signed: bool) -> float | str:
        """Pearson correlation of similarity and distance, mean of both classes.

        Args:
            signed: Whether the similarity keeps its sign.

        Returns:
            The correlation, or why it has no value.
        """
        found = []
        for similarity, distance in zip(self.similarity, self.distance, strict=True):
            one = _pearson(similarity if signed else similarity.abs(), distance)
            if one is None:
                return "all pairs of a class are alike"
            found.append(one)
        return sum(found) / len(found)

    def along(self, bins: int) -> Iterator[tuple[float, float]]:
        """Mean similarity by distance, every pair of both classes counting alike.

        Args:
            bins: Parts of the largest distance of a class.

        Yields:
            Distance as a part of the largest, and mean of the similarities without sign; nothing where no pair is.
        """
        distance = torch.cat([own / own.max() for own in self.distance])
        similarity = torch.cat(self.similarity).abs()
        place = (distance * bins).long().clamp(max=bins - 1)
        for at in place.unique().tolist():
            yield (at + 0.5) / bins, float(similarity[place == at].mean())


def _apart(matrix: Tensor) -> Tensor:
    """All but the diagonal, in one row."""
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)]


def _pearson(a: Tensor, b: Tensor) -> float | None:
    a, b = a - a.mean(), b - b.mean()
    norms = float(a.norm() * b.norm())
    return float(a @ b) / norms if norms > 0 else None
