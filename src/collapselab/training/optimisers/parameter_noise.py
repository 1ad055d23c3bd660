"""SGD with isotropic Gaussian noise on the parameters: Langevin dynamics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.training.optimisers._spec import Optimiser, Work, optimiser


@optimiser("parameter_noise", label="Langevin dynamics", source="welling2011")
@dataclass(frozen=True)
class ParameterNoise(Optimiser):
    r"""A gradient step, then independent normal noise of variance 2ηT on every trained parameter.

    $w \leftarrow w - \eta(g + \lambda w) + \sqrt{2\eta T}\,\xi$. As η falls, with the whole training set as minibatch,
    it samples $e^{-(L + \frac\lambda2|w|^2)/T}$; on a quadratic of curvature h the stationary variance is
    $T / (h(1 - \eta h/2))$ at any η. Minibatches add their own noise.

    Attributes:
        learning_rate: Rate η before any cut; the noise follows the rate.
        temperature: T, in units of the loss.
        weight_decay: Coefficient λ of one half of the squared norm of the parameters.
    """

    learning_rate: float = 0.05
    temperature: float = 1e-6
    weight_decay: float = 2e-3

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.learning_rate, "learning_rate", above=0)
        checks.real(self.temperature, "temperature", at_least=0)
        checks.real(self.weight_decay, "weight_decay", at_least=0)

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser.

        Args:
            groups: Parameter groups.

        Returns:
            A new optimiser.
        """
        return torch.optim.SGD(list(groups), lr=self.learning_rate, weight_decay=self.weight_decay)

    def step(self, work: Work, stepper: torch.optim.Optimizer) -> Tensor:
        """One step.

        Args:
            work: What the loop lends.
            stepper: What `build` returned.

        Returns:
            Sum of the losses of the minibatch, before the step.
        """
        total = super().step(work, stepper)
        with torch.no_grad():
            for group in stepper.param_groups:
                size = math.sqrt(2 * group["lr"] * self.temperature)
                for parameter in group["params"]:
                    noise = torch.randn(parameter.shape, generator=work.generator, dtype=parameter.dtype)
                    parameter.add_(noise.to(parameter.device), alpha=size)
        return total
