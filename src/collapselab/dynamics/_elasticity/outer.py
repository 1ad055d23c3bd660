"""Which gradients of a network are outer products: those of linear layers that act once, on one row a sample."""

import torch
from torch import Tensor, nn

# What the gradient of a weight and the outer product may differ by, in units of rounding: more is another path.
_ROUNDING = 1e3


def outer_products(network: nn.Module, one: Tensor) -> dict[str, nn.Linear]:
    """Linear layers that act once, on one row a sample, and whose weight acts nowhere else.

    Found out by the gradient of one sample: a weight that is shared, or used elsewhere, has another.

    Args:
        network: Inputs to logits.
        one: Input (1, ...).

    Returns:
        The layers by name.
    """
    plain = {name: m for name, m in network.named_modules() if type(m) is nn.Linear and _trains(m)}
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in plain}
    handles = [
        layer.register_forward_hook(lambda _m, args, output, at=calls[name]: at.append((args[0], output)))
        for name, layer in plain.items()
    ]
    try:
        with torch.enable_grad():
            z = network(one)
            total = (z * torch.linspace(1, 2, z.numel(), dtype=z.dtype, device=z.device).view_as(z)).sum()
    finally:
        for handle in handles:
            handle.remove()
    once = {name: found[0] for name, found in calls.items() if len(found) == 1 and _one_row(found[0])}
    return {name: plain[name] for name, (a, b) in once.items() if _is_outer(plain[name], a, b, total)}


def _trains(layer: nn.Linear) -> bool:
    return any(p.requires_grad for p in layer.parameters())


def _one_row(call: tuple[Tensor, Tensor]) -> bool:
    return all(side.ndim == 2 and len(side) == 1 for side in call)


def _is_outer(layer: nn.Linear, inputs: Tensor, outputs: Tensor, total: Tensor) -> bool:
    """Whether the gradients of weight and bias are those of this one call."""
    own = [p for p in layer.parameters() if p.requires_grad]
    passed, *found = torch.autograd.grad(total, [outputs, *own], retain_graph=True, allow_unused=True)
    if passed is None:
        return all(one is None for one in found)
    wanted = [passed.T @ inputs.detach() if p is layer.weight else passed[0] for p in own]
    slack = _ROUNDING * torch.finfo(passed.dtype).eps
    return all(
        one is not None and float((one - two).abs().max()) <= slack * float(two.abs().max())
        for one, two in zip(found, wanted, strict=True)
    )
