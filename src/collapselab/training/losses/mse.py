"""Squared error to one-hot labels."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from collapselab.training.losses._spec import loss


@loss("mse", label="squared error", source="han2022")
@dataclass(frozen=True)
class HalfSquaredError:
    r"""Half the squared distance of the logits to the one-hot vector of the true class, summed over classes.

    Summed and not averaged over the K classes: `torch.nn.MSELoss` is 2 / K times this.
    """

    unit: ClassVar[str] = "1"

    def __call__(self, logits: Float[Tensor, "n k"], y: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        r"""$\tfrac12 \lVert z - e_y \rVert^2$ of each sample.

        Args:
            logits: z.
            y: Labels.

        Returns:
            One number a sample.
        """
        target = functional.one_hot(y, logits.shape[1]).to(logits.dtype)
        return 0.5 * (logits - target).square().sum(1)
