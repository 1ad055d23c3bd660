"""Networks of the same simple layers as one: the forward pass of all of them in as many operations as one takes.

`torch.func` does the same for any network, but what it costs besides arithmetic is several times that of small layers.
Vectors are (r, b, f) of networks, samples and units; images are (b, r c, h, w) with the channels of one network after
those of another, so that convolutions are grouped ones.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from collapselab.training.networks import Classifier

Layer = Callable[[Mapping[str, Tensor], Tensor], Tensor]

_ELEMENTWISE = (nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softplus)
_POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


class _Strange(Exception):
    """A layer that is not known here."""


class _Known(NamedTuple):
    """What layers are built for: how many networks, and the names of their parameters, shared ones under the first."""

    networks: int
    parameters: set[str]


def stacked(network: nn.Module, shape: tuple[int, ...], count: int) -> Layer | None:
    """The forward pass of networks of the same layers.

    Args:
        network: One of them.
        shape: Shape of one input.
        count: r.

    Returns:
        Stacked parameters (r, ...) by name and inputs (r, b, ...) to logits (r, b, k); None where the network is not a
        row of linear layers, convolutions, poolings and activations.
    """
    if len(shape) not in (1, 3):
        return None
    images = len(shape) == 3
    try:
        layers, still_images = _layers(
            network, "", images, _Known(count, {name for name, _ in network.named_parameters()})
        )
    except _Strange:
        return None
    if still_images:
        return None

    def forward(parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        h = x.transpose(0, 1).flatten(1, 2) if images else x
        for layer in layers:
            h = layer(parameters, h)
        return h

    return forward


def _layers(module: nn.Module, prefix: str, images: bool, known: _Known) -> tuple[list[Layer], bool]:
    """The layers of a module, and whether images leave it."""
    kind = type(module)
    _require_plain(module)
    if kind in (nn.Sequential, Classifier):
        found: list[Layer] = []
        for name, child in _children(module):
            more, images = _layers(child, f"{prefix}{name}.", images, known)
            found += more
        return found, images
    if kind in _ELEMENTWISE or (kind in _POOLING and images):
        return [lambda _, h: module(h)], images
    if isinstance(module, nn.Flatten) and kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
        return [lambda _, h: h.unflatten(1, (known.networks, -1)).flatten(2).transpose(0, 1)] if images else [], False
    if isinstance(module, nn.Linear) and kind is nn.Linear and not images:
        return [_linear(module, prefix, known)], False
    if isinstance(module, nn.Conv2d) and kind is nn.Conv2d and images and module.padding_mode == "zeros":
        return [_convolution(module, prefix, known)], True
    raise _Strange


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Parts in the order in which they act; one that acts twice stands there twice."""
    if isinstance(module, Classifier):
        return [("body", module.body), ("neck", module.neck), ("head", module.head)]
    found = module.named_modules(remove_duplicate=False)
    return [(name, child) for name, child in found if name and "." not in name]


def _require_plain(module: nn.Module) -> None:
    """Hooks and methods that were replaced change what a layer does, and its type does not show it."""
    own = vars(module)
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if "forward" in own or "features" in own or any(own[name] for name in hooks):
        raise _Strange


def _names(module: nn.Linear | nn.Conv2d, prefix: str, known: _Known) -> tuple[str, str | None]:
    """What weight and bias are called; each must be a parameter, and not one of another layer."""
    weight, bias = f"{prefix}weight", None if module.bias is None else f"{prefix}bias"
    if not {name for name in (weight, bias) if name} <= known.parameters:
        raise _Strange
    return weight, bias


class _Product(torch.autograd.Function):
    """Inputs (r, b, i) times weights (r, o, i): a product of single rows in the backward pass is no matrix product.

    The gradient of the weights of single samples is an outer product, for which the matrix product of torch takes six
    times as long as for writing the numbers down.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(h, weight)
        return torch.bmm(h, weight.mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (g,), (h, weight) = gradients, ctx.saved_tensors
        of_inputs, of_weights = None, None
        if ctx.needs_input_grad[0]:
            of_inputs = torch.bmm(g, weight)
        if ctx.needs_input_grad[1]:
            of_weights = g.mT * h if h.shape[1] == 1 else torch.bmm(g.mT, h)
        return of_inputs, of_weights


def _linear(module: nn.Linear, prefix: str, known: _Known) -> Layer:
    weight, bias = _names(module, prefix, known)

    def layer(parameters: Mapping[str, Tensor], h: Tensor) -> Tensor:
        found = _Product.apply(h, parameters[weight])
        return found if bias is None else found + parameters[bias][:, None]

    return layer


def _convolution(module: nn.Conv2d, prefix: str, known: _Known) -> Layer:
    weight, bias = _names(module, prefix, known)

    def layer(parameters: Mapping[str, Tensor], h: Tensor) -> Tensor:
        flat = None if bias is None else parameters[bias].flatten()
        kernel, groups = parameters[weight].flatten(0, 1), module.groups * known.networks
        return functional.conv2d(h, kernel, flat, module.stride, module.padding, module.dilation, groups)

    return layer
