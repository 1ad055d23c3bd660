"""Cross-entropy of the softmax."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from collapselab.training.losses._spec import Loss, Outputs, loss


@loss("cross_entropy", label="cross-entropy", source="papyan2020")
@dataclass(frozen=True)
class CrossEntropy(Loss):
    r"""Minus the logarithm of the softmax probability of the true class, in nats.

    At least 0, and 0 only in the limit of infinite logits. With free features, n a class, decay $\lambda_W$ on the head
    and $\lambda_H$ on the features (Zhu et al. 2021), $c=\sqrt{n\lambda_W\lambda_H}$: zero if $cK\ge1$, else a simplex
    ETF whose probabilities are $1-(K-1)c$ for the true class and c for every other.
    """

    unit: ClassVar[str] = "nat"

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        r"""$-\log \frac{e^{z_y}}{\sum_j e^{z_j}}$ of each sample.

        Args:
            outputs: Logits z (n, k) are what is looked at.
            y: Labels (n,).

        Returns:
            One number a sample.
        """
        return functional.cross_entropy(outputs.logits, y, reduction="none")
