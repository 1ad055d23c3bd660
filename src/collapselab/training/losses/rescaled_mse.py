"""Squared error with more weight on the true class."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.training.losses._spec import Loss, Outputs, loss


@loss("rescaled_mse", label="rescaled squared error", source="hui2021")
@dataclass(frozen=True)
class RescaledSquaredError(Loss):
    r"""Squared error averaged over classes, with a weight and a target of its own for the true class.

    At least 0, at $z=Me_y$. With $\kappa=M=1$ it is `mean_squared_error`, whose remark on weight decay holds here too.
    With free features, n a class, decay, and $c=\tfrac{K^2}2\sqrt{n\lambda_W\lambda_H}$: without bias
    $z=(M-c/\kappa)e_y$; with a free bias $z_y=M-\tfrac{(K-1)c}{K\kappa}$ and every other logit is $c/K$.

    Attributes:
        kappa: Weight of the true class; 15 with the target 30 was used for 1000 classes.
        target: M, what the logit of the true class should be.
    """

    unit: ClassVar[str] = "1"

    kappa: float = 5.0
    target: float = 1.0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.kappa, "kappa", above=0)
        checks.real(self.target, "target", above=0)

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        r"""$\tfrac1K\bigl(\kappa(z_y-M)^2+\sum_{j\ne y}z_j^2\bigr)$ of each sample.

        Args:
            outputs: Logits z (n, k) are what is looked at.
            y: Labels (n,).

        Returns:
            One number a sample.
        """
        logits = outputs.logits
        own = functional.one_hot(y, logits.shape[1]).to(logits.dtype)
        weights = 1 + (self.kappa - 1) * own
        return (weights * (logits - self.target * own).square()).mean(1)
