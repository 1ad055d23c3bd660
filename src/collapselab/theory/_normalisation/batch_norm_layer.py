"""Batch normalisation to unit length, as Ergen and Pilanci have it, beside PyTorch's."""

import math

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError


def unit_batch_norm(h: Tensor, gamma: Tensor, alpha: Tensor) -> Tensor:
    r"""Batch normalisation to unit length: every column centred, divided by its norm, scaled and shifted.

    A column u of N samples becomes $\gamma(u-\bar u1)/\|u-\bar u1\|+\alpha1/\sqrt N$, whose squared norm is
    $\gamma^2+\alpha^2$. PyTorch's layer makes the variance 1 in place of the norm: see `torch_affine`.

    Args:
        h: (n, d).
        gamma: (d,) scales.
        alpha: (d,) shifts.

    Returns:
        (n, d).

    Raises:
        InputError: If a column is constant, so that it has no direction.
    """
    centred = h - h.mean(0)
    norms = torch.linalg.vector_norm(centred, dim=0)
    if bool((norms == 0).any()):
        raise InputError(f"h must have no constant column, got one at {int((norms == 0).nonzero()[0])}")
    return gamma * centred / norms + alpha / math.sqrt(h.shape[0])


def torch_affine(gamma: Tensor, alpha: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    r"""Parameters of PyTorch's layer that does what `unit_batch_norm` does, on a batch of all samples.

    PyTorch divides by the root of the biased variance, $\|u-\bar u1\|/\sqrt N$, so that its scale is $\gamma/\sqrt N$
    and its shift $\alpha/\sqrt N$, up to its ``eps``.

    Args:
        gamma: (d,) scales.
        alpha: (d,) shifts.
        num_samples: N.

    Returns:
        ``weight`` and ``bias`` of a ``torch.nn.BatchNorm1d``.

    Example:
        >>> weight, bias = torch_affine(torch.tensor([6.0]), torch.tensor([2.0]), 4)
        >>> weight.item(), bias.item()
        (3.0, 1.0)
    """
    root = math.sqrt(checks.whole(num_samples, "num_samples", at_least=1))
    return gamma / root, alpha / root


def unit_shape(counts: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    r"""Scale and shift of unit length that turn the indicator of a class into itself, divided by its norm.

    $\gamma_k=\|y_k-\bar y_k\|/\|y_k\|=\sqrt{1-n_k/N}$ and $\alpha_k=1^Ty_k/(\sqrt N\|y_k\|)=\sqrt{n_k/N}$ (eq. 62).

    Args:
        counts: (k,) sizes of classes.
        num_samples: N.

    Returns:
        Scales and shifts, (k,) each.

    Example:
        >>> gamma, alpha = unit_shape(torch.tensor([1.0]), 4)
        >>> round(gamma.item() ** 2, 12), alpha.item()
        (0.75, 0.5)
    """
    share = counts.double() / num_samples
    return (1 - share).sqrt(), share.sqrt()
