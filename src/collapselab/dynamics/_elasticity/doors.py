"""What may come in: inputs with labels."""

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.dynamics._elasticity.readings import all_logits, single_logit
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
