"""Squared error to one-hot labels, averaged over classes."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from collapselab.training.losses._spec import Loss, Outputs, loss


@loss("mean_squared_error", label="squared error, mean over classes", source="han2022")
@dataclass(frozen=True)
class MeanSquaredError(Loss):
    r"""Squared distance of the logits to the one-hot vector of the true class, averaged over classes.

    What `torch.nn.MSELoss` gives: 2 / K times `mse`. Weight decay $\lambda$ beside it therefore does what
    $\tfrac K2\lambda$ does beside `mse`, at K / 2 times the learning rate; formulas for the half sum over classes hold
    with that decay. At least 0, at $z=e_y$.
    """

    unit: ClassVar[str] = "1"

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        r"""$\tfrac1K \lVert z - e_y \rVert^2$ of each sample.

        Args:
            outputs: Logits z (n, k) are what is looked at.
            y: Labels (n,).

        Returns:
            One number a sample.
        """
        logits = outputs.logits
        target = functional.one_hot(y, logits.shape[1]).to(logits.dtype)
        return (logits - target).square().mean(1)
