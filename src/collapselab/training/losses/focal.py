"""Cross-entropy that pays less attention to what is already right."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.training.losses._features import log_sum_over
from collapselab.training.losses._spec import Loss, Outputs, loss


@loss("focal", label="focal loss", source="lin2017")
@dataclass(frozen=True)
class Focal(Loss):
    r"""Cross-entropy of the softmax times a power of the probability that is missing, in nats.

    At least 0, and 0 only in the limit of infinite logits; not convex in them. With free features, n a class, decay
    and $c=\sqrt{n\lambda_W\lambda_H}$ (Zhou et al. 2022), the minimiser is zero or a simplex ETF whose probability p
    of the true class solves $(1-p)^\gamma((1-p)-\gamma p\log p)=(K-1)c$.

    Attributes:
        gamma: The power; 0 is cross-entropy.
    """

    unit: ClassVar[str] = "nat"

    gamma: float = 2.0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.gamma, "gamma", at_least=0)

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        r"""$-(1-p_y)^\gamma\log p_y$ of each sample, p the softmax of the logits.

        Args:
            outputs: Logits (n, k) of at least two classes are what is looked at.
            y: Labels (n,).

        Returns:
            One number a sample.
        """
        z = outputs.logits
        own = functional.one_hot(y, z.shape[1]).bool()
        rest = log_sum_over(z, ~own) - z[torch.arange(z.shape[0], device=z.device), y]
        # p = sigmoid(-rest). Both logarithms are exact where p rounds to 1, and no power of a rounded 0 is formed.
        return (self.gamma * functional.logsigmoid(rest)).exp() * -functional.logsigmoid(-rest)
