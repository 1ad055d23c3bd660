"""Squared error to one-hot labels, summed over classes."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from collapselab.training.losses._spec import Loss, Outputs, loss


@loss("mse", label="squared error", source="han2022")
@dataclass(frozen=True)
class HalfSquaredError(Loss):
    r"""Half the squared distance of the logits to the one-hot vector of the true class, summed over classes.

    Summed and not averaged over the K classes: `torch.nn.MSELoss` is 2 / K times this. At least 0, at $z=e_y$. With
    free features, n a class, and decay, $c=K\sqrt{n\lambda_W\lambda_H}<1$: without bias the class means are orthogonal
    and $z=(1-c)e_y$; with a free bias they are a simplex ETF.
    """

    unit: ClassVar[str] = "1"

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        r"""$\tfrac12 \lVert z - e_y \rVert^2$ of each sample.

        Args:
            outputs: Logits z (n, k) are what is looked at.
            y: Labels (n,).

        Returns:
            One number a sample.
        """
        logits = outputs.logits
        target = functional.one_hot(y, logits.shape[1]).to(logits.dtype)
        return 0.5 * (logits - target).square().sum(1)
