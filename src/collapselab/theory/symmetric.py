"""Any convex loss that treats classes alike, on unconstrained features: its geometry without a derivation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core.errors import InputError
from collapselab.geometry import orthogonal_frame, simplex_etf
from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._convex.reduced import Reduced, ReducedOptimum
from collapselab.theory._convex.symmetry import Facts, LossFunction, facts
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import UnconstrainedLandscape, model
from collapselab.theory._problem import Problem, State
from collapselab.theory._simplex import balance, refuse_unless_simplex


@model("symmetric", label="any convex loss that treats classes alike, on unconstrained features", source="zhu2021")
@dataclass(frozen=True)
class SymmetricFeatures(UnconstrainedLandscape):
    r"""Free features and a decayed head under any convex loss that does not change when classes are renamed.

    The model is a convex problem in the logits (see `nuclear`), so that the mean of a minimiser over all renamings of
    classes and samples is a minimiser too: $Z=(a\,\Pi_K+\tfrac mKJ_K)\otimes1_n$ with a bias $\beta1$, of nuclear norm
    $\sqrt n\,((K-1)|a|+|m|)$. What is left is convex in $a$ and the mean logit, and is solved to rounding. A simplex
    ETF is the case m = 0; an orthogonal frame is a = m.

    Symmetry and convexity are checked at random logits when the landscape is made.

    Attributes:
        problem: Sizes and decay; balanced classes, both decays above 0, features of either sign, d >= K, or K-1 where
            m = 0.
        loss_fn: Logits (n, k) and labels (n,) to losses (n,) or to their mean, differentiable.
    """

    answers: ClassVar[tuple[str, ...] | None] = ()

    problem: Problem
    loss_fn: LossFunction

    def __post_init__(self) -> None:
        """Check that the answer is known, and find it."""
        refuse_unless_simplex(self.problem)
        if not callable(self.loss_fn):
            raise InputError(f"loss_fn must be a function of logits and labels, got {self.loss_fn!r}")
        _ = self._facts
        if self.optimum.mean != 0 and self.problem.num_features < self.problem.num_classes:
            needed = self.problem.num_classes
            raise InputError(f"num_features must be at least {needed} for this loss, got {self.problem.num_features}")

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "All classes have the same number of samples.",
            "The loss is convex in the logits and treats all classes alike, as far as random logits tell.",
            "There are at least as many features as the best logits have rank, and they can take any value.",
            "Features and head are decayed; the bias is zero, free or decayed.",
            "The loss is strictly convex at the optimum, or else there may be minimisers of another geometry.",
        )

    @cached_property
    def optimum(self) -> ReducedOptimum:
        """The solution of the reduced problem."""

        def of_sample(logits: Tensor) -> Tensor:
            return self.loss_fn(logits[None], torch.zeros(1, dtype=torch.long)).mean()

        return Reduced(self.problem, of_sample, self._facts.shift_invariant).solve()

    @cached_property
    def _facts(self) -> Facts:
        return facts(self.loss_fn, self.problem.num_classes)

    @property
    def benign(self) -> bool:
        """Whether d >= K, or d = K-1 and the loss ignores a number that is added to all logits of a sample.

        A critical point of rank below d that is not optimal has the way down of `escape_direction`. One of rank K = d
        satisfies the certificate by stationarity alone, and so does one of rank K-1 = d of a loss of the second kind.
        """
        return self.problem.num_features >= self.problem.num_classes or self._facts.shift_invariant

    @property
    def minimum(self) -> float:
        """The value at every minimiser."""
        return self.optimum.value

    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """The losses.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,), or their mean if that is what the function gives.
        """
        return self.loss_fn(logits, y)

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        r"""The balanced factors of the best logits, features at their class means.

        Args:
            generator: Turns them at random.

        Returns:
            Features and head.
        """
        k, d, best = self.problem.num_classes, self.problem.num_features, self.optimum
        if d >= k:
            # Rows of an orthogonal matrix: directions of the simplex, and the one that all classes share.
            simplex = math.sqrt(1 - 1 / k) * simplex_etf(k, k - 1)
            common = torch.full((k, 1), 1 / math.sqrt(k), dtype=torch.float64)
            frame = torch.cat([simplex, common], 1) @ orthogonal_frame(k, d, generator=generator)
        else:
            frame = math.sqrt(1 - 1 / k) * simplex_etf(k, d, generator=generator)
        mean = frame.mean(0)
        own, shared = math.sqrt(abs(best.difference)) * (frame - mean), math.sqrt(abs(best.mean)) * mean
        means = math.copysign(1.0, best.difference) * own + math.copysign(1.0, best.mean) * shared
        weight, root = own + shared, math.sqrt(balance(self.problem))
        state = {"h": self.problem.spread(root * means), "weight": weight / root}
        if self.problem.bias != "none":
            state["bias"] = torch.full((k,), best.bias, dtype=torch.float64)
        return state

    def geometry(self) -> Geometry:
        """Inner products at the minimiser.

        Returns:
            The geometry.
        """
        k, best, ratio = self.problem.num_classes, self.optimum, balance(self.problem)
        logits = _blocks(k, best.difference, best.mean)
        sizes = _blocks(k, abs(best.difference), abs(best.mean))
        return Geometry(sizes.scaled(1 / ratio), sizes.scaled(ratio), logits, (best.bias,))

    def thresholds(self) -> dict[str, float]:
        r"""$cK$, and where the margin vanishes in it, known for losses that ignore a common shift of the logits.

        Returns:
            Name to number.
        """
        k = self.problem.num_classes
        c = math.sqrt(self.problem.decay_head * self.problem.decay_features * self.problem.per_class)
        found = {"strength_times_classes": c * k}
        if self._facts.shift_invariant:
            z = torch.zeros(1, k, dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(self.loss_fn(z, torch.zeros(1, dtype=torch.long)).mean(), z)
            found["strength_times_classes_to_zero"] = max(0.0, -float(slope[0, 0]) * k / (k - 1))
        return found

    @classmethod
    def examples(cls) -> Sequence["SymmetricFeatures"]:
        """A smooth loss, one with kinks in its slope, and squared error without bias and on both sides of a transition.

        Returns:
            Landscapes.
        """
        small = Problem.balanced(4, 5, 3, decay_head=5e-3, decay_features=1e-3, bias="free")
        wide = Problem.balanced(4, 6, 6, decay_head=5e-3, decay_features=5e-3)
        weak, strong = (
            Problem.balanced(4, 6, 5, decay_head=5e-3, decay_features=5e-3, bias="decay", decay_bias=decay)
            for decay in (5e-3, 0.2)
        )
        strongest = Problem.balanced(3, 4, 3, decay_head=1.0, decay_features=1.0)
        return (
            cls(small, _exponential),
            cls(wide, _squared_hinge),
            cls(wide, _squared_error),
            cls(weak, _squared_error),
            cls(strong, _squared_error),
            cls(strongest, _squared_hinge),
        )


def _blocks(num_classes: int, difference: float, mean: float) -> BlockMatrix:
    """The matrix a Pi + (m / K) J."""
    off = (mean - difference) / num_classes
    return BlockMatrix.uniform(num_classes, difference + off, off)


def _margins(logits: Tensor, y: Tensor) -> Tensor:
    return logits.gather(1, y[:, None]) - logits


def _exponential(logits: Tensor, y: Tensor) -> Tensor:
    return (-_margins(logits, y)).exp().sum(1) - 1


def _squared_hinge(logits: Tensor, y: Tensor) -> Tensor:
    return (1 - _margins(logits, y)).clamp_min(0).square().sum(1) - 1


def _squared_error(logits: Tensor, y: Tensor) -> Tensor:
    return (logits - functional.one_hot(y, logits.shape[1])).square().sum(1) / 2
