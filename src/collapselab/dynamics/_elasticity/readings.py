"""What is read off the logits of a sample: the number, or numbers, whose change is followed."""

import math

import torch
from torch import Tensor

from collapselab.core.errors import InputError


def single_logit(z: Tensor, y: Tensor) -> Tensor:
    """The output of a network that has one, as a classifier of two classes may.

    Args:
        z: Logits (1,) of a sample.
        y: Its label (), which has no part in it.

    Returns:
        One number.

    Raises:
        InputError: If there is more than one logit.
    """
    if z.numel() != 1:
        raise InputError(f"read must be a reading of several logits, got single_logit for a network with {z.numel()}")
    return z.reshape(())


def all_logits(z: Tensor, y: Tensor) -> Tensor:
    """All logits, whatever the label: the tangent kernel is then the trace of the K x K block of two samples.

    Args:
        z: Logits (k,) of a sample.
        y: Its label (), which has no part in it.

    Returns:
        (k,).
    """
    return z.flatten()


def own_logit(z: Tensor, y: Tensor) -> Tensor:
    """The logit of the label.

    Args:
        z: Logits (k,) of a sample.
        y: Its label ().

    Returns:
        One number.
    """
    return _own(z, y)


def own_residual(z: Tensor, y: Tensor) -> Tensor:
    r"""The logits along the residual of the label at uniform probabilities.

    $\langle d_y, z\rangle/\sqrt\kappa$ with $d_y = e_y - \tfrac1K 1$ and $\kappa = \lVert d_y\rVert^2 = (K-1)/K$, so
    that the tangent kernel between samples of classes k and l is $d_k^T \Theta\, d_l / \kappa$, with the K x K block
    $\Theta$ of the logits: the impact of l on k in the locally elastic model whose drift is aligned with residuals.

    Args:
        z: Logits (k,) of a sample, at least two.
        y: Its label ().

    Returns:
        One number.

    Raises:
        InputError: If there is only one logit.

    Example:
        >>> own_residual(torch.tensor([2.0, 0.0]), torch.tensor(0)).item()  # doctest: +ELLIPSIS
        1.414...
    """
    k = z.numel()
    if k < 2:
        raise InputError("read must be single_logit for a network with one output, got own_residual")
    return (_own(z, y) - z.mean()) / math.sqrt((k - 1) / k)


def _own(z: Tensor, y: Tensor) -> Tensor:
    if z.ndim != 1:
        raise InputError(f"network must give logits (n, k), got {tuple(z.shape)} for one sample")
    return torch.where(torch.arange(len(z), device=z.device) == y, z, 0).sum()
