"""A learnable classifier whose class vectors differ in direction alone."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils import parametrize

from collapselab.core import checks
from collapselab.training.heads._neck import of_length
from collapselab.training.heads._spec import Head, head


class RowsOfLength(nn.Module):
    """Parametrization of a matrix whose rows keep one length.

    Args:
        length: Their length; a row of zeros stays one.
    """

    def __init__(self, length: float) -> None:
        super().__init__()
        self.length = length

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that acts.

        Args:
            weight: (k, d) what is trained.

        Returns:
            (k, d) the same directions.
        """
        return of_length(weight, self.length)


@head("cosine_classifier", label="learnable class vectors of one length", source="kornblith2021")
@dataclass(frozen=True)
class Cosine(Head):
    """A linear layer that is trained, with class vectors of one length.

    With features of length 1 (the neck's `normalise`) logits are cosines times the scale, the inverse temperature.
    The length of what is trained acts only on how fast directions turn.

    Attributes:
        scale: Length of each class vector.
        bias: Whether logits have a bias.
    """

    scale: float = 1.0
    bias: bool = False

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.scale, "scale", above=0)
        checks.flag(self.bias, "bias")

    def build(self, num_features: int, num_classes: int) -> nn.Linear:
        """A new linear layer, drawn from the global generator with torch's initialisation and then scaled.

        Args:
            num_features: d.
            num_classes: K.

        Returns:
            The layer; `weight` is what acts, and `parametrizations.weight.original` what is trained.
        """
        layer = nn.Linear(num_features, num_classes, bias=self.bias)
        parametrize.register_parametrization(layer, "weight", RowsOfLength(self.scale))
        return layer
