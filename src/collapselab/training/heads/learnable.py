"""The usual linear classifier."""

from dataclasses import dataclass

from torch import nn

from collapselab.core import checks
from collapselab.training.heads._spec import Head, head


@head("learnable", label="learnable linear layer", source="papyan2020")
@dataclass(frozen=True)
class Learnable(Head):
    """A linear layer that is trained with everything else.

    Attributes:
        bias: Whether logits have a bias.
    """

    bias: bool = True

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.flag(self.bias, "bias")

    def build(self, num_features: int, num_classes: int) -> nn.Linear:
        """A new linear layer with torch's initialisation, drawn from the global generator.

        Args:
            num_features: d.
            num_classes: K.

        Returns:
            The layer.
        """
        return nn.Linear(num_features, num_classes, bias=self.bias)
