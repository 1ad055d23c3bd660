"""Smoothed labels on unconstrained features (Zhou et al. 2022): the simplex ETF of cross-entropy, only smaller."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.theory._model import model
from collapselab.theory._problem import Problem
from collapselab.theory._simplex import SimplexLandscape, refuse_unless_simplex


@model("label_smoothing", label="label smoothing on unconstrained features", source="zhou2022losses")
@dataclass(frozen=True)
class LabelSmoothingFeatures(SimplexLandscape):
    r"""Mean cross-entropy to smoothed labels: the same simplex ETF as cross-entropy, with a smaller margin.

    With $c=\sqrt{\lambda_W\lambda_Hn}$ and a share $\alpha$ of each label that all classes get alike, the probability
    of a sample's own class is $p=1-\alpha+\alpha/K-(K-1)c$, and that of every other one $\alpha/K+c$, as long as
    $cK<1-\alpha$; otherwise everything is zero. The margin is the logarithm of their quotient, and the minimum the
    cross-entropy at these probabilities plus $(K-1)c$ times the margin. However weak decay is, the margin stays below
    $\log(1+K(1-\alpha)/\alpha)$.

    Attributes:
        problem: Sizes and decay; balanced classes, d >= K-1, both decays above 0, features of either sign.
        smoothing: alpha, of at least 0 and below 1.
    """

    problem: Problem
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        refuse_unless_simplex(self.problem)
        checks.real(self.smoothing, "smoothing", at_least=0, below=1)

    @property
    def others(self) -> float:
        r"""Probability of each class that is not the sample's own, $\alpha/K+c$ or $1/K$."""
        k = self.problem.num_classes
        return self.smoothing / k + self.strength if self.strength * k < 1 - self.smoothing else 1 / k

    @property
    def margin(self) -> float:
        """Logit of a sample's own class minus that of another; 0 where everything is zero."""
        k = self.problem.num_classes
        room = 1 - self.smoothing - self.strength * k  # probability of the own class less that of another
        return math.log1p(room / self.others) if room > 0 else 0.0

    @property
    def minimum(self) -> float:
        """The value at every minimiser, in nats."""
        k, alpha = self.problem.num_classes, self.smoothing
        if self.strength * k >= 1 - alpha:
            return math.log(k)
        own = -(1 - alpha * (k - 1) / k) * math.log1p(-(k - 1) * self.others)
        return own - alpha * (k - 1) / k * math.log(self.others) + (k - 1) * self.strength * self.margin

    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of each sample to its smoothed label.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,), in nats.
        """
        return torch.nn.functional.cross_entropy(logits, y, reduction="none", label_smoothing=self.smoothing)

    def thresholds(self) -> dict[str, float]:
        r"""$cK$, which must be below $1-\alpha$ for anything but zero; the smoothing and the decays that end it.

        Returns:
            Name to number.
        """
        p, k, room = self.problem, self.problem.num_classes, (1 - self.smoothing) ** 2
        return {
            "strength_times_classes": self.strength * k,
            "strength_times_classes_to_zero": 1 - self.smoothing,
            "smoothing_to_zero": 1 - self.strength * k,
            "decay_head_to_zero": room / (k * k * p.per_class * p.decay_features),
            "decay_features_to_zero": room / (k * k * p.per_class * p.decay_head),
        }

    @classmethod
    def examples(cls) -> Sequence["LabelSmoothingFeatures"]:
        """Weak and strong smoothing, with and without bias, and beyond the threshold.

        Returns:
            Landscapes.
        """
        small = Problem.balanced(5, 6, 7, decay_head=4e-3, decay_features=2e-3)
        free = Problem.balanced(4, 5, 3, decay_head=5e-3, decay_features=1e-3, bias="free")
        decayed = Problem.balanced(3, 4, 2, decay_head=5e-3, decay_features=5e-3, bias="decay", decay_bias=1e-2)
        beyond = Problem.balanced(5, 7, 6, decay_head=0.8 / math.sqrt(7) / 5, decay_features=0.8 / math.sqrt(7) / 5)
        return cls(small, 0.1), cls(small, 0.9), cls(free, 0.3), cls(decayed, 0.05), cls(beyond, 0.3), cls(small, 0.0)
