"""Convolutional network for one-dimensional signals."""

from dataclasses import dataclass

from torch import nn

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.networks._layers import check_num_features, check_widths, stages
from collapselab.training.networks._spec import Network, network

# The first convolution: five wide, padded by one on each side.
_FIRST, _PADDING = 5, 1
_SHORTEST = _FIRST - 2 * _PADDING


@network("convnet1d", label="ConvNet for signals", source="greydanus2024")
@dataclass(frozen=True)
class ConvNet1d(Network):
    """Convolutions of stride 2 along a signal, flattened: the network that MNIST-1D was published with.

    The first convolution is 5 wide and the others are 3 wide. Unlike in `cnn` the features keep their places, unless a
    dense layer mixes them. Every layer is a stage, ``layer1`` and so on; ``flatten`` follows the last convolution and
    ``dense``, if there is one, comes last. Weights start as in torch: uniform, variance 1 / (3 inputs).

    Attributes:
        widths: Channels of each convolution.
        batch_norm: Whether to normalise over the batch before each ReLU.
        num_features: Units of a dense layer with ReLU after the convolutions, which is the number of features. By
            default there is none, and the features are the last convolution's values at all places: 125 at length 40.
        last_activation: Whether a ReLU follows the layer that makes the features; if not, they can be negative.
    """

    widths: tuple[int, ...] = (25, 25, 25)
    batch_norm: bool = False
    num_features: int | None = None
    last_activation: bool = True

    def __post_init__(self) -> None:
        """Check the fields."""
        check_widths(self.widths)
        check_num_features(self.num_features)
        checks.flag(self.batch_norm, "batch_norm")
        checks.flag(self.last_activation, "last_activation")

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """A freshly initialised body; draws from torch's global generator.

        Args:
            shape: Shape of one input: (channels, length).

        Returns:
            Inputs to features (n, d), on the CPU; and d.

        Raises:
            InputError: If the inputs have another number of axes, or are shorter than 3.
        """
        if len(shape) != 2 or shape[1] < _SHORTEST:
            raise InputError(
                f"network convnet1d needs inputs (channels, length) of length {_SHORTEST} or more, got {shape}"
            )
        before, length = shape
        named: dict[str, nn.Module] = {}
        for position, width in enumerate(self.widths, start=1):
            size = _FIRST if position == 1 else 3
            rectified = self.last_activation or position < len(self.widths) or self.num_features is not None
            conv = nn.Conv1d(before, width, size, stride=2, padding=_PADDING)
            named[f"layer{position}"] = self._layer(conv, width, rectified=rectified)
            before, length = width, (length + 2 * _PADDING - size) // 2 + 1
        named["flatten"] = nn.Flatten()
        before *= length
        if self.num_features is not None:
            dense = nn.Linear(before, self.num_features)
            named["dense"] = self._layer(dense, self.num_features, rectified=self.last_activation)
            before = self.num_features
        return stages(named), before

    def _layer(self, linear: nn.Module, width: int, *, rectified: bool) -> nn.Sequential:
        norm = [nn.BatchNorm1d(width)] if self.batch_norm else []
        return nn.Sequential(linear, *norm, *([nn.ReLU()] if rectified else []))
