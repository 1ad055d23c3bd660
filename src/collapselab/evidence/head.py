"""The linear classifier on top of the features."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError


@dataclass(frozen=True)
class LinearHead:
    """Logits z = W h + b with `weight` (k, d), rows are class vectors, and `bias` (k,) or None.

    Raises:
        InputError: If the shapes do not fit or a value is not finite.
    """

    weight: Tensor
    bias: Tensor | None = None

    def __post_init__(self) -> None:
        """Validate; see the class."""
        weight = checks.matrix(self.weight, "head weight", axes="(classes, features)")
        object.__setattr__(self, "weight", weight)
        if self.bias is None:
            return
        bias = checks.as_tensor(self.bias, "head bias")
        if bias.shape != (weight.shape[0],) or not bias.is_floating_point():
            expected = f"a floating-point vector of {weight.shape[0]} entries, one per row of the weight"
            raise InputError(f"head bias must be {expected}, got {checks.described(bias)}")
        object.__setattr__(self, "bias", checks.finite(bias, "head bias").to(weight.device))

    @classmethod
    def of(cls, weight: Any, bias: Any = None) -> "LinearHead":
        """From tensors, arrays or lists.

        Args:
            weight: (k, d).
            bias: (k,) or None.

        Returns:
            The validated head.
        """
        return cls(
            checks.as_tensor(weight, "head weight"), None if bias is None else checks.as_tensor(bias, "head bias")
        )

    @property
    def num_classes(self) -> int:
        """Rows of the weight."""
        return self.weight.shape[0]

    @property
    def num_features(self) -> int:
        """Columns of the weight."""
        return self.weight.shape[1]

    def double(self) -> "LinearHead":
        """The head in float64, on the CPU where its device has none.

        Returns:
            A new head.
        """
        from collapselab.core.linalg import accumulator_device

        device = accumulator_device(self.weight.device)
        bias = None if self.bias is None else self.bias.to(device).double()
        return LinearHead(self.weight.to(device).double(), bias)

    def logits(self, h: Tensor) -> Tensor:
        """Logits of features.

        Args:
            h: (n, d) of the head's dtype.

        Returns:
            (n, k).
        """
        z = h @ self.weight.T
        return z if self.bias is None else z + self.bias
