"""AdamW: Adam with weight decay apart from the gradient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from collapselab.core import checks
from collapselab.training.optimisers._spec import Optimiser, optimiser


@optimiser("adamw", label="AdamW", source="loshchilov2019")
@dataclass(frozen=True)
class AdamW(Optimiser):
    """Adam whose weight decay multiplies the parameters by 1 - ηλ instead of joining the gradient.

    Attributes:
        learning_rate: Rate η before any cut.
        beta1: Share of the running mean of the gradient that is kept in a step.
        beta2: Share of the running mean of its square that is kept.
        epsilon: Added to the root of that mean.
        weight_decay: λ. It is no term of the loss: not even at rest do gradient and decay cancel unscaled.
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.learning_rate, "learning_rate", above=0)
        checks.real(self.beta1, "beta1", at_least=0, below=1)
        checks.real(self.beta2, "beta2", at_least=0, below=1)
        checks.real(self.epsilon, "epsilon", above=0)
        checks.real(self.weight_decay, "weight_decay", at_least=0)

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser.

        Args:
            groups: Parameter groups.

        Returns:
            A new optimiser.
        """
        return torch.optim.AdamW(
            list(groups),
            lr=self.learning_rate,
            betas=(self.beta1, self.beta2),
            eps=self.epsilon,
            weight_decay=self.weight_decay,
        )
