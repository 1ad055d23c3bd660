"""LeNet-5 as it is written today, with ReLU and the largest value of each window."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import nn

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.networks._layers import check_widths, image_channels, stages
from collapselab.training.networks._spec import Network, network

_KERNEL = 5


@network("lenet", label="LeNet-5 with ReLU", source="lecun1998")
@dataclass(frozen=True)
class LeNet(Network):
    """Convolutions of width 5 without padding, each followed by ReLU and the largest of 2 x 2, then dense layers.

    There is no batch normalisation, so that each sample passes alone. Convolutions are the stages ``conv1`` and so on,
    dense layers with their ReLU ``dense1`` and so on; the last makes the features. Weights start as in torch: uniform,
    variance 1 / (3 inputs).

    Attributes:
        channels: Channels of each convolution.
        widths: Units of each dense layer; the last is the number of features.
        last_activation: Whether a ReLU follows the last dense layer; if not, features can be negative.
    """

    batch_norm: ClassVar[bool] = False

    channels: tuple[int, ...] = (6, 16)
    widths: tuple[int, ...] = (120, 84)
    last_activation: bool = True

    def __post_init__(self) -> None:
        """Check the fields."""
        check_widths(self.channels, "channels")
        check_widths(self.widths)
        checks.flag(self.last_activation, "last_activation")

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """A freshly initialised body; draws from torch's global generator.

        Args:
            shape: Shape of one input: (channels, height, width).

        Returns:
            Inputs to features (n, d), on the CPU; and d.

        Raises:
            InputError: If the images are too small for that many convolutions.
        """
        before = image_channels(shape, "lenet")
        places = self._side(shape[1], shape) * self._side(shape[2], shape)
        named: dict[str, nn.Module] = {}
        for position, (ins, outs) in enumerate(pairwise((before, *self.channels)), start=1):
            named[f"conv{position}"] = nn.Sequential(nn.Conv2d(ins, outs, _KERNEL), nn.ReLU(), nn.MaxPool2d(2))
        flat = self.channels[-1] * places
        for position, (ins, outs) in enumerate(pairwise((flat, *self.widths)), start=1):
            first: list[nn.Module] = [nn.Flatten()] if position == 1 else []
            last = [nn.ReLU()] if self.last_activation or position < len(self.widths) else []
            named[f"dense{position}"] = nn.Sequential(*first, nn.Linear(ins, outs), *last)
        return stages(named), self.widths[-1]

    def _side(self, side: int, shape: tuple[int, ...]) -> int:
        """Places along an edge that the last convolution leaves."""
        left = side
        for _ in self.channels:
            left = (left - _KERNEL + 1) // 2
            if left < 1:
                raise InputError(f"images must be larger for {len(self.channels)} convolutions of lenet, got {shape}")
        return left
