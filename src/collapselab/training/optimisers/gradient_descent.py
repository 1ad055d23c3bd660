"""Gradient descent on the whole training set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from collapselab.core import checks
from collapselab.training.optimisers._spec import Optimiser, optimiser


@optimiser("gradient_descent", label="gradient descent", source="soudry2018")
@dataclass(frozen=True)
class GradientDescent(Optimiser):
    """Steps along the gradient of the loss of the whole training set; an epoch is one step.

    Attributes:
        learning_rate: Rate before any cut.
        momentum: Share of the last step that is kept (heavy ball); none by default.
        weight_decay: Coefficient of one half of the squared norm of the parameters.
    """

    full_batch: ClassVar[bool] = True

    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.learning_rate, "learning_rate", above=0)
        checks.real(self.weight_decay, "weight_decay", at_least=0)
        checks.real(self.momentum, "momentum", at_least=0, below=1)

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser.

        Args:
            groups: Parameter groups.

        Returns:
            A new optimiser.
        """
        return torch.optim.SGD(
            list(groups), lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay
        )
