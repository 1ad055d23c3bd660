"""Gradients of single samples by all trained parameters, and their inner products, within a budget of memory."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

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


def sample_gradients(network: nn.Module, x: Tensor, y: Tensor, *, read: Read) -> Tensor:
    """Gradient of one number a sample by all trained parameters, for all samples at once.

    The network must treat samples one by one: batch normalisation in eval mode does.

    Args:
        network: Inputs to logits.
        x: Inputs (n, ...).
        y: Labels (n,).
        read: Makes the number of logits and label.

    Returns:
        (n, p), parameters in the order of `trained`, each flattened.
    """
    weights, rest = trained(network), fixed(network)

    def number(own: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        return read(functional_call(network, (own, rest), (one[None].clone(),)).squeeze(0), label)

    found = vmap(grad(number), in_dims=(None, 0, 0))(weights, x, y)
    return torch.cat([found[name].flatten(1) for name in weights], 1)
