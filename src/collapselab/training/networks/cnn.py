"""A small convolutional network for images and for signals."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.networks._layers import check_widths, stages
from collapselab.training.networks._spec import Network, network


@network("cnn", label="convolutional network", source="papyan2020")
@dataclass(frozen=True)
class CNN(Network):
    """Convolutions of width 3, each followed by batch normalisation and ReLU, then the mean over all places.

    From the second layer on each convolution halves the resolution (stride 2). Inputs (channels, length) are convolved
    in one dimension, inputs (channels, height, width) in two. Every convolution is a stage, ``layer1`` and so on; the
    last stage is ``pool``. Weights start as in torch: uniform, variance 1 / (3 inputs).

    Attributes:
        widths: Channels of each convolution; the last is the number of features.
        batch_norm: Whether to normalise over the batch before each ReLU.
        bias: Whether the convolutions have a bias. Without bias and batch normalisation the network is homogeneous.
        last_activation: Whether a ReLU follows the last convolution; if not, features can be negative.
    """

    default_widths: ClassVar[tuple[int, ...]] = (32, 64, 64)

    widths: tuple[int, ...] = default_widths
    batch_norm: bool = True
    bias: bool = True
    last_activation: bool = True

    def __post_init__(self) -> None:
        """Check the fields."""
        check_widths(self.widths)
        checks.flag(self.batch_norm, "batch_norm")
        checks.flag(self.bias, "bias")
        checks.flag(self.last_activation, "last_activation")

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """A freshly initialised body; draws from torch's global generator.

        Args:
            shape: Shape of one input: (channels, length) or (channels, height, width).

        Returns:
            Inputs to features (n, d), on the CPU; and d.

        Raises:
            InputError: If the inputs have another number of axes.
        """
        if len(shape) not in (2, 3):
            raise InputError(f"network cnn needs inputs (channels, length) or (channels, height, width), got {shape}")
        flat = len(shape) == 2
        conv, norm = (nn.Conv1d, nn.BatchNorm1d) if flat else (nn.Conv2d, nn.BatchNorm2d)
        named: dict[str, nn.Module] = {}
        before = shape[0]
        for position, width in enumerate(self.widths, start=1):
            stride = 1 if position == 1 else 2
            layers: list[nn.Module] = [conv(before, width, 3, stride=stride, padding=1, bias=self.bias)]
            if self.batch_norm:
                layers.append(norm(width))
            if self.last_activation or position < len(self.widths):
                layers.append(nn.ReLU())
            named[f"layer{position}"] = nn.Sequential(*layers)
            before = width
        named["pool"] = nn.Sequential(nn.AdaptiveAvgPool1d(1) if flat else nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return stages(named), before
