"""Residual networks."""

from dataclasses import dataclass
from typing import Literal

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

# Blocks in each stage: with four stages table 1 of he2016, with three its section 4.2 (depth 6 n + 2).
_BLOCKS = {
    **{18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)},
    **{6 * n + 2: (n, n, n) for n in (3, 5, 7, 9, 18)},
}
_BOTTLENECKS = (50, 101, 152)


class Residual(nn.Module):
    """Shortcut plus branch, then ReLU.

    Args:
        branch: The layers that are learnt.
        shortcut: The way around them.
        rectified: Whether a ReLU follows the sum.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module, *, rectified: bool = True) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.last = rectifier(rectified)

    def forward(self, x: Tensor) -> Tensor:
        """The block.

        Args:
            x: Maps (n, channels, height, width).

        Returns:
            Maps.
        """
        return self.last(self.shortcut(x) + self.branch(x))


@network("resnet", label="ResNet", source="he2016")
@dataclass(frozen=True)
class ResNet(Network):
    """Residual blocks in four stages, each after the first at half the resolution, then the mean over all places.

    The variant for images of 32 x 32 begins with a 3 x 3 convolution at full resolution; any smaller size works too.
    Where a block changes the resolution or the number of channels its shortcut is a 1 x 1 convolution with batch
    normalisation, also at the depths 20 to 110, where the original pads with zeros. Bottlenecks have their stride in
    the 3 x 3 convolution. Stages: ``stem``, ``layer1`` to ``layer4`` (``layer3`` at depths 20 to 110), ``pool``.
    Weights start normal as in he2015.

    Attributes:
        depth: 18 or 34 (two 3 x 3 convolutions a block), 50, 101 or 152 (bottlenecks), or the thin 20, 32, 44, 56 or
            110 with three stages.
        width: Channels of the first stage; doubled in each further one. By default 64, and 16 at depths 20 to 110.
        num_features: Channels that the last block gives, which is the number of features (as in zhu2021, where it is
            the number of classes); by default as many as the other blocks of the last stage give.
        stem: What comes first: ``cifar``, a 3 x 3 convolution; or ``imagenet``, one of 7 x 7 and a max-pool, each of
            which halves the resolution.
        last_activation: Whether a ReLU closes the last block; if not, features can be negative.
    """

    depth: Literal[18, 34, 50, 101, 152, 20, 32, 44, 56, 110] = 18
    width: int | None = None
    num_features: int | None = None
    stem: Literal["cifar", "imagenet"] = "cifar"
    last_activation: bool = True

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.one_of(self.depth, "depth", _BLOCKS)
        if self.width is not None:
            checks.whole(self.width, "width", at_least=1)
        check_num_features(self.num_features)
        checks.one_of(self.stem, "stem", ("cifar", "imagenet"))
        checks.flag(self.last_activation, "last_activation")

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """A freshly initialised body; draws from torch's global generator.

        Args:
            shape: Shape of one input: (channels, height, width).

        Returns:
            Inputs to features (n, d), on the CPU; and d.
        """
        blocks = _BLOCKS[self.depth]
        width = self.width or (64 if len(blocks) == 4 else 16)
        named: dict[str, nn.Module] = {"stem": self._stem(image_channels(shape, "resnet"), width)}
        before = width
        for stage, count in enumerate(blocks):
            layers: list[nn.Module] = []
            for block in range(count):
                last = stage == len(blocks) - 1 and block == count - 1
                stride = 2 if block == 0 and stage > 0 else 1
                made, before = self._block(before, width * 2**stage, stride=stride, last=last)
                layers.append(made)
            named[f"layer{stage + 1}"] = nn.Sequential(*layers)
        body = stages(named | {"pool": pool()})
        he_normal(body)
        return body, before

    def _stem(self, channels: int, width: int) -> nn.Sequential:
        if self.stem == "cifar":
            return nn.Sequential(convolution(channels, width), nn.BatchNorm2d(width), nn.ReLU())
        first = convolution(channels, width, 7, stride=2)
        return nn.Sequential(first, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))

    def _block(self, inputs: int, width: int, *, stride: int, last: bool) -> tuple[nn.Module, int]:
        """A block, and the number of channels that it gives."""
        bottleneck = self.depth in _BOTTLENECKS
        outputs = 4 * width if bottleneck else width
        if last and self.num_features is not None:
            outputs = self.num_features
        if bottleneck:
            steps = [(convolution(inputs, width, 1), width), (convolution(width, width, stride=stride), width)]
            steps.append((convolution(width, outputs, 1), outputs))
        else:
            steps = [(convolution(inputs, width, stride=stride), width), (convolution(width, outputs), outputs)]
        layers = [layer for step, channels in steps for layer in (step, nn.BatchNorm2d(channels), nn.ReLU())]
        shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            shortcut = nn.Sequential(convolution(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))
        branch = nn.Sequential(*layers[:-1])
        return Residual(branch, shortcut, rectified=self.last_activation or not last), outputs
