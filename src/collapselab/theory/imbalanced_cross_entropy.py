"""Cross-entropy on unconstrained features with unequal classes: its geometry, and which classes coincide or vanish."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core.errors import InputError
from collapselab.theory._geometry import Geometry
from collapselab.theory._imbalance.grouped import Grouped
from collapselab.theory._imbalance.grouped_solve import solve, without_logits
from collapselab.theory._imbalance.imbalanced import Groups, Solution, refuse_few_features
from collapselab.theory._model import UnconstrainedLandscape, model
from collapselab.theory._problem import Problem, State


@model("imbalanced_cross_entropy", label="cross-entropy on unconstrained features, unequal classes", source="fang2021")
@dataclass(frozen=True)
class ImbalancedCrossEntropy(UnconstrainedLandscape):
    r"""Mean cross-entropy of free features and a decayed head, with any numbers of samples and any bias.

    The model is $\min\tfrac1N\sum_kn_k\ell(M_k,k)+\sqrt{\lambda_W\lambda_H}\,\|\operatorname{diag}(\sqrt{n_k})M\|_*$,
    with the logits of a class in each row of M. Its optimum treats classes of one size alike and is solved to
    rounding, with a rigorous gap. Classes of one size coincide, features and class vectors, if and only if
    $n_k\le N^2\lambda_W\lambda_H$, whatever the others and the bias are: differences between them have the slope
    $\sqrt{n_k}/N$ where they are zero, and less where they are not.

    Attributes:
        problem: Sizes and decay; both decays above 0, features of either sign, d at least the rank of the best logits,
            for which K-1 always suffices.
    """

    answers: ClassVar[tuple[str, ...] | None] = ("cross_entropy",)

    problem: Problem

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        p = self.problem
        if p.decay_head == 0 or p.decay_features == 0:
            raise InputError("decay_head and decay_features must be above 0 for a minimum that is attained, got 0")
        if p.nonnegative:
            raise InputError("nonnegative must be false: the answer with non-negative features is not known, got true")
        if p.num_features < p.num_classes - 1:
            refuse_few_features(self.solution.rank, p.num_features)

    @cached_property
    def groups(self) -> Groups:
        """Classes of one size, the largest first."""
        return Groups.of(self.problem.counts)

    @cached_property
    def _program(self) -> Grouped:
        p, groups = self.problem, self.groups
        return Grouped(
            np.array(groups.sizes, dtype=np.float64),
            groups.shares,
            1 / np.sqrt(np.array(groups.weights)),
            price=math.sqrt(p.decay_head * p.decay_features),
            bias=p.bias != "none",
            decay_bias=p.decay_bias,
        )

    @cached_property
    def solution(self) -> Solution:
        """Where the solver ended, with gap and status; whether that is an optimum is not asked yet."""
        ratio = self.problem.decay_head / self.problem.decay_features
        return Solution(self.groups, self._program, solve(self._program), ratio)

    @property
    def _optimum(self) -> Solution:
        self.solution.solved.require()
        return self.solution

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "Classes may differ in size.",
            "There are at least as many features as the best logits have rank, and they can take any value.",
            "Features and head are decayed; the bias is zero, free or decayed.",
        )

    @property
    def benign(self) -> bool:
        """Whether d >= K-1: then a critical point has an unused feature to bend into, or solves the convex problem."""
        return self.problem.num_features >= self.problem.num_classes - 1

    @property
    def minimum(self) -> float:
        """The value at every minimiser, in nats; an error if the solver stopped early."""
        return self._optimum.solved.value

    @property
    def gap(self) -> float:
        """What `minimum` is above the true one at most: rigorous but for rounding."""
        return self.solution.solved.gap

    @property
    def merged_groups(self) -> tuple[int, ...]:
        """Places in `groups` of two classes or more whose class vectors coincide."""
        return self._optimum.merged

    @property
    def merging_size(self) -> float:
        r"""$N^2\lambda_W\lambda_H$, the number of samples up to which classes of one size coincide."""
        return self.problem.num_samples**2 * self.problem.decay_head * self.problem.decay_features

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
        """The balanced factors of the best logits, features at their class means.

        Args:
            generator: Turns them at random.

        Returns:
            Features and head, and the bias where there is one.
        """
        found = self._optimum.factors(self.problem.num_features, generator)
        state = {"h": self.problem.spread(found["h"]), "weight": found["weight"]}
        if self.problem.bias != "none":
            state["bias"] = torch.from_numpy(self.solution.solved.logits.bias)[torch.tensor(self.groups.group)]
        return state

    def geometry(self) -> Geometry:
        """Inner products at every minimiser, one group for classes of each size; of a free bias the one found.

        Returns:
            The geometry.
        """
        return self._optimum.geometry

    def thresholds(self) -> dict[str, float]:
        r"""Samples up to which classes of one size coincide, and decays from which on all but the bias is zero.

        Returns:
            Name to number.
        """
        p, reach = self.problem, _slope_at_zero(self._program)
        return {
            "merging_class_size": self.merging_size,
            "decay_head_to_zero": reach**2 / p.decay_features,
            "decay_features_to_zero": reach**2 / p.decay_head,
        }

    @classmethod
    def examples(cls) -> Sequence["ImbalancedCrossEntropy"]:
        """On both sides of the threshold of merging, several groups, every kind of bias, and decay that leaves nothing.

        Returns:
            Landscapes.
        """

        def of(counts: tuple[int, ...], d: int, decay: float, **settings: float | str) -> "ImbalancedCrossEntropy":
            return cls(Problem(counts, d, decay, decay, **settings))  # pyright: ignore[reportArgumentType]

        return (
            of((8, 8, 3, 3), 5, 1e-2),
            of((12, 12, 12, 1, 1), 4, 4e-2),
            of((9, 4, 4, 2, 1), 6, 1e-2, bias="free"),
            of((10, 10, 3, 3), 4, 2e-2, bias="decay", decay_bias=1e-2),
            of((12, 12, 12, 1, 1), 3, 4e-2),
            of((5, 2, 1), 4, 0.5, bias="free"),
        )


def _slope_at_zero(program: Grouped) -> float:
    """Spectral norm of the gradient where logits are zero and the bias is best."""
    return program.steepest(program.slopes(without_logits(program)))
