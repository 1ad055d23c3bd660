"""Networks that `vmap` can map over samples: those that look at one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from collapselab.core.checks import described
from collapselab.core.errors import InputError


def require_apart(network: nn.Module) -> None:
    """Refuse networks that look at several samples at once.

    Args:
        network: Any module.

    Raises:
        InputError: If it is no module, or batch normalisation goes over the batch.
    """
    if not isinstance(network, nn.Module):
        raise InputError(f"network must be a torch.nn.Module, got {described(network)}")
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
