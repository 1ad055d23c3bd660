"""Losses of a sample, by name or as a function, and their gradient by the logits."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core.errors import InputError

SampleLoss = Callable[[Tensor, Tensor], Tensor]
"""Logits (n, k) and labels (n,) to losses (n,)."""

Loss = SampleLoss | Literal["cross_entropy", "mse"]
"""A function, or a name: ``cross_entropy`` in nats; ``mse``, half of the squared distance from the one-hot label."""


def sample_losses(loss: Loss) -> SampleLoss:
    """The function that a name stands for.

    Args:
        loss: Name or function.

    Returns:
        The function.

    Raises:
        InputError: If it is neither.
    """
    if loss == "cross_entropy":
        return lambda logits, y: functional.cross_entropy(logits, y, reduction="none")
    if loss == "mse":
        return lambda logits, y: (logits - one_hot(y, logits)).square().sum(1) / 2
    if callable(loss):
        return lambda logits, y: _one_a_sample(loss(logits, y), y)
    raise InputError(f"loss must be 'cross_entropy', 'mse' or a function of logits and labels, got {loss!r}")


def _one_a_sample(losses: Tensor, y: Tensor) -> Tensor:
    if losses.shape != y.shape:
        raise InputError(f"loss must return one number a sample, {tuple(y.shape)}, got {tuple(losses.shape)}")
    return losses


def one_hot(y: Tensor, like: Tensor) -> Tensor:
    """Labels as rows of the identity.

    Args:
        y: (n,) labels.
        like: (n, k) matrix whose width and dtype they get.

    Returns:
        (n, k).
    """
    return functional.one_hot(y, like.shape[1]).to(like.dtype)


def logit_gradient(loss: Loss, logits: Tensor, y: Tensor, shares: Tensor | None = None) -> tuple[float, Tensor]:
    """Mean loss over the samples, and its gradient by the logits.

    Args:
        loss: Name or function.
        logits: (n, k).
        y: (n,) labels.
        shares: (n,) weights of the mean, of sum 1; None for equal ones.

    Returns:
        The mean, and (n, k).
    """
    with torch.enable_grad():
        leaf = logits.detach().clone().requires_grad_()
        losses = sample_losses(loss)(leaf, y)
        value = losses.mean() if shares is None else (shares * losses).sum()
        (slope,) = torch.autograd.grad(value, leaf)
    return float(value.detach()), slope
