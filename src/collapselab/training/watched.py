"""A classifier that gives all that a loss may look at."""

import difflib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from collapselab.core.errors import InputError
from collapselab.training.losses import Outputs
from collapselab.training.networks import Classifier
from collapselab.training.networks._foreign import Backbone
from collapselab.training.pooling import Axes, axes_of

# Names that a message shows.
_SHOWN = 8


def stage_names(body: nn.Module, wanted: Sequence[str]) -> tuple[str, ...]:
    """Names of the modules of a body that are looked at, written out.

    Args:
        body: Of a classifier.
        wanted: Names of its children or, with dots, of any module inside them; ``*`` for all children.

    Returns:
        Each once, in the order of the forward pass, as far as modules are called in the order in which they were made.

    Raises:
        InputError: If there is no such module; the message names some that there are.
    """
    known = list(_inside(body))
    for name in wanted:
        if name != "*" and name not in known:
            raise InputError(_unknown(name, known, body))
    children = dict(body.named_children()) if "*" in wanted else {}
    return tuple(name for name in known if name in wanted or name in children)


def _inside(module: nn.Module, prefix: str = "") -> Iterator[str]:
    """Names of all modules inside, each after those that it is made of."""
    for name, child in module.named_children():
        yield from _inside(child, f"{prefix}{name}.")
        yield prefix + name


def _unknown(name: str, known: Sequence[str], body: nn.Module) -> str:
    says = "layers must be stages of the body or modules in them"
    parent, _, last = name.rpartition(".")
    if parent in known:
        there = [f"{parent}.{child}" for child, _ in body.get_submodule(parent).named_children()]
        near = [
            f"{parent}.{end}" for end in difflib.get_close_matches(last, [full[len(parent) + 1 :] for full in there])
        ]
    else:
        there = _first_names(body)
        depth = name.count(".") + 1
        ends = {full: ".".join(full.split(".")[-depth:]) for full in known}
        close = difflib.get_close_matches(name, dict.fromkeys(ends.values()))
        near = [full for end in close for full in known if ends[full] == end]
    if near:
        return f"{says}, got {name!r}; did you mean {' or '.join(near[:3])}?"
    more = f" ... ({len(known)} with those inside)" if len(there) > _SHOWN else ""
    shown = ", ".join(there[:_SHOWN]) or f"and {parent} has none"
    return f"{says}, {shown}{more}, got {name!r}"


def _first_names(body: nn.Module) -> list[str]:
    """The stages; where there is but one, what it is made of."""
    module, prefix = body, ""
    while len(below := list(module.named_children())) == 1 and list(below[0][1].children()):
        prefix, module = f"{prefix}{below[0][0]}.", below[0][1]
    return [prefix + name for name, _ in below]


class Watched(nn.Module):
    """A classifier that gives all that a loss may look at.

    Args:
        network: The classifier.
        layers: Names of the stages of its body, or of modules inside them, whose outputs are kept; ``*`` for all
            stages.
    """

    def __init__(self, network: Classifier, layers: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.network = network
        self._wanted = stage_names(network.body, layers)
        self._axes: dict[tuple[str, torch.Size], Axes] = {}

    def look(self, x: Tensor) -> Outputs:
        """What the network makes of inputs.

        Args:
            x: Inputs (n, ...).

        Returns:
            All that was asked for.
        """
        return self(x)

    def forward(self, x: Tensor) -> Outputs:
        """What the network makes of inputs.

        Args:
            x: Inputs (n, ...).

        Returns:
            Logits, features, the head and the layers.
        """
        kept: dict[str, Any] = {}
        h = self._features(x, kept) if self._wanted else self.network.features(x)
        head = self.network.head
        axes: dict[str, Axes] = {name: self._axes_of(name, output) for name, output in kept.items()}
        return Outputs(logits=head(h), features=h, weight=head.weight, bias=head.bias, layers=kept, axes=axes)

    def _features(self, x: Tensor, kept: dict[str, Any]) -> Tensor:
        """The features, with the outputs of the modules that were asked for kept on the way."""
        hooks = [
            self.network.body.get_submodule(name).register_forward_hook(partial(_keep, kept, name, len(x)))
            for name in self._wanted
        ]
        try:
            h = self.network.features(x)
        finally:
            for hook in hooks:
                hook.remove()
        for name in self._wanted:
            if name not in kept:
                raise InputError(f"layers must be modules that are called, got {name!r}, which is not")
        return h

    def _axes_of(self, name: str, output: Tensor) -> Axes:
        key = (name, output.shape[1:])
        if key not in self._axes:
            body, parts = self.network.body, name.split(".")
            above = (body.get_submodule(".".join(parts[:depth])) for depth in range(len(parts) + 1))
            foreign = any(isinstance(module, Backbone) for module in above)
            self._axes[key] = axes_of(output, body.get_submodule(name), foreign=foreign)
        return self._axes[key]


def _keep(
    kept: dict[str, Any], name: str, count: int, _module: nn.Module, _inputs: tuple[Any, ...], output: Any
) -> None:
    if name in kept:
        raise InputError(
            f"layers must be modules that are called once, got {name!r}, which is called again; take one around it"
        )
    if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != count:
        came = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise InputError(
            f"layers: stage {name} must give a tensor (n, c, ...) of {count} samples, got {came}; take one inside it"
        )
    # A later module may work in place, as those of other libraries do. The stages of this one never do, and while they
    # are trained they need no second copy.
    kept[name] = output.clone() if "." in name or not torch.is_grad_enabled() else output
