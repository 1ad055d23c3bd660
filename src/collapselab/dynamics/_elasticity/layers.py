"""Gradients of linear layers and convolutions as sums of outer products, never multiplied out where that is dearer.

The weight of such a layer has the gradient sum_t d_t a_t^T, of the rows a_t that go in (patches, for a convolution) and
the derivatives d_t by the rows that come out. Inner products of two are sums of (a_t . a'_s) (d_t . d'_s).
"""

from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

Module = nn.Linear | nn.Conv2d
"""Layers whose gradients are kept so."""

# Products of rows that are held at once.
_AT_ONCE = 2**22


def is_plain(module: nn.Module) -> TypeGuard[Module]:
    """Whether a layer is one of them, with a weight of its own that is all it is.

    Args:
        module: Any module.

    Returns:
        Whether it is.
    """
    if not isinstance(getattr(module, "weight", None), nn.Parameter):
        return False  # made anew before each call, of a parameter of another name
    if module._forward_hooks or "forward" in vars(module):
        return False  # what comes out may be anything
    if type(module) is nn.Conv2d:
        return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return type(module) is nn.Linear


@dataclass(frozen=True, eq=False)
class Layer:
    """Gradients of the weight and the bias of one layer, of r numbers a sample.

    Attributes:
        module: The layer.
        inputs: (n, ...) what went in.
        outputs: (n, r, ...) derivatives by what came out.
    """

    module: Module
    inputs: Tensor
    outputs: Tensor

    @property
    def _weight(self) -> bool:
        return self.module.weight.requires_grad

    @property
    def _bias(self) -> bool:
        return self.module.bias is not None and self.module.bias.requires_grad

    def rows_in(self) -> Tensor:
        """What the weight is multiplied with.

        Returns:
            (n, t, i).
        """
        m = self.module
        if isinstance(m, nn.Linear):
            return self.inputs.reshape(len(self.inputs), -1, m.in_features)
        return functional.unfold(self.inputs, m.kernel_size, m.dilation, m.padding, m.stride).mT  # pyright: ignore[reportArgumentType]

    def rows_out(self) -> Tensor:
        """Derivatives by what comes out.

        Returns:
            (n, t, r o).
        """
        n, r = self.outputs.shape[:2]
        if isinstance(self.module, nn.Linear):
            return self.outputs.reshape(n, r, -1, self.module.out_features).transpose(1, 2).flatten(2)
        return self.outputs.reshape(n, r * self.module.out_channels, -1).mT

    def weight_gradients(self) -> Tensor:
        """Gradients of the weight, multiplied out.

        Returns:
            (n, r o i).
        """
        return (self.rows_out().mT @ self.rows_in()).flatten(1)

    def inner(self, other: "Layer") -> Tensor:
        """Inner products with the gradients of m other samples.

        Args:
            other: Of the same layer.

        Returns:
            (n, m).
        """
        d, e = self.rows_out(), other.rows_out()
        if not self._weight:
            return d.sum(1) @ e.sum(1).T
        a, b = self.rows_in(), other.rows_in()
        if a.shape[1] == 1:
            return (a[:, 0] @ b[:, 0].T).add_(float(self._bias)).mul_(d[:, 0] @ e[:, 0].T)
        found = _products(a, b, d, e)
        return found.addmm_(d.sum(1), e.sum(1).T) if self._bias else found

    def squared(self) -> Tensor:
        """Squared lengths.

        Returns:
            (n,).
        """
        d = self.rows_out()
        found = d.sum(1).square().sum(1) if self._bias else d.new_zeros(len(d))
        if not self._weight:
            return found
        a = self.rows_in()
        if a.shape[1] * (a.shape[2] + d.shape[2]) > a.shape[2] * d.shape[2]:
            return found + (d.mT @ a).square().sum((1, 2))
        return found + ((a @ a.mT) * (d @ d.mT)).sum((1, 2))


def _products(a: Tensor, b: Tensor, d: Tensor, e: Tensor) -> Tensor:
    """Inner products (n, m) of weights' gradients, row by row or of what they are multiplied out, by what is less."""
    (n, t, i), (m, _, o) = a.shape, e.shape
    if n * m * t * t * (i + o) > ((n + m) * t + n * m) * i * o:
        return (d.mT @ a).flatten(1) @ (e.mT @ b).flatten(1).T
    into, out, size = b.flatten(0, 1).T, e.flatten(0, 1).T, max(1, _AT_ONCE // (m * t * t))
    parts = [
        (one.flatten(0, 1) @ into).mul_(two.flatten(0, 1) @ out).view(len(one), t, m, t).sum((1, 3))
        for one, two in zip(a.split(size), d.split(size), strict=True)
    ]
    return torch.cat(parts)
