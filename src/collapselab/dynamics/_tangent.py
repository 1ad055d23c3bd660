"""What gradients of single samples are made of: parameters that are trained, what is read off the logits, and room."""

from collections.abc import Callable

from torch import Tensor, nn

from collapselab.core.errors import InputError

Read = Callable[[Tensor, Tensor], Tensor]
"""Makes one number of the logits (k,) and the label () of a sample."""

BUDGET = 2**28
"""Bytes that gradients of single samples may take at once."""


def trained(network: nn.Module) -> dict[str, Tensor]:
    """Parameters that require gradients, by name, detached.

    Args:
        network: Any module.

    Returns:
        Name to tensor.

    Raises:
        InputError: If there are none, or one is complex.
    """
    found = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    for name, p in found.items():
        if p.is_complex():
            raise InputError(f"network must have real parameters, got {p.dtype} for {name}")
    if not found:
        raise InputError(f"network must have parameters that require gradients, got {type(network).__name__} with none")
    return found


def fixed(network: nn.Module) -> dict[str, Tensor]:
    """Everything else of the state: buffers and frozen parameters, detached.

    Args:
        network: Any module.

    Returns:
        Name to tensor.
    """
    frozen = {name: p.detach() for name, p in network.named_parameters() if not p.requires_grad}
    return frozen | {name: b.detach() for name, b in network.named_buffers()}


def rows_at_once(network: nn.Module, *, held: int = 1, budget: int = BUDGET) -> int:
    """How many samples' gradients fit into the budget.

    Args:
        network: Whose gradients.
        held: Blocks of gradients that are held at once.
        budget: Bytes.

    Returns:
        At least 1.
    """
    size = sum(p.numel() * p.element_size() for p in trained(network).values())
    return max(1, budget // (held * size))
