"""One binary cross-entropy for each class."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from collapselab.training.losses._spec import Loss, Outputs, loss


@loss("bce", label="sigmoid cross-entropy", source="kornblith2021")
@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    r"""Cross-entropy of the sigmoid of each logit against whether it is the true class, summed over classes, in nats.

    Summed and not averaged: `torch.nn.BCEWithLogitsLoss` is 1 / K times this. At least 0, and 0 only in the limit of
    infinite logits. With free features and decay, a free bias takes up the common part of the logits and the minimiser
    is a simplex ETF; without one the class means keep a common part.
    """

    unit: ClassVar[str] = "nat"

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        r"""$-\log\sigma(z_y)-\sum_{j\ne y}\log\sigma(-z_j)$ of each sample.

        Args:
            outputs: Logits z (n, k) are what is looked at.
            y: Labels (n,).

        Returns:
            One number a sample.
        """
        logits = outputs.logits
        own = functional.one_hot(y, logits.shape[1]).to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits, own, reduction="none").sum(1)
