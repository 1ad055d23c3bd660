"""Cross-entropy without decay and unequal classes (Thrampoulidis et al. 2022): simplex-encoded labels, taken apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import NotKnown
from collapselab.theory._geometry import Geometry
from collapselab.theory._imbalance.grouped import Array, Logits
from collapselab.theory._imbalance.imbalanced import Groups, balanced_geometry
from collapselab.theory._margins.without_decay import WithoutDecay
from collapselab.theory._model import model
from collapselab.theory._problem import Problem, State
from collapselab.theory.nuclear import balanced_factors


@model("unregularised_imbalanced", label="cross-entropy without decay, unequal classes", source="thrampoulidis2022")
@dataclass(frozen=True)
class SimplexEncodedLabels(WithoutDecay):
    r"""Mean cross-entropy of free features and a head without decay and with any classes: its infimum is zero.

    The features and head of least norm with all margins at least 1 have the logits $\Pi_KY$, the simplex-encoded
    labels, however many samples a class has: they are what cross-entropy with decay tends to, as a direction, when the
    decay vanishes. With $\Pi_KY=V\Lambda U^\top$ the inner products are $WW^\top=V\Lambda V^\top$ and
    $H^\top H=U\Lambda U^\top$. Rare classes have class vectors that come close to each other and features that move
    apart, without ever merging.

    Attributes:
        problem: Sizes; d >= K-1, no decay, no bias, features of either sign.
    """

    answers: ClassVar[tuple[str, ...] | None] = ("cross_entropy",)

    with_decay: ClassVar[str] = "ImbalancedCrossEntropy"

    problem: Problem

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "Classes may differ in size.",
            "There are at least K - 1 features, and they can take any value.",
            "Nothing is decayed, and there is no bias.",
            "The direction is that of least norm for its margins; descent may end in another critical direction.",
            "Metrics are those of the direction in the limit; at a finite loss they are still on their way.",
        )

    @cached_property
    def norm(self) -> float:
        r"""$\|\Pi_KY\|_*$, half the squared norm of features and head where all margins are 1."""
        groups = Groups.of(self.problem.counts)
        at, _ = _encoded(groups)
        inside = float(((np.array(groups.sizes) - 1) * at.differences).sum())
        return inside + float(np.linalg.svd(at.shared, compute_uv=False).sum())

    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of each sample.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,), in nats.
        """
        return functional.cross_entropy(logits, y, reduction="none")

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """Refused: nothing attains the infimum.

        Args:
            generator: Not used.

        Raises:
            NotKnown: Always.
        """
        del generator
        raise NotKnown("the infimum is not attained: see approach")

    def approach(self, size: float) -> tuple[State, float]:
        """The simplex-encoded labels at a given size.

        Args:
            size: Root of the squared norms of features and head together.

        Returns:
            The state, and its loss.
        """
        margin = checks.real(size, "size", above=0) ** 2 / (2 * self.norm)
        k, counts = self.problem.num_classes, torch.tensor(self.problem.counts, dtype=torch.float64)
        roots = counts.sqrt()[:, None]
        scaled = margin * roots * (torch.eye(k, dtype=torch.float64) - 1 / k)
        found = balanced_factors(scaled, self.problem.num_features, decay_head=1.0, decay_features=1.0)
        state = {"h": self.problem.spread(found["h"] / roots), "weight": found["weight"]}
        return state, math.log1p((k - 1) * math.exp(-margin))

    def geometry(self) -> Geometry:
        """Inner products in the limit of the direction, of the size where every margin is 1.

        Returns:
            The geometry, one group for classes of each size, the largest first.
        """
        return seli_geometry(self.problem.counts)

    @classmethod
    def examples(cls) -> Sequence["SimplexEncodedLabels"]:
        """Two groups, several, two classes, equal classes.

        Returns:
            Landscapes.
        """
        return tuple(
            cls(Problem(counts, d, 0.0, 0.0))
            for counts, d in (((10, 10, 1, 1), 5), ((9, 4, 4, 2, 1), 4), ((5, 1), 2), ((3, 3, 3), 3))
        )


def simplex_encoded_labels(counts: Sequence[int]) -> Tensor:
    r"""The logits of least nuclear norm with all margins at least 1, $\Pi_KY$, one row a sample.

    Args:
        counts: Samples of each class.

    Returns:
        (n, k): 1 - 1/K for the class of the sample, -1/K for others.

    Example:
        >>> simplex_encoded_labels([2, 1]).tolist()
        [[0.5, -0.5], [0.5, -0.5], [-0.5, 0.5]]
    """
    problem = Problem(tuple(counts), 1, 0.0, 0.0)
    k = problem.num_classes
    return problem.spread(torch.eye(k, dtype=torch.float64) - 1 / k)


def seli_geometry(counts: Sequence[int]) -> Geometry:
    """Inner products of the balanced factors of simplex-encoded labels, in closed form for groups of equal classes.

    Args:
        counts: Samples of each class.

    Returns:
        The geometry, with every margin 1; one group for classes of each size, the largest first.

    Example:
        >>> cosines = seli_geometry([10, 10, 1, 1]).weights.cosines()
        >>> [round(x, 4) for x in (cosines.between[0][0], cosines.between[1][1], cosines.between[0][1])]
        [-0.459, 0.0794, -0.3821]
    """
    groups = Groups.of(Problem(tuple(counts), 1, 0.0, 0.0).counts)
    at, scales = _encoded(groups)
    return balanced_geometry(groups.sizes, at, scales, 1.0)


def _encoded(groups: Groups) -> tuple[Logits, Array]:
    """The class logits times the roots of class sizes, in blocks, and the inverse roots."""
    sizes, roots = np.array(groups.sizes, dtype=np.float64), np.sqrt(np.array(groups.weights))
    ones = np.sqrt(sizes / sizes.sum())
    shared = roots[:, None] * (np.eye(len(sizes)) - ones[:, None] * ones)
    return Logits(np.where(sizes > 1, roots, 0.0), shared, np.zeros(len(sizes))), 1 / roots
