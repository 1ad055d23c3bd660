"""Cross-entropy of the softmax."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from collapselab.training.losses._spec import Loss, Outputs, loss


@loss("cross_entropy", label="cross-entropy", source="papyan2020")
@dataclass(frozen=True)
class CrossEntropy(Loss):
    r"""Minus the logarithm of the softmax probability of the true class, in nats."""

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
