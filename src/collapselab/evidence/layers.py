"""A layer whose input is taken as features, and the classifier in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from collapselab.evidence.head import LinearHead

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, eq=False)
class Layer:
    """The layer whose input is taken as features.

    Attributes:
        name: Its name in the model.
        module: The module.
        num_features: Width d of its input.
        num_outputs: Width of its output, K for a classifier; None where it is no linear layer.
        transposed: Whether its weight is stored (d, K), as in transformers' ``Conv1D``.
        channels_first: Whether features lie along axis 1, as for a 1 x 1 convolution.
        tied_to: Other modules that hold the same weight.
    """

    name: str
    module: nn.Module
    num_features: int
    num_outputs: int | None
    transposed: bool = False
    channels_first: bool = False
    tied_to: tuple[str, ...] = ()

    def head(self) -> LinearHead | None:
        """The layer's weight and bias as they are now.

        Returns:
            A copy that later training does not change; None where the layer is not linear.
        """
        weight = matrix_of(self.module)
        if self.num_outputs is None or weight is None:
            return None
        bias = bias_of(self.module)
        rows = weight.detach().T if self.transposed else weight.detach()
        return LinearHead(rows.clone(), None if bias is None else bias.detach().clone())

    def __str__(self) -> str:
        """What was chosen, in a few words."""
        if self.num_outputs is None:
            return f"{self.name!r} ({type(self.module).__name__}, {self.num_features} features, not linear)"
        bias = "bias" if bias_of(self.module) is not None else "no bias"
        tied = f", tied with {', '.join(map(repr, self.tied_to))}" if self.tied_to else ""
        kind = type(self.module).__name__
        return f"{self.name!r} ({kind}, {self.num_features} -> {self.num_outputs}, {bias}{tied})"


def _is_pointwise(module: nn.Module) -> bool:
    """A convolution that is a linear layer at every position."""
    return isinstance(module, CONVOLUTIONS) and module.groups == 1 and module.weight[0, 0].numel() == 1


def matrix_of(module: nn.Module) -> Tensor | None:
    """The matrix a module may multiply its input with, as it is stored.

    Args:
        module: Any module.

    Returns:
        A two-dimensional weight, or None.
    """
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return None
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        return None
    if _is_pointwise(module):
        return weight.flatten(1)
    return weight if weight.ndim == 2 else None


def bias_of(module: nn.Module) -> Tensor | None:
    """What a module may add.

    Args:
        module: Any module.

    Returns:
        Its bias, or None.
    """
    bias = getattr(module, "bias", None)
    return bias if isinstance(bias, Tensor) else None


def first_tensor(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The input of a layer among the arguments of its call.

    Args:
        args: Positional arguments.
        kwargs: Keyword arguments.

    Returns:
        The first floating-point tensor, or None.
    """
    return next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.is_floating_point()), None)


def features_last(x: Tensor, module: nn.Module) -> Tensor:
    """The input or output of a module with features along the last axis.

    Args:
        x: Input or output.
        module: Whose it is.

    Returns:
        A view.
    """
    return x.movedim(1, -1) if isinstance(module, CONVOLUTIONS) and x.ndim > 2 else x
