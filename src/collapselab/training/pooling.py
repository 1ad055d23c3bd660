"""One row of features a sample, from the output of any module inside a network."""

from typing import Any, Literal

from torch import Tensor, nn

from collapselab.core.errors import InputError

Pooling = Literal["mean", "tokens", "first_token", "flatten"]
"""What becomes of an output with places.

The ``mean`` of each channel over places, of (n, c, ...); over ``tokens``, of (n, tokens, d), padding among them; the
``first_token`` alone; or all numbers, with ``flatten``.
"""

Axes = Literal["channels", "last", "unclear"]
"""Where an output has its features: along the second axis, as (n, c, ...), or along the last one, or who knows."""

_CONVOLUTIONS = (
    (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d),
    (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d),
    (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d),
)
"""Layers with channels along the second axis, by the number of axes behind it less 1."""


def axes_of(output: Tensor, module: nn.Module, *, foreign: bool) -> Axes:
    """Where the output of a module has its features, by the layers that it is made of.

    Args:
        output: (n, ...).
        module: What gave it.
        foreign: Whether it is part of a model of another library. All others give (n, c, ...), unless they hold layers
            of which the opposite is known.

    Returns:
        The place of the features; ``channels`` for outputs (n, d).
    """
    if output.ndim <= 2:
        return "channels"
    kinds = _CONVOLUTIONS[min(output.ndim, 5) - 3]
    parts = list(module.modules())
    second = any(isinstance(part, kinds) and _size(part) == output.shape[1] for part in parts)
    last = any(_size(part) == output.shape[-1] for part in parts if not isinstance(part, sum(_CONVOLUTIONS, ())))
    if second == last:
        return "unclear" if second or foreign else "channels"
    return "channels" if second else "last"


def _size(part: nn.Module) -> int | None:
    """How many features a layer gives; None if it does not mix or scale features."""
    if isinstance(part, nn.LayerNorm | nn.RMSNorm):
        return part.normalized_shape[-1]
    for name in ("out_features", "embedding_dim", "out_channels", "num_features"):
        found = getattr(part, name, None)
        if isinstance(found, int):
            return found
    return None


def pooled(output: Any, name: str, pooling: Pooling, *, axes: Axes = "channels") -> Tensor:
    """Features from the output of a module.

    Args:
        output: (n, ...).
        name: Name of the module.
        pooling: What becomes of places.
        axes: Where the features are.

    Returns:
        (n, d).

    Raises:
        InputError: If it is no tensor of samples, or the pooling would take the mean over features.
    """
    if not isinstance(output, Tensor) or output.ndim < 2:
        came = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise InputError(f"layers: stage {name} must give a tensor (n, c, ...), got {came}")
    if output.ndim == 2 or pooling == "flatten":
        return output.flatten(1)
    gives = f"layers: {name} gives {tuple(output.shape[1:])} for a sample"
    if pooling == "mean":
        if axes != "channels":
            raise InputError(
                f"{gives}, not known to be (channels, places): pooling must be tokens or first_token if the last axis"
                " has the features, or flatten, got mean"
            )
        return output.flatten(2).mean(2)
    if axes == "channels":
        raise InputError(f"{gives}, which is (channels, places): pooling must be mean or flatten, got {pooling}")
    if pooling == "tokens":
        return output.flatten(1, -2).mean(1)
    if output.ndim != 3:
        raise InputError(f"{gives}, where no token is the first: pooling must be tokens or flatten, got first_token")
    return output[:, 0]
