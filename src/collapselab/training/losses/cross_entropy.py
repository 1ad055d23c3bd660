"""Cross-entropy of the softmax."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from collapselab.training.losses._spec import loss


@loss("cross_entropy", label="cross-entropy", source="papyan2020")
@dataclass(frozen=True)
class CrossEntropy:
    r"""Minus the logarithm of the softmax probability of the true class, in nats."""

    unit: ClassVar[str] = "nat"

    def __call__(self, logits: Float[Tensor, "n k"], y: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        r"""$-\log \frac{e^{z_y}}{\sum_j e^{z_j}}$ of each sample.

        Args:
            logits: z.
            y: Labels.

        Returns:
            One number a sample.
        """
        return functional.cross_entropy(logits, y, reduction="none")
