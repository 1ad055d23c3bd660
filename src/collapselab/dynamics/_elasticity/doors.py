"""What may come in: networks that `vmap` can map over samples, and inputs with labels."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.dynamics._elasticity.readings import all_logits, single_logit
from collapselab.dynamics._tangent import Read

Set = tuple[Tensor, Tensor]
"""Inputs (n, ...) and labels (n,)."""


def require_apart(network: nn.Module) -> None:
    """Refuse networks that look at several samples at once.

    Args:
        network: Any module.

    Raises:
        InputError: If batch normalisation goes over the batch.
    """
    for name, module in network.named_modules():
        if not isinstance(module, nn.modules.batchnorm._BatchNorm):
            continue
        if module.training or module.running_mean is None:
            why = "in train mode" if module.training else "without running statistics"
            raise InputError(f"network must treat samples one by one, got batch normalisation {why}: {name}")


@contextmanager
def mapped(network: nn.Module) -> Iterator[None]:
    """Say in the library's words what `vmap` refuses.

    Args:
        network: What is mapped over samples.

    Yields:
        Nothing.

    Raises:
        InputError: If it cannot be mapped.
        RuntimeError: If memory runs out.
    """
    try:
        yield
    except RuntimeError as error:
        words = str(error)
        if "allocate" in words or "out of memory" in words:
            raise
        what = f"network must be one that torch.func.vmap maps over samples, got {type(network).__name__}"
        raise InputError(f"{what}: {' '.join(words.split())[:200]}") from error


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
