"""Stochastic gradient descent with momentum."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.optimisers._spec import Optimiser, optimiser


@optimiser("sgd", label="SGD with momentum", source="papyan2020")
@dataclass(frozen=True)
class SGD(Optimiser):
    """Heavy-ball momentum, and weight decay.

    Attributes:
        learning_rate: Rate before any cut.
        momentum: Share of the last step that is kept.
        weight_decay: Coefficient of one half of the squared norm of the parameters.
    """

    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 2e-3

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.learning_rate, "learning_rate", above=0)
        checks.real(self.weight_decay, "weight_decay", at_least=0)
        if checks.real(self.momentum, "momentum", at_least=0) >= 1:
            raise InputError(f"momentum must lie in [0, 1), got {self.momentum!r}")

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
