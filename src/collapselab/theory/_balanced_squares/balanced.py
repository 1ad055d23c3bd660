"""Squared error of balanced classes with a bias: answers in levels, features of either sign or none below zero."""

import math
from dataclasses import dataclass

import torch

from collapselab.geometry.configurations import canonical_simplex
from collapselab.theory._answer import Answer, Factors, diagonal
from collapselab.theory._balanced_squares.levels import Levels, nonnegative, root_of, shrunken, two_levels
from collapselab.theory._geometry import Geometry
from collapselab.theory._problem import Problem


def strength(problem: Problem) -> float:
    r"""$c=K\sqrt{n\lambda_W\lambda_H}$, the only combination of the decays that logits depend on.

    Args:
        problem: Balanced classes.

    Returns:
        c.
    """
    return problem.num_classes * math.sqrt(problem.per_class * problem.decay_head * problem.decay_features)


def bias_weight(problem: Problem) -> float:
    r"""$t=\lambda_b/(1+\lambda_b)$, what is left of the error of the mean logits once the bias is at its best.

    Args:
        problem: With or without bias.

    Returns:
        0 for a free bias, 1 without one.
    """
    return 1.0 if problem.bias == "none" else problem.decay_bias / (1 + problem.decay_bias)


@dataclass(frozen=True)
class SignedLevels:
    """Features of either sign: a simplex, with a common part where the decay of the bias is above its transition.

    Attributes:
        problem: Balanced classes with a bias.
        kappa: Weight of the true class.
        target: M, what the logit of the true class should be.
    """

    problem: Problem
    kappa: float = 1.0
    target: float = 1.0

    @property
    def pull(self) -> float:
        """K times the decay of the bias."""
        return self.problem.num_classes * self.problem.decay_bias

    @property
    def levels(self) -> Levels:
        """The logits, if there is room for them."""
        p = self.problem
        room = p.num_features >= p.num_classes
        return shrunken(
            p.num_classes, strength(p), self.pull, kappa=self.kappa, target=self.target, room=room or self.kappa != 1
        )

    @property
    def needed(self) -> int:
        """Features that the logits take."""
        levels = self.levels
        return (self.problem.num_classes - 1) * (levels.margin > 0) + (levels.common > 0)

    @property
    def minimum(self) -> float:
        """The value."""
        k, c, levels = self.problem.num_classes, strength(self.problem), self.levels
        full = levels.squares(self.kappa, self.target) + self.pull * levels.bias**2 / 2
        full += c / k * ((k - 1) * levels.margin + levels.common)
        return full + max(0, self.needed - self.problem.num_features) * (1 - c) ** 2 / (2 * k)

    def geometry(self) -> Geometry | None:
        """Inner products; None if there is no room for all directions."""
        if self.needed > self.problem.num_features:
            return None
        logits = self.levels.blocks()
        p = self.problem
        ratio = math.sqrt(p.decay_head / (p.decay_features * p.per_class))
        return Geometry(logits.scaled(1 / ratio), logits.scaled(ratio), logits, (self.levels.bias,))

    def factors(self) -> Factors:
        """One minimiser."""
        k, levels = self.problem.num_classes, self.levels
        if levels.common > 0:
            root = root_of(levels)
        else:
            wanted = min(self.needed, self.problem.num_features)
            root = canonical_simplex(k)[:, :wanted] * math.sqrt(levels.margin * (1 - 1 / k))
        size = self.problem.per_class**0.25
        return Factors(root * size, root / size)

    def answer(self) -> Answer:
        """All of it."""
        k, kappa = self.problem.num_classes, self.kappa
        reach = kappa * self.target * (k + self.pull) / (kappa + k - 1 + self.pull)
        bias = torch.full((k,), self.levels.bias, dtype=torch.float64)
        return Answer(self.minimum, self.geometry(), self.factors, lambda: bias, reach**2 * self.problem.per_class)


@dataclass(frozen=True)
class NonnegativeLevels:
    r"""Features that are not negative beside a bias: orthogonal class means, and weights between a frame and a simplex.

    What features can express is measured by a gauge: the least $\sum_j|w_j||u_j|$ over ways to write the logits as
    $\sum_jw_ju_j^T$ with $u_j\ge0$. Its dual norm of the residual G is the largest $|Gu|$ over $u\ge0$ of norm 1, which
    is attained at $u=e_k$ since a bias makes residuals smaller along the constant vector. Hence each class has
    coordinates of its own, for every decay and every d >= K.

    Attributes:
        problem: Balanced classes with a bias; d >= K.
    """

    problem: Problem

    @property
    def levels(self) -> Levels:
        """The logits."""
        return nonnegative(self.problem.num_classes, strength(self.problem), bias_weight(self.problem))

    @property
    def length(self) -> float:
        """Norm of the logits of a class mean over the classes, without bias."""
        k, levels = self.problem.num_classes, self.levels
        return math.sqrt(((k - 1) * levels.margin**2 + levels.common**2) / k)

    @property
    def minimum(self) -> float:
        """The value."""
        k, levels, t = self.problem.num_classes, self.levels, bias_weight(self.problem)
        squares = (k - 1) * (1 - levels.margin) ** 2 + t * (1 - levels.common) ** 2
        return squares / (2 * k) + strength(self.problem) * self.length

    def geometry(self) -> Geometry | None:
        """Inner products; None for two classes with a free bias, of which one may lie anywhere short of the other."""
        p, k, levels = self.problem, self.problem.num_classes, self.levels
        if k == 2 and p.bias == "free" and levels.margin > 0:
            return None
        square = math.sqrt(p.decay_head / (p.decay_features * p.per_class)) * self.length
        weights = two_levels(k, levels.margin**2, levels.common**2).scaled(1 / square if square > 0 else 0.0)
        return Geometry(weights, diagonal((k,), (square,)), levels.blocks(), (levels.bias,))

    def factors(self) -> Factors:
        """One minimiser."""
        k, size = self.problem.num_classes, self.problem.per_class**0.25
        root = math.sqrt(self.length)
        if root == 0:
            return Factors(torch.zeros(k, 0, dtype=torch.float64), torch.zeros(k, 0, dtype=torch.float64))
        return Factors(self.levels.blocks().dense() * (size / root), torch.eye(k, dtype=torch.float64) * (root / size))

    def answer(self) -> Answer:
        """All of it."""
        p, k = self.problem, self.problem.num_classes
        reach = p.per_class * (k - 1 + bias_weight(p) ** 2) / k
        bias = torch.full((k,), self.levels.bias, dtype=torch.float64)
        return Answer(self.minimum, self.geometry(), self.factors, lambda: bias, reach)
