"""Gradients of single samples, those of linear layers as the outer products that they are.

The weight of a linear layer that sees one row a sample has the gradient d a^T, of the row a that goes in and the
derivative d by the row that comes out. Inner products of such gradients are (a . a') (d . d'): neither the memory nor
the work of n gradients of all parameters is needed. All other parameters go through `vmap(grad)`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

from collapselab.core.checks import described
from collapselab.core.errors import InputError
from collapselab.dynamics._elasticity.doors import mapped, require_apart
from collapselab.dynamics._elasticity.outer import outer_products
from collapselab.dynamics._tangent import Read, fixed, trained


@dataclass(frozen=True, eq=False)
class Linear:
    """Gradients of the weight and the bias of one linear layer.

    Attributes:
        inputs: (n, i) rows that went in.
        outputs: (n, o) derivatives by the rows that came out.
        weight: Whether the weight is trained.
        bias: Whether there is a bias that is trained.
    """

    inputs: Tensor
    outputs: Tensor
    weight: bool
    bias: bool

    def inner(self, other: "Linear") -> Tensor:
        """Inner products with the gradients of m other samples.

        Args:
            other: Of the same layer.

        Returns:
            (n, m).
        """
        passed = self.outputs @ other.outputs.T
        if not self.weight:
            return passed
        return (self.inputs @ other.inputs.T).add_(float(self.bias)).mul_(passed)

    def squared(self) -> Tensor:
        """Squared lengths.

        Returns:
            (n,).
        """
        entered = self.inputs.square().sum(1) if self.weight else 0.0
        return (entered + float(self.bias)) * self.outputs.square().sum(1)


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients of one number a sample, or of several side by side, by all trained parameters.

    Attributes:
        layers: Those of linear layers.
        rest: (n, p) those of all other parameters.
    """

    layers: tuple[Linear, ...]
    rest: Tensor

    def inner(self, other: "Gradients") -> Tensor:
        """Inner products with the gradients of m other samples.

        Args:
            other: Of the same network.

        Returns:
            (n, m).
        """
        found = self.rest @ other.rest.T
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            found += mine.inner(theirs)
        return found

    def squared(self) -> Tensor:
        """Squared lengths.

        Returns:
            (n,).
        """
        found = self.rest.square().sum(1)
        for layer in self.layers:
            found = found + layer.squared()
        return found


@dataclass(eq=False)
class _Tap:
    """Adds to the outputs of linear layers what derivatives are taken by, and keeps what went in."""

    shifts: Mapping[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)

    def hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        """What a layer calls after its forward pass."""

        def passed(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            self.inputs[name] = args[0]
            return output + self.shifts[name]

        return passed


@dataclass(frozen=True, eq=False)
class Differentiation:
    """How the gradients of a network's samples are taken; `of` finds it out by one sample.

    Attributes:
        network: Inputs to logits.
        read: Makes the number of logits and label, or several numbers (r,), whose gradients then stand side by side.
        linear: Linear layers whose gradients are outer products, by name.
        size: Bytes that the gradients of a sample take.
        several: Whether what is read is several numbers.
    """

    network: nn.Module
    read: Read
    linear: Mapping[str, nn.Linear]
    size: int
    several: bool

    @classmethod
    def of(cls, network: nn.Module, one: Tensor, label: Tensor, *, read: Read) -> "Differentiation":
        """Look at a network by one sample.

        Args:
            network: Inputs to logits.
            one: Input (1, ...).
            label: Its label ().
            read: Makes the number, or numbers, of logits and label.

        Returns:
            How to differentiate it.

        Raises:
            InputError: If it is no module, trains nothing, or looks at several samples at once.
        """
        if not isinstance(network, nn.Module):
            raise InputError(f"network must be a torch.nn.Module, got {described(network)}")
        weights = trained(network)
        require_apart(network)
        linear = outer_products(network, one)
        inside = {id(p) for layer in linear.values() for p in layer.parameters()}
        rest = [p for p in network.parameters() if p.requires_grad and id(p) not in inside]
        with torch.no_grad():
            told = read(network(one).squeeze(0), label)
        numbers = sum(layer.out_features for layer in linear.values()) + sum(p.numel() for p in rest)
        numbers = told.numel() * numbers + sum(layer.in_features for layer in linear.values())
        size = max(w.element_size() for w in weights.values()) * numbers
        return cls(network, read, linear, size, several=told.ndim > 0)

    def at(self, x: Tensor, y: Tensor) -> Gradients:
        """Gradients of samples, all at once.

        Args:
            x: Inputs (n, ...).
            y: Labels (n,).

        Returns:
            Their gradients.
        """
        weights, rest, shifts = self._state()
        tap = _Tap()

        def number(own: dict[str, Tensor], add: dict[str, Tensor], one: Tensor, label: Tensor) -> tuple[Tensor, dict]:
            tap.shifts, tap.inputs = add, {}
            z = functional_call(self.network, (own, rest), (one[None],)).squeeze(0)
            return self.read(z, label), tap.inputs

        by_parameters = (jacrev if self.several else grad)(number, argnums=(0, 1), has_aux=True)
        with _tapped(self.linear, tap), mapped(self.network):
            each = vmap(by_parameters, in_dims=(None, None, 0, 0))
            (found, passed), inputs = each(weights, shifts, x, y)
        layers = tuple(self._layer(name, inputs[name], passed[name]) for name in self.linear)
        return Gradients(layers, _flat(found, x, dtype=next(self.network.parameters()).dtype))

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Parameters that are differentiated as they are, everything else, and zeros to add to linear layers."""
        inside = {id(p) for layer in self.linear.values() for p in layer.parameters()}
        names = {name for name, p in self.network.named_parameters() if id(p) in inside}
        weights = trained(self.network)
        own = {name: p for name, p in weights.items() if name not in names}
        rest = fixed(self.network) | {name: p for name, p in weights.items() if name in names}
        shifts = {name: layer.weight.detach().new_zeros(1, layer.out_features) for name, layer in self.linear.items()}
        return own, rest, shifts

    def _layer(self, name: str, inputs: Tensor, outputs: Tensor) -> Linear:
        weight, bias = self.linear[name].weight, self.linear[name].bias
        trains_bias = bias is not None and bias.requires_grad
        return Linear(inputs.flatten(1), outputs.flatten(1), weight.requires_grad, trains_bias)


@contextmanager
def _tapped(layers: Mapping[str, nn.Linear], tap: _Tap) -> Iterator[None]:
    handles = [layer.register_forward_hook(tap.hook(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _flat(found: Mapping[str, Tensor], x: Tensor, *, dtype: torch.dtype) -> Tensor:
    if not found:
        return torch.zeros(len(x), 0, dtype=dtype, device=x.device)
    return torch.cat([part.flatten(1) for part in found.values()], 1)
