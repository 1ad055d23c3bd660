"""The layer-peeled model with any classes (Fang et al. 2021): its geometry, merged minority classes, a certificate."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError, NotKnown
from collapselab.theory._charts import within_budget
from collapselab.theory._geometry import Geometry
from collapselab.theory._imbalance.grouped import Grouped
from collapselab.theory._imbalance.grouped_solve import solve
from collapselab.theory._imbalance.imbalanced import Groups, Solution, refuse_few_features
from collapselab.theory._model import AbstractLandscape, model
from collapselab.theory._problem import Problem, State
from collapselab.theory.minority_collapse import minority_collapse_threshold


@model("layer_peeled", label="layer-peeled cross-entropy, any classes", source="fang2021")
@dataclass(frozen=True)
class LayerPeeled(AbstractLandscape):
    r"""Weighted mean cross-entropy with at most $E_W$ and $E_H$ as mean squared norms of class vectors and of features.

    The norm of features is averaged within classes first, so that rare classes have the same budget as others. With
    one row of logits a class in M, features and head exist if and only if $\|M\|_*\le K\sqrt{E_WE_H}$, so that the
    budgets matter by their product alone. The convex problem that is left has an optimum that treats classes of one
    size alike (see `_imbalance`); it is solved to rounding, with a rigorous gap. Classes of one size coincide where a
    class has at most the weight `multiplier` in the mean loss: minority collapse.

    Attributes:
        counts: Samples of each class.
        num_features: d, at least the rank of the best logits; K-1 always suffices.
        budget_head: E_W.
        budget_features: E_H.
        class_weights: Factor of the loss of each class, as of ``torch.nn.CrossEntropyLoss``; None for 1.
    """

    counts: tuple[int, ...]
    num_features: int
    budget_head: float = 1.0
    budget_features: float = 1.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        k = self._sizes.num_classes
        checks.real(self.budget_head, "budget_head", above=0)
        checks.real(self.budget_features, "budget_features", above=0)
        if self.class_weights is not None:
            if len(self.class_weights) != k:
                raise InputError(f"class_weights must be {k}, one a class, got {len(self.class_weights)}")
            for place, weight in enumerate(self.class_weights):
                checks.real(weight, f"class_weights[{place}]", above=0)
        if self.num_features < k - 1:
            refuse_few_features(self.solution.rank, self.num_features)

    @cached_property
    def _sizes(self) -> Problem:
        return Problem(self.counts, self.num_features, 0.0, 0.0)

    @cached_property
    def groups(self) -> Groups:
        """Classes that are alike, the weightiest first."""
        if self.class_weights is None:
            return Groups.of(self.counts)
        return Groups.of([w * n for w, n in zip(self.class_weights, self.counts, strict=True)])

    @property
    def scale(self) -> float:
        r"""$\sqrt{E_WE_H}$, all that matters of the budgets for logits and loss."""
        return math.sqrt(self.budget_head * self.budget_features)

    @cached_property
    def solution(self) -> Solution:
        """Where the solver ended, with gap and status; whether that is an optimum is not asked yet."""
        groups, k = self.groups, len(self.counts)
        ones = np.ones(len(groups.sizes))
        program = Grouped(np.array(groups.sizes, dtype=np.float64), groups.shares, ones, budget=k * self.scale)
        return Solution(groups, program, solve(program), self.budget_features / self.budget_head)

    @property
    def _optimum(self) -> Solution:
        self.solution.solved.require()
        return self.solution

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "Mean squared norms of class vectors and, within each class first, of features have bounds.",
            "There is no other decay, and no bias.",
            "There are at least as many features as the best logits have rank, and they can take any value.",
        )

    @property
    def benign(self) -> bool:
        """Whether d >= K-1: then a critical point has an unused feature to bend into, or solves the convex problem."""
        return self.num_features >= len(self.counts) - 1

    @property
    def minimum(self) -> float:
        """The value at every minimiser, in nats; an error if the solver stopped early."""
        return self._optimum.solved.value

    @property
    def gap(self) -> float:
        """What `minimum` is above the true one at most: rigorous but for rounding."""
        return self.solution.solved.gap

    @property
    def multiplier(self) -> float:
        r"""What a unit of the nuclear norm is worth; classes of at most this weight in the mean loss coincide."""
        return self._optimum.solved.price

    @property
    def merged_groups(self) -> tuple[int, ...]:
        """Places in `groups` of two classes or more whose class vectors coincide."""
        return self._optimum.merged

    @property
    def labels(self) -> Tensor:
        """(n,) label of each sample, class by class."""
        return self._sizes.labels

    @cached_property
    def _sample_weights(self) -> Tensor:
        weights = torch.tensor(self.class_weights or (1.0,) * len(self.counts), dtype=torch.float64)
        every = weights[self.labels]
        return every / every.sum()

    def loss(self, state: State) -> Tensor:
        """Weighted mean of cross-entropy.

        Args:
            state: Features and head within their budgets.

        Returns:
            0-d float64, in nats.
        """
        losses = functional.cross_entropy(self._sizes.logits(state), self.labels, reduction="none")
        return self._sample_weights @ losses

    def chart(self, free: State) -> State:
        """Features and head brought within their budgets.

        Args:
            free: Features and head of any size.

        Returns:
            Features and head.
        """
        # Every class has the same part in the mean, however many samples it has.
        roots = torch.tensor(self.counts, dtype=torch.float64)[self.labels].sqrt()[:, None]
        mean_square = self.budget_features * len(self.counts) / len(roots)
        return {
            "h": roots * within_budget(free["h"] / roots, mean_square),
            "weight": within_budget(free["weight"], self.budget_head),
        }

    def draw(self, generator: torch.Generator) -> State:
        """Normal features and weights.

        Args:
            generator: What they are drawn from.

        Returns:
            Features and head within their budgets.
        """
        return self.chart(self._sizes.draw(generator))

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """The balanced factors of the best logits, features at their class means.

        Args:
            generator: Turns them at random.

        Returns:
            Features and head.
        """
        state = self._optimum.factors(self.num_features, generator)
        return {"h": self._sizes.spread(state["h"]), "weight": state["weight"]}

    def geometry(self) -> Geometry:
        """Inner products at every minimiser, one group for classes of each weight and size.

        Returns:
            The geometry.
        """
        return self._optimum.geometry

    def thresholds(self) -> dict[str, float]:
        r"""Share of the loss up to which classes of one kind coincide, the smallest share, and R_0 of two kinds.

        Returns:
            Name to number.
        """
        groups = self.groups
        shares = groups.shares / np.array(groups.sizes)
        found = {"share_to_merge": self.multiplier, "smallest_share": float(shares.min())}
        if len(groups.sizes) == 2 and groups.sizes[1] > 1:
            found["imbalance"] = groups.weights[0] / groups.weights[1]
            with suppress(NotKnown):
                found["minority_collapse_threshold"] = minority_collapse_threshold(
                    *groups.sizes, self.budget_features, self.budget_head
                )
        return found

    @classmethod
    def examples(cls) -> Sequence["LayerPeeled"]:
        """Equal classes, two groups on both sides of the threshold, several groups, few features, class weights.

        Returns:
            Landscapes.
        """
        return (
            cls((4, 4, 4), 2, 1.0, 4.0),
            cls((6, 6, 2, 2), 5, 1.0, 3.0),
            cls((20, 20, 1, 1), 4, 2.0, 0.5),
            cls((12, 6, 6, 3, 1), 6, 1.0, 2.0),
            cls((30, 30, 1, 1, 1), 4, 0.5, 1.0),
            cls((8, 2, 2), 3, 1.0, 3.0, (1.0, 4.0, 2.0)),
        )
