"""Reward for uncertain predictions."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.training.losses import Outputs
from collapselab.training.penalties._spec import Penalty, penalty


@penalty("confidence_penalty", label="confidence penalty", source="pereyra2017")
@dataclass(frozen=True)
class ConfidencePenalty(Penalty):
    r"""Minus the entropy of the softmax, times a strength, in nats.

    Between $-\beta\log K$, where all classes are equally likely, and 0, where one is certain.

    Attributes:
        strength: beta.
    """

    unit: ClassVar[str] = "nat"

    strength: float = 0.1

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.strength, "strength", at_least=0)

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        r"""$\beta\sum_jp_j\log p_j$ of each sample, p the softmax of the logits.

        Args:
            outputs: Logits (n, k) are what is looked at.
            y: Labels (n,), which play no part.

        Returns:
            One number a sample.
        """
        logarithms = functional.log_softmax(outputs.logits, dim=1)
        return self.strength * (logarithms.exp() * logarithms).sum(1)
