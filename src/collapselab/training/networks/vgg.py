"""VGG for small images."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from collapselab.core import checks
from collapselab.training.networks._layers import (
    check_num_features,
    he_normal,
    image_channels,
    pool,
    rectifier,
    stages,
)
from collapselab.training.networks._spec import Network, network

# Convolutions in each of the five groups (simonyan2015, table 1: A, B, D, E); the classifier stands for three layers.
_GROUPS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@network("vgg", label="VGG", source="simonyan2015")
@dataclass(frozen=True)
class VGG(Network):
    """Five groups of 3 x 3 convolutions, each closed by a 2 x 2 max-pool, then the mean over all places.

    The variant for images of 32 x 32: the three dense layers of the original are replaced by the one linear classifier,
    and there is no dropout (papyan2020). An odd side length is rounded up by the max-pools, so any size of input works.
    Stages: ``layer1`` to ``layer5``, ``pool``. Weights start normal as in he2015, biases at zero.

    Attributes:
        depth: 11, 13, 16 or 19; counts the three dense layers of the original.
        batch_norm: Whether to normalise over the batch before each ReLU.
        width: Channels of the first group; the others have 2, 4, 8 and 8 times as many.
        num_features: Channels of the last convolution, which is the number of features; by default 8 times the width.
        last_activation: Whether a ReLU follows the last convolution; if not, features can be negative.
    """

    depth: Literal[11, 13, 16, 19] = 11
    batch_norm: bool = True
    width: int = 64
    num_features: int | None = None
    last_activation: bool = True

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.one_of(self.depth, "depth", _GROUPS)
        checks.whole(self.width, "width", at_least=1)
        check_num_features(self.num_features)
        checks.flag(self.batch_norm, "batch_norm")
        checks.flag(self.last_activation, "last_activation")

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """A freshly initialised body; draws from torch's global generator.

        Args:
            shape: Shape of one input: (channels, height, width).

        Returns:
            Inputs to features (n, d), on the CPU; and d.
        """
        before = image_channels(shape, "vgg")
        named: dict[str, nn.Module] = {}
        for position, (count, factor) in enumerate(zip(_GROUPS[self.depth], (1, 2, 4, 8, 8), strict=True), start=1):
            widths = [factor * self.width] * count
            if position == 5 and self.num_features is not None:
                widths[-1] = self.num_features
            named[f"layer{position}"] = self._group(before, widths, last=position == 5)
            before = widths[-1]
        body = stages(named | {"pool": pool()})
        he_normal(body)
        return body, before

    def _group(self, before: int, widths: list[int], *, last: bool) -> nn.Sequential:
        layers: list[nn.Module] = []
        for position, width in enumerate(widths, start=1):
            layers.append(nn.Conv2d(before, width, 3, padding=1))
            if self.batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(rectifier(self.last_activation or not last or position < len(widths)))
            before = width
        return nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True))
