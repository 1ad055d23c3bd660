"""What stands between the body and the head."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from collapselab.core import checks

Centre = Literal["none", "mean", "batch_norm"]


@dataclass(frozen=True)
class Neck:
    """What is done to features before the head sees them: nothing, or some of three things, in this order.

    Attributes:
        linear: Width of a linear layer after the body, so that features behind a ReLU can have both signs; None for no
            such layer.
        centre: ``mean`` to subtract the mean of each feature, ``batch_norm`` to divide by its standard deviation as
            well, without learnable scales and shifts; ``none`` for neither. Both are those of the batch in training and
            running averages in evaluation.
        normalise: Whether each sample's features are scaled to one length; all-zero ones stay zero.
        radius: That length.
    """

    linear: int | None = None
    centre: Centre = "none"
    normalise: bool = False
    radius: float = 1.0

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.linear is not None:
            checks.whole(self.linear, "linear", at_least=1)
        checks.one_of(self.centre, "centre", get_args(Centre))
        checks.flag(self.normalise, "normalise")
        checks.real(self.radius, "radius", above=0)

    def build(self, num_features: int) -> tuple[nn.Module | None, int]:
        """The module; the weight of a linear layer is drawn from torch's global generator.

        Args:
            num_features: Width of what the body gives.

        Returns:
            Features to features, None for nothing; and d, the width of what the head gets.
        """
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        width = num_features if self.linear is None else self.linear
        if self.linear is not None:
            parts["linear"] = nn.Linear(num_features, width)
        if self.centre == "mean":
            parts["centre"] = Centring(width)
        elif self.centre == "batch_norm":
            parts["centre"] = nn.BatchNorm1d(width, affine=False)
        if self.normalise:
            parts["normalise"] = Normalisation(self.radius)
        return (nn.Sequential(parts) if parts else None), width


class Centring(nn.Module):
    """Subtract the mean: that of the batch in training, a running average in evaluation.

    Args:
        num_features: d.
        momentum: Weight of the newest batch in the running average, as in torch's batch normalisation.
    """

    running_mean: Tensor

    def __init__(self, num_features: int, *, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("running_mean", torch.zeros(num_features))

    def forward(self, h: Tensor) -> Tensor:
        """Centred features.

        Args:
            h: (n, d).

        Returns:
            (n, d).
        """
        if not self.training:
            return h - self.running_mean.to(h.dtype)
        mean = h.mean(0)
        with torch.no_grad():
            self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), self.momentum)
        return h - mean


class Normalisation(nn.Module):
    """Scale each row to one length.

    Args:
        radius: That length.
    """

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, h: Tensor) -> Tensor:
        """Features of one length.

        Args:
            h: (n, d).

        Returns:
            (n, d) rows of length `radius`, or zero.
        """
        return of_length(h, self.radius)

    def extra_repr(self) -> str:
        """What stands in brackets where the module is printed.

        Returns:
            The radius.
        """
        return f"radius={self.radius:g}"


def of_length(rows: Tensor, length: float) -> Tensor:
    """Rows scaled to one length.

    Args:
        rows: (n, d).
        length: Length afterwards.

    Returns:
        (n, d); rows of zeros stay zero, and their gradient is that of multiplication by `length`.
    """
    norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    # A small constant in place of zero would let a gradient of 1e12 through.
    return rows * (length / torch.where(norm > 0, norm, 1.0))
