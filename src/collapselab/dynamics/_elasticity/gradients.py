"""Gradients of single samples, those of linear layers and convolutions as the outer products that they are."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

from collapselab.core.checks import described
from collapselab.core.errors import InputError
from collapselab.dynamics._elasticity.layers import Layer
from collapselab.dynamics._elasticity.outer import Place, outer_products, went_in
from collapselab.dynamics._mapped import mapped, require_apart
from collapselab.dynamics._tangent import Read, fixed, trained


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients of one number a sample, or of several side by side, by all trained parameters.

    Attributes:
        layers: Those of linear layers and convolutions.
        rest: (n, p) those of all other parameters.
    """

    layers: tuple[Layer, ...]
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
    """Adds to the outputs of layers what derivatives are taken by, and keeps what went in."""

    shifts: Mapping[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)

    def hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], dict[str, Tensor], Tensor], Tensor]:
        """What a layer calls after its forward pass."""

        def passed(_module: nn.Module, args: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor) -> Tensor:
            self.inputs[name] = went_in(args, named)
            return output + self.shifts[name]

        return passed


@dataclass(frozen=True, eq=False)
class Differentiation:
    """How the gradients of a network's samples are taken; `of` finds it out by one sample.

    Attributes:
        network: Inputs to logits.
        read: Makes the number of logits and label, or several numbers (r,), whose gradients then stand side by side.
        places: Layers whose gradients are sums of outer products, by name.
        entered: Bytes that what goes into these layers takes, for a sample.
        each: Bytes that the gradients of each number take, for a sample.
        count: How many numbers are read; None for one that is no vector.
        num_logits: What the network gives for a sample.
    """

    network: nn.Module
    read: Read
    places: Mapping[str, Place]
    entered: int
    each: int
    count: int | None
    num_logits: int

    @property
    def size(self) -> int:
        """Bytes that the gradients of a sample take."""
        return self.entered + (self.count or 1) * self.each

    def parts(self) -> Iterator["Differentiation"]:
        """The numbers that are read one by one.

        Yields:
            How to differentiate each.
        """
        if self.count is None:
            yield self
        for at in range(self.count or 0):
            yield replace(self, read=lambda z, label, at=at: self.read(z, label)[at], count=None)

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
            InputError: If it is no module, trains nothing, looks at several samples at once, or what is read are no
                real numbers.
        """
        require_apart(network)
        weights = trained(network)
        places = outer_products(network, one.clone())  # some networks write into what they are given
        inside = {id(p) for place in places.values() for p in place.module.parameters()}
        rest = [p for p in network.parameters() if p.requires_grad and id(p) not in inside]
        with torch.no_grad():
            z = network(one.clone()).squeeze(0)
        told = _read_of(z, label, read)
        bytes_each = max(w.element_size() for w in weights.values())
        passed = sum(place.shape.numel() for place in places.values()) + sum(p.numel() for p in rest)
        passed += max((place.multiplied_out for place in places.values()), default=0)
        entered = sum(place.inputs for place in places.values())
        count = len(told) if told.ndim else None
        return cls(network, read, places, bytes_each * entered, bytes_each * passed, count, z.numel())

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
            z = functional_call(self.network, (own, rest), (one[None].clone(),)).squeeze(0)
            return self.read(z, label), tap.inputs

        by_parameters = (grad if self.count is None else jacrev)(number, argnums=(0, 1), has_aux=True)
        with _tapped(self.places, tap), mapped(self.network):
            each = vmap(by_parameters, in_dims=(None, None, 0, 0))
            (found, passed), inputs = each(weights, shifts, x, y)
        layers = tuple(self._layer(name, inputs[name], passed[name]) for name in self.places)
        return Gradients(layers, _flat(found, x, dtype=next(self.network.parameters()).dtype))

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Parameters that are differentiated as they are, everything else, and zeros to add to layers."""
        inside = {id(p) for place in self.places.values() for p in place.module.parameters()}
        names = {name for name, p in self.network.named_parameters() if id(p) in inside}
        weights = trained(self.network)
        own = {name: p for name, p in weights.items() if name not in names}
        rest = fixed(self.network) | {name: p for name, p in weights.items() if name in names}
        shifts = {name: place.module.weight.detach().new_zeros(place.shape) for name, place in self.places.items()}
        return own, rest, shifts

    def _layer(self, name: str, inputs: Tensor, outputs: Tensor) -> Layer:
        """Gradients of a layer, of what went in (n, 1, ...) and derivatives (n, 1, ...) or (n, r, 1, ...)."""
        return Layer(self.places[name].module, inputs.squeeze(1), outputs if self.count is None else outputs.squeeze(2))


def _read_of(z: Tensor, label: Tensor, read: Read) -> Tensor:
    with torch.no_grad():
        told = read(z, label)
    if not isinstance(told, Tensor) or told.ndim > 1 or not told.numel() or not told.is_floating_point():
        raise InputError(f"read must give one real number or a vector of them, got {described(told)}")
    return told


@contextmanager
def _tapped(places: Mapping[str, Place], tap: _Tap) -> Iterator[None]:
    handles = [place.module.register_forward_hook(tap.hook(name), with_kwargs=True) for name, place in places.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _flat(found: Mapping[str, Tensor], x: Tensor, *, dtype: torch.dtype) -> Tensor:
    if not found:
        return torch.zeros(len(x), 0, dtype=dtype, device=x.device)
    return torch.cat([part.flatten(1) for part in found.values()], 1)
