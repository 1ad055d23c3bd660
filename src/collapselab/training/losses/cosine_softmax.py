"""Cross-entropy of the softmax of cosines."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.training.losses._features import unit_rows
from collapselab.training.losses._spec import Loss, Outputs, loss


@loss("cosine_softmax", label="cosine softmax", source="kornblith2021")
@dataclass(frozen=True)
class CosineSoftmax(Loss):
    r"""Cross-entropy of the softmax of the cosines between features and class vectors over a temperature, in nats.

    The cosines are *divided* by the temperature; code of Jiang et al. 2023 calls its inverse so. The bias and the
    norms play no part, while predictions are still those of the head: beside a head and a neck that normalise,
    `cross_entropy` is the same and predicts by cosine too. At least
    $\log\bigl(1+(K-1)e^{-\frac{K}{(K-1)\tau}}\bigr)$, at the simplex ETF, which needs $d\ge K-1$.

    Attributes:
        temperature: tau.
    """

    unit: ClassVar[str] = "nat"

    temperature: float = 0.1

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.temperature, "temperature", above=0)

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        r"""$-\log\frac{e^{\cos(w_y,h)/\tau}}{\sum_je^{\cos(w_j,h)/\tau}}$ of each sample.

        Args:
            outputs: Features h (n, d) and the weight of the head, rows w (k, d), are what is looked at.
            y: Labels (n,).

        Returns:
            One number a sample.
        """
        cosines = unit_rows(outputs.features) @ unit_rows(outputs.weight).T
        return functional.cross_entropy(cosines / self.temperature, y, reduction="none")
