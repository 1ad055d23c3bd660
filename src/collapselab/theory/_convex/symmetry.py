"""Whether a loss given as a function is what a reduction by symmetry needs: checked at random logits."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from collapselab.core.checks import described
from collapselab.core.errors import InputError, NotKnown

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Logits (n, k) and labels (n,) to losses (n,), or to their mean."""

# Relative to the losses: rounding of sums over classes is far below, faults that matter are far above.
_SAME = 1e-9

# Sizes of logits that are tried: close to zero, and where a softmax is close to one class.
_SIZES = (0.1, 1.0, 4.0)


@dataclass(frozen=True)
class Facts:
    """What was found out about a loss.

    Attributes:
        shift_invariant: Whether adding a number to all logits of a sample changes nothing.
    """

    shift_invariant: bool


def facts(loss_fn: LossFunction, num_classes: int) -> Facts:
    """Check a loss at random logits of several sizes.

    Args:
        loss_fn: The loss.
        num_classes: K.

    Returns:
        What was found out; kept for the next time.

    Raises:
        InputError: If it is no differentiable function of logits and labels with finite values.
        NotKnown: If it is not the mean of losses of samples, treats classes differently, or is not convex.
    """
    return _kept(loss_fn, num_classes) if isinstance(loss_fn, Hashable) else _found(loss_fn, num_classes)


def _found(loss_fn: LossFunction, k: int) -> Facts:
    # Few rows where there are many classes: memory grows with their product.
    draw, rows = torch.Generator().manual_seed(0), max(4, min(64, 200_000 // k))
    y = torch.randint(k, (rows,), generator=draw)
    shifts = []
    for size in _SIZES:
        z = size * torch.randn(rows, k, generator=draw, dtype=torch.float64)
        other = z + size * torch.randn(rows, k, generator=draw, dtype=torch.float64)
        _check_form(loss_fn, z, y)
        losses = _each(loss_fn, z, y)
        scale = max(1.0, float(losses.abs().max()))
        _check_mean(loss_fn, z, y, losses, scale=scale)
        _check_symmetric(loss_fn, z, y, losses, scale=scale)
        for far in (0.1, 1.0):
            end = z + far * (other - z)
            excess = _each(loss_fn, (z + end) / 2, y) - (losses + _each(loss_fn, end, y)) / 2
            if float(excess.max()) > _SAME * scale:
                raise NotKnown(
                    f"the answer is known for convex losses, and this one is {float(excess.max()):.3g} higher between "
                    f"two points than their mean"
                )
        shifts.append(float((_each(loss_fn, z + size, y) - losses).abs().max()) <= _SAME * scale)
    return Facts(shift_invariant=all(shifts))


_kept = lru_cache(maxsize=64)(_found)


def _each(loss_fn: LossFunction, z: Tensor, y: Tensor) -> Tensor:
    """The loss of every sample by itself."""
    return torch.stack([loss_fn(row[None], label[None]).double().mean() for row, label in zip(z, y, strict=True)])


def _check_form(loss_fn: LossFunction, z: Tensor, y: Tensor) -> None:
    together = loss_fn(z.clone().requires_grad_(), y)
    if not isinstance(together, Tensor) or together.shape not in ((), y.shape):
        raise InputError(f"the loss must give one number a sample or their mean, got {described(together)}")
    if not bool(torch.isfinite(together.detach()).all()):
        raise InputError("the loss must be finite at finite logits, got NaN or infinity")
    if not together.requires_grad:
        raise InputError("the loss must be differentiable by torch, got a value without a gradient")


def _check_mean(loss_fn: LossFunction, z: Tensor, y: Tensor, losses: Tensor, *, scale: float) -> None:
    together = loss_fn(z, y).double()
    if together.ndim == 1 and float((together - losses).abs().max()) > _SAME * scale:
        raise NotKnown("the answer is known for losses of samples, and this one depends on which others there are")
    if abs(float(together.mean() - losses.mean())) > _SAME * scale:
        raise NotKnown("the answer is known for means of losses of samples, and this one is none: is it a sum?")


def _check_symmetric(loss_fn: LossFunction, z: Tensor, y: Tensor, losses: Tensor, *, scale: float) -> None:
    classes = torch.arange(z.shape[1])
    exchanged = classes.clone()
    exchanged[:2] = torch.tensor([1, 0])
    # A turn of all classes and an exchange of two generate every renaming. Class order[j] becomes class j.
    for order in (classes.roll(1), exchanged):
        off = float((_each(loss_fn, z[:, order], torch.argsort(order)[y]) - losses).abs().max())
        if off > _SAME * scale:
            raise NotKnown(f"the answer is known where classes are alike; renaming them changes this loss by {off:.3g}")
