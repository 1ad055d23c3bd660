"""Cross-entropy to smoothed labels."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.training.losses._spec import Loss, Outputs, loss


@loss("label_smoothing", label="label smoothing", source="szegedy2016")
@dataclass(frozen=True)
class LabelSmoothing(Loss):
    r"""Cross-entropy of the softmax to a label that gives a share $\alpha$ to all K classes alike, in nats.

    Smallest at finite logits, where the true class has probability $t=1-\alpha+\alpha/K$; the value there is the
    entropy of the smoothed label. With free features, n a class, decay and $c=\sqrt{n\lambda_W\lambda_H}$ (Zhou et al.
    2022): zero if $cK\ge1-\alpha$, else a simplex ETF with probability $t-(K-1)c$ of the true class.

    Attributes:
        smoothing: alpha, between 0 (cross-entropy) and 1, which is excluded: there nothing would be learnt.
    """

    unit: ClassVar[str] = "nat"

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.smoothing, "smoothing", at_least=0, below=1)

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        r"""$-(1-\alpha)\log p_y-\tfrac\alpha K\sum_j\log p_j$ of each sample, p the softmax of the logits.

        Args:
            outputs: Logits (n, k) are what is looked at.
            y: Labels (n,).

        Returns:
            One number a sample.
        """
        return functional.cross_entropy(outputs.logits, y, reduction="none", label_smoothing=self.smoothing)
