"""What may come in: inputs with labels."""

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.dynamics._elasticity.readings import all_logits, own_logit, own_residual, single_logit
from collapselab.dynamics._tangent import Read

Set = tuple[Tensor, Tensor]
"""Inputs (n, ...) and labels (n,)."""


def labelled(x: Tensor, y: Tensor | None, name: str, read: Read) -> Set:
    """Inputs with their labels, or with zeros where nothing looks at them.

    Args:
        x: Inputs (n, ...).
        y: Labels (n,).
        name: Their name in messages.
        read: What is read off the logits.

    Returns:
        Both, on one device.

    Raises:
        InputError: If they are no such things, or labels are missing.
    """
    if not isinstance(x, Tensor) or x.ndim == 0 or len(x) == 0:
        raise InputError(f"inputs must be a tensor of at least one sample, got {checks.described(x)}")
    if y is None and read not in (single_logit, all_logits):
        raise InputError(f"{name} must be given unless what is read is single_logit or all_logits, got None")
    labels = torch.zeros(len(x), dtype=torch.int64) if y is None else checks.labels(y, name, num_rows=len(x))
    return x.detach(), labels.to(x.device)


def require_like(other: Tensor, x: Tensor) -> None:
    """Refuse further inputs of another shape.

    Args:
        other: Inputs (m, ...).
        x: Inputs (n, ...).

    Raises:
        InputError: If the shapes of one input differ.
    """
    if other.shape[1:] != x.shape[1:]:
        raise InputError(f"other must hold inputs of shape {tuple(x.shape[1:])} as x, got {tuple(other.shape[1:])}")


def require_known(samples: Set, name: str, read: Read, num_classes: int) -> None:
    """Refuse labels that a reading would look for in vain.

    Args:
        samples: Inputs with labels.
        name: Of the labels, in messages.
        read: What is read off the logits.
        num_classes: How many logits there are.

    Raises:
        InputError: If a label has no logit.
    """
    if read in (own_logit, own_residual):
        checks.labels_in_range(samples[1], num_classes, name)
