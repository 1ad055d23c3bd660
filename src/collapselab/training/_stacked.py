"""Networks of the same simple layers as one: the forward pass of all of them in as many operations as one takes.

`torch.func` does the same for any network, but what it costs besides arithmetic is several times that of small layers.
Vectors are (r, b, f) of networks, samples and units; images are (b, r c, h, w) with the channels of one network after
those of another, so that convolutions are grouped ones.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from collapselab.training.networks import Classifier

Layer = Callable[[Mapping[str, Tensor], Tensor], Tensor]

_ELEMENTWISE = (nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softplus)
_POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


class _Strange(Exception):
    """A layer that is not known here."""


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
        layers, still_images = _layers(network, "", images, count)
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


def _layers(module: nn.Module, prefix: str, images: bool, count: int) -> tuple[list[Layer], bool]:
    """The layers of a module, and whether images leave it."""
    kind = type(module)
    if kind in (nn.Sequential, Classifier):
        found: list[Layer] = []
        for name, child in module.named_children():
            more, images = _layers(child, f"{prefix}{name}.", images, count)
            found += more
        return found, images
    if kind in _ELEMENTWISE or (kind in _POOLING and images):
        return [lambda _, h: module(h)], images
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
        return [lambda _, h: h.unflatten(1, (count, -1)).flatten(2).transpose(0, 1)] if images else [], False
    if kind is nn.Linear and not images:
        return [_linear(prefix)], False
    if isinstance(module, nn.Conv2d) and kind is nn.Conv2d and images and module.padding_mode == "zeros":
        return [_convolution(module, prefix, count)], True
    raise _Strange


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


def _linear(prefix: str) -> Layer:
    def layer(parameters: Mapping[str, Tensor], h: Tensor) -> Tensor:
        found, bias = _Product.apply(h, parameters[f"{prefix}weight"]), parameters.get(f"{prefix}bias")
        return found if bias is None else found + bias[:, None]

    return layer


def _convolution(module: nn.Conv2d, prefix: str, count: int) -> Layer:
    def layer(parameters: Mapping[str, Tensor], h: Tensor) -> Tensor:
        weight, bias = parameters[f"{prefix}weight"].flatten(0, 1), parameters.get(f"{prefix}bias")
        flat = None if bias is None else bias.flatten()
        groups = module.groups * count
        return functional.conv2d(h, weight, flat, module.stride, module.padding, module.dilation, groups)

    return layer
