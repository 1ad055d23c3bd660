"""Which gradients of a network are sums of outer products: those of layers that act once, on one sample at a time."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from collapselab.core.errors import InputError
from collapselab.dynamics._elasticity.layers import Layer, Module, is_plain

# What the gradient of a weight and the outer products may differ by, in units of rounding: more is another path.
_ROUNDING = 1e3


@dataclass(frozen=True, eq=False)
class Place:
    """A layer in a network.

    Attributes:
        module: The layer.
        inputs: Numbers of a sample that go in.
        shape: Shape (1, ...) of what comes out of a sample.
    """

    module: Module
    inputs: int
    shape: torch.Size

    @property
    def multiplied_out(self) -> int:
        """Numbers of the gradient of a sample where that is what is less work; 0 where rows stay apart."""
        weight = self.module.weight
        rows = self.shape.numel() // len(weight)
        return weight.numel() if rows > 1 and rows**2 * (len(weight) + weight[0].numel()) > weight.numel() else 0


def outer_products(network: nn.Module, one: Tensor) -> dict[str, Place]:
    """Linear layers and convolutions that act once, and whose weight acts nowhere else.

    Found out by the graph of one sample, which is that of all since `vmap` maps it: a weight that is shared, or used
    elsewhere, has further ways into it, whatever they are worth for this sample. Its gradient is compared as well.

    Args:
        network: Inputs to logits.
        one: Input (1, ...).

    Returns:
        The layers by name.

    Raises:
        InputError: If the logits depend on nothing that trains.
    """
    plain = {name: module for name, module in network.named_modules() if is_plain(module) and _trains(module)}
    with torch.enable_grad(), _recorded(plain) as calls:
        z = network(one)
        total = (z * torch.linspace(1, 2, z.numel(), dtype=z.dtype, device=z.device).view_as(z)).sum()
    if not total.requires_grad:
        raise InputError(f"network must give logits that depend on what it trains, got {type(network).__name__}")
    once = {name: found[0] for name, found in calls.items() if len(found) == 1 and _one_sample(plain[name], found[0])}
    users = _users(total)
    return {
        name: Place(plain[name], inputs.numel(), outputs.shape)
        for name, (inputs, outputs) in once.items()
        if _acts_once(plain[name], users) and _is_all(plain[name], inputs.detach(), outputs, total)
    }


@contextmanager
def _recorded(layers: Mapping[str, Module]) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
    """What goes in and comes out of layers at each call."""
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}
    handles = [
        layer.register_forward_hook(
            lambda _m, args, named, output, at=calls[name]: at.append((went_in(args, named), output)), with_kwargs=True
        )
        for name, layer in layers.items()
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def went_in(args: tuple[Tensor, ...], named: Mapping[str, Tensor]) -> Tensor:
    """The input of a layer, however it is handed over.

    Args:
        args: By place.
        named: By name.

    Returns:
        The input.
    """
    return args[0] if args else named["input"]


def _users(total: Tensor) -> dict[object, list[Node]]:
    """What looks at each node of a graph, as often as it does; leaves are found by their tensors."""
    users: dict[object, list[Node]] = defaultdict(list)
    seen: set[Node] = set()
    ahead = [total.grad_fn] if total.grad_fn is not None else []
    while ahead:
        node = ahead.pop()
        if node in seen:
            continue
        seen.add(node)
        for used, _ in node.next_functions:
            if used is not None:
                users[getattr(used, "variable", used)].append(node)
                ahead.append(used)
    return users


def _acts_once(layer: Module, users: Mapping[object, list[Node]]) -> bool:
    """Whether what a layer trains goes into one operation, past those that turn it round or into another type."""
    return all(_goes_one_way(p, users) for p in layer.parameters() if p.requires_grad)


def _goes_one_way(at: object, users: Mapping[object, list[Node]]) -> bool:
    while len(found := users.get(at, [])) == 1:
        at = found[0]
        if len(found[0].next_functions) > 1:
            return True
    return not found


def _trains(layer: nn.Module) -> bool:
    return any(p.requires_grad for p in layer.parameters())


def _one_sample(layer: Module, call: tuple[Tensor, Tensor]) -> bool:
    axes = 4 if isinstance(layer, nn.Conv2d) else 2
    return all(side.ndim >= axes and len(side) == 1 for side in call)


def _is_all(layer: Module, inputs: Tensor, outputs: Tensor, total: Tensor) -> bool:
    """Whether the gradients of weight and bias are those of this one call."""
    if not outputs.requires_grad:
        return False  # ran where no gradients are kept
    own = [p for p in layer.parameters() if p.requires_grad]
    passed, *found = torch.autograd.grad(total, [outputs, *own], retain_graph=True, allow_unused=True)
    if passed is None:
        return all(one is None for one in found)
    kept = Layer(layer, inputs, passed[:, None])
    wanted = [kept.weight_gradients() if p is layer.weight else kept.rows_out().sum(1) for p in own]
    slack = _ROUNDING * torch.finfo(passed.dtype).eps
    return all(
        one is not None and float((one.flatten() - two.flatten()).abs().max()) <= slack * float(two.abs().max())
        for one, two in zip(found, wanted, strict=True)
    )
