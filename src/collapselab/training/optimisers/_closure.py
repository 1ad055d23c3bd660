"""The loss and the gradient of the whole training set, for optimisers that evaluate them more than once a step."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from collapselab.training.optimisers._spec import Work

Closure = Callable[[], Tensor]
"""Computes the gradient of all parameters anew and gives the sum of the losses."""


def whole_set(work: Work, stepper: torch.optim.Optimizer) -> Closure:
    """Loss and gradient at the present parameters.

    Args:
        work: What the loop lends.
        stepper: Whose parameters.

    Returns:
        A function that leaves the gradient of the mean loss at the parameters and gives the sum of the losses.
    """
    (rows,) = work.rows

    def closure() -> Tensor:
        with torch.enable_grad():
            stepper.zero_grad()
            return work.accumulate(rows)

    return closure


def decayed(groups: list[dict[str, Any]]) -> Iterator[tuple[Tensor, float]]:
    """The parameters and the weight decay of each.

    Args:
        groups: Parameter groups.

    Yields:
        A parameter and its coefficient.
    """
    for group in groups:
        for parameter in group["params"]:
            yield parameter, group["weight_decay"]


def slope_of(parameter: Tensor, decay: float) -> Tensor:
    """Gradient of the loss with weight decay.

    Args:
        parameter: A parameter whose gradient was computed.
        decay: Its weight decay.

    Returns:
        A new tensor; zero where the loss does not depend on the parameter.
    """
    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    return torch.add(gradient, parameter.detach(), alpha=decay)
