"""Heads whose class vectors are given by geometry and stay where they are."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.heads._spec import Head


class FixedLinear(nn.Linear):
    """A linear layer whose weight is not trained, and is the nearest to exact rows in whatever dtype it has.

    The weight is a parameter without gradient: it is saved, loaded, copied, moved and sent to other processes like any
    other, but no optimiser and no weight decay touches it.

    Args:
        rows: (k, d) class vectors in float64.
        bias: Whether there is a bias, which is trained; it starts at zero.
    """

    def __init__(self, rows: Tensor, *, bias: bool) -> None:
        super().__init__(rows.shape[1], rows.shape[0], bias=False)
        self.weight = nn.Parameter(rows.to(self.weight.dtype), requires_grad=False)
        if bias:
            self.bias = nn.Parameter(torch.zeros_like(self.weight[:, 0]))
        self._rows = rows.detach().clone()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move or cast; a cast starts from the exact rows, unless other ones were loaded in the meantime."""
        before = self.weight.dtype
        exact = not self.weight.is_meta and torch.equal(self.weight, self._rows.to(self.weight))
        super()._apply(fn, recurse)
        if exact and self.weight.dtype != before and not self.weight.is_meta:
            with torch.no_grad():
                self.weight.copy_(self._rows)
        return self


@dataclass(frozen=True)
class FixedHead(Head):
    """Base of heads with fixed class vectors of one length.

    Attributes:
        scale: Length of each class vector.
        bias: Whether logits have a bias, which is trained and starts at zero.
        reserve: Number of class vectors, at least K; None for K. Those beyond the K classes of the data wait for
            classes to come: they give logits like the others, and until such classes come they are only pushed away.
    """

    scale: float = 1.0
    bias: bool = False
    reserve: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.scale, "scale", above=0)
        checks.flag(self.bias, "bias")
        if self.reserve is not None:
            checks.whole(self.reserve, "reserve", at_least=2)

    @abstractmethod
    def rows(self, num_features: int, num_vectors: int) -> Tensor:
        """The class vectors before they are scaled.

        Args:
            num_features: d.
            num_vectors: How many.

        Returns:
            (num_vectors, d) unit rows in float64, on the CPU.
        """

    def build(self, num_features: int, num_classes: int) -> nn.Linear:
        """A new head; a random orientation is drawn from torch's global generator.

        Args:
            num_features: d.
            num_classes: K.

        Returns:
            A linear layer with K logits, or as many as are reserved; its weight needs no gradient.

        Raises:
            InputError: If the class vectors do not fit into so many dimensions, or fewer than K are reserved.
        """
        num_vectors = num_classes if self.reserve is None else self.reserve
        if num_vectors < num_classes:
            raise InputError(f"reserve must be at least {num_classes}, the number of classes, got {num_vectors}")
        return FixedLinear(self.scale * self.rows(num_features, num_vectors), bias=self.bias)


def turned_by(orientation: str) -> torch.Generator | None:
    """Where a configuration's position comes from.

    Args:
        orientation: Of a head.

    Returns:
        The global generator for ``random``, otherwise None.
    """
    return torch.default_generator if orientation == "random" else None
