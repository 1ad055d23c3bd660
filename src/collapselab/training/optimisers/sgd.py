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
    """Heavy-ball or Nesterov momentum, and weight decay.

    With the minibatch gradient g at w: v <- m v + g + λ w, then w <- w - η v, or w <- w - η (g + λ w + m v) after
    Nesterov.

    Attributes:
        learning_rate: Rate η before any cut.
        momentum: Share m of the last step that is kept.
        weight_decay: Coefficient λ of one half of the squared norm of the parameters.
        nesterov: Whether the step looks ahead along the momentum.
    """

    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 2e-3
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            InputError: If one is not what it must be.
        """
        checks.real(self.learning_rate, "learning_rate", above=0)
        checks.real(self.weight_decay, "weight_decay", at_least=0)
        checks.real(self.momentum, "momentum", at_least=0, below=1)
        if checks.flag(self.nesterov, "nesterov") and self.momentum == 0:
            raise InputError(f"momentum must be above 0 where nesterov is on, got {self.momentum!r}")

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser.

        Args:
            groups: Parameter groups.

        Returns:
            A new optimiser.
        """
        return torch.optim.SGD(
            list(groups),
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )
