"""Densely connected networks for small images."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.training.networks._layers import (
    check_num_features,
    convolution,
    he_normal,
    image_channels,
    pool,
    rectifier,
    stages,
)
from collapselab.training.networks._spec import Network, network

# Layers in each dense block, and the growth rate; 40 is plain, 121 has bottlenecks and compression (huang2017).
_BLOCKS = {40: (12, 12, 12), 121: (6, 12, 24, 16)}
_GROWTH = {40: 12, 121: 32}


class Dense(nn.Module):
    """Appends new channels to those that come in.

    Args:
        branch: Makes the new channels.
    """

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """The layer.

        Args:
            x: Maps (n, channels, height, width).

        Returns:
            Maps with more channels.
        """
        return torch.cat([x, self.branch(x)], dim=1)


@network("densenet", label="DenseNet", source="huang2017")
@dataclass(frozen=True)
class DenseNet(Network):
    """Blocks of layers that each see all channels made before in the block, then the mean over all places.

    The variant for images of 32 x 32 begins with a 3 x 3 convolution at full resolution. An odd side length is rounded
    up where the resolution is halved, so any size of input works. There is no dropout (papyan2020). Stages: ``stem``,
    ``layer1`` and so on (a dense block and the transition after it), ``norm`` (batch normalisation and ReLU), ``pool``.
    Weights start normal as in he2015.

    Attributes:
        depth: 40 (three blocks, plain) or 121 (four blocks with bottlenecks, transitions that halve the channels).
        growth: New channels a layer; by default 12 at depth 40 and 32 at depth 121.
        num_features: Number of features. The last block is then followed by a transition of its own: batch
            normalisation, ReLU and a 1 x 1 convolution to so many channels. By default what the last block gives.
        last_activation: Whether a ReLU closes the body; if not, features are as batch normalisation leaves them.
    """

    depth: Literal[40, 121] = 40
    growth: int | None = None
    num_features: int | None = None
    last_activation: bool = True

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.one_of(self.depth, "depth", _BLOCKS)
        if self.growth is not None:
            checks.whole(self.growth, "growth", at_least=1)
        check_num_features(self.num_features)
        checks.flag(self.last_activation, "last_activation")

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """A freshly initialised body; draws from torch's global generator.

        Args:
            shape: Shape of one input: (channels, height, width).

        Returns:
            Inputs to features (n, d), on the CPU; and d.
        """
        growth = self.growth or _GROWTH[self.depth]
        compressed = self.depth == 121
        before = 2 * growth if compressed else 16
        named: dict[str, nn.Module] = {"stem": convolution(image_channels(shape, "densenet"), before)}
        blocks = _BLOCKS[self.depth]
        for stage, count in enumerate(blocks, start=1):
            layers = [self._dense(before + place * growth, growth) for place in range(count)]
            before += count * growth
            if stage < len(blocks):
                after = before // 2 if compressed else before
                layers.append(nn.Sequential(_narrowed(before, after), nn.AvgPool2d(2, ceil_mode=True)))
                before = after
            elif self.num_features is not None:
                layers.append(_narrowed(before, self.num_features))
                before = self.num_features
            named[f"layer{stage}"] = nn.Sequential(*layers)
        named["norm"] = nn.Sequential(nn.BatchNorm2d(before), rectifier(self.last_activation))
        body = stages(named | {"pool": pool()})
        he_normal(body)
        return body, before

    def _dense(self, inputs: int, growth: int) -> nn.Module:
        if self.depth == 40:
            return Dense(nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), convolution(inputs, growth)))
        inner = 4 * growth
        bottleneck = _narrowed(inputs, inner)
        return Dense(nn.Sequential(*bottleneck, nn.BatchNorm2d(inner), nn.ReLU(), convolution(inner, growth)))


def _narrowed(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), convolution(inputs, outputs, 1))
