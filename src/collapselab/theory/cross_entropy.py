"""Cross-entropy on unconstrained features (Zhu et al. 2021): a simplex ETF, or nothing at all where decay is strong."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._model import model
from collapselab.theory._problem import Problem
from collapselab.theory._simplex import SimplexLandscape, balance, refuse_unless_simplex

# Just below the logarithm of the largest float.
_LARGEST_EXPONENT = 700.0


@model("cross_entropy", label="cross-entropy on unconstrained features", source="zhu2021")
@dataclass(frozen=True)
class CrossEntropyFeatures(SimplexLandscape):
    r"""Mean cross-entropy of free features and a decayed head: its minimisers are simplex ETFs of one size.

    With $c=\sqrt{\lambda_W\lambda_Hn}$ the margin between a sample's own logit and every other is
    $a^*=\log\bigl((1-(K-1)c)/c\bigr)$ for $cK<1$, and zero, with everything else, for $cK\ge1$. The minimum is
    $-\log(1-(K-1)c)+(K-1)ca^*$, and $\|W\|^2=(K-1)a^*\sqrt{\lambda_Hn/\lambda_W}$. A bias changes nothing: it is zero
    where it is decayed and any constant where it is free.

    Attributes:
        problem: Sizes and decay; balanced classes, d >= K-1, both decays above 0, features of either sign.
    """

    problem: Problem

    @property
    def margin(self) -> float:
        """a*, the logit of a sample's own class minus that of another; 0 where everything is zero."""
        k, c = self.problem.num_classes, self.strength
        return max(0.0, math.log1p(-(k - 1) * c) - math.log(c)) if c * k < 1 else 0.0

    @property
    def minimum(self) -> float:
        """The value at every minimiser, in nats."""
        k, c = self.problem.num_classes, self.strength
        if c * k >= 1:
            return math.log(k)
        return -math.log1p(-(k - 1) * c) + (k - 1) * c * self.margin

    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of each sample.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,), in nats.
        """
        return torch.nn.functional.cross_entropy(logits, y, reduction="none")

    def thresholds(self) -> dict[str, float]:
        r"""$cK$, which must be below 1 for anything but zero, and the decays at which it is 1.

        Returns:
            Name to number.
        """
        p, k = self.problem, self.problem.num_classes
        return {
            "strength_times_classes": self.strength * k,
            "decay_head_to_zero": 1 / (k * k * p.per_class * p.decay_features),
            "decay_features_to_zero": 1 / (k * k * p.per_class * p.decay_head),
        }

    @classmethod
    def examples(cls) -> Sequence["CrossEntropyFeatures"]:
        """With and without bias, few and many features, close to and beyond the threshold.

        Returns:
            Landscapes.
        """
        return (
            cls(Problem.balanced(4, 10, 8, decay_head=5e-3, decay_features=5e-3)),
            cls(Problem.balanced(10, 5, 9, decay_head=5e-3, decay_features=1e-3, bias="free")),
            cls(Problem.balanced(3, 4, 2, decay_head=5e-3, decay_features=5e-3, bias="decay", decay_bias=1e-2)),
            cls(Problem.balanced(5, 7, 6, decay_head=0.6 / math.sqrt(7) / 5, decay_features=0.6 / math.sqrt(7) / 5)),
            cls(Problem.balanced(5, 7, 6, decay_head=0.2, decay_features=0.2)),
        )


def cross_entropy_lower_bound(rho: float, c1: float, problem: Problem) -> float:
    r"""What the mean cross-entropy cannot be below at a critical point whose head has a given squared norm.

    $g\ge-\frac{\rho}{(1+c_1)(K-1)}\sqrt{\frac{\lambda_W}{\lambda_Hn}}+c_2$ with
    $c_2=\frac{\log((1+c_1)(K-1))}{1+c_1}+\frac{c_1}{1+c_1}\log\frac{1+c_1}{c_1}$, for every balanced pair
    ($\lambda_W\|W\|^2=\lambda_H\|H\|^2$, as at critical points), every bias and every $c_1>0$ (Zhu et al. 2021; review,
    eq. 22). It is an equality at a simplex ETF with the `tightest_c1`.

    Args:
        rho: $\|W\|_F^2$.
        c1: Any positive number.
        problem: Sizes and decay; balanced classes.

    Returns:
        A number in nats, without the decay.

    Example:
        >>> problem = Problem.balanced(4, 10, 8, decay_head=5e-3, decay_features=5e-3)
        >>> rho = 38.0
        >>> best = tightest_c1(rho, problem)
        >>> values = [cross_entropy_lower_bound(rho, f * best, problem) for f in (0.5, 1.0, 2.0)]
        >>> max(values) == values[1]
        True
    """
    c1 = checks.real(c1, "c1", above=0)
    slope, others = _slope(rho, problem), problem.num_classes - 1
    constant = (math.log1p(c1) + math.log(others)) / (1 + c1) + c1 / (1 + c1) * math.log1p(1 / c1)
    return constant - slope / (1 + c1)


def tightest_c1(rho: float, problem: Problem) -> float:
    r"""The constant that makes `cross_entropy_lower_bound` largest: odds of the own class at a simplex of that norm.

    $c_1=\bigl[(K-1)\exp\bigl(-\frac{\rho}{K-1}\sqrt{\lambda_W/(\lambda_Hn)}\bigr)\bigr]^{-1}$.

    Args:
        rho: $\|W\|_F^2$.
        problem: Sizes and decay; balanced classes.

    Returns:
        A positive number.

    Raises:
        InputError: If it is too large for a float.
    """
    slope = _slope(rho, problem)
    if slope > _LARGEST_EXPONENT:
        raise InputError(f"rho must leave a margin of at most {_LARGEST_EXPONENT}, got one of {slope}")
    return math.exp(slope) / (problem.num_classes - 1)


def _slope(rho: float, problem: Problem) -> float:
    """The margin of a simplex ETF of that norm."""
    refuse_unless_simplex(problem)
    return checks.real(rho, "rho", at_least=0) * balance(problem) / (problem.num_classes - 1)
