"""Wide residual networks."""

from dataclasses import dataclass

from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import InputError
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


class PreActivated(nn.Module):
    """A residual block that normalises and rectifies before each of its two convolutions.

    Args:
        inputs: Channels before.
        width: Channels between the convolutions.
        outputs: Channels after.
        stride: Step of the first convolution.
    """

    def __init__(self, inputs: int, width: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.branch = nn.Sequential(
            convolution(inputs, width, stride=stride), nn.BatchNorm2d(width), nn.ReLU(), convolution(width, outputs)
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else convolution(inputs, outputs, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """The block.

        Args:
            x: Maps (n, channels, height, width).

        Returns:
            Maps.
        """
        ready = self.before(x)
        return (x if self.shortcut is None else self.shortcut(ready)) + self.branch(ready)


@network("wide_resnet", label="Wide ResNet", source="zagoruyko2016")
@dataclass(frozen=True)
class WideResNet(Network):
    """Pre-activated residual blocks in three stages of many channels, then the mean over all places.

    For images of 32 x 32; any smaller size works too. There is no dropout. Stages: ``stem``, ``layer1`` to ``layer3``,
    ``norm`` (batch normalisation and ReLU), ``pool``. Weights start normal as in he2015.

    Attributes:
        depth: 6 n + 4 for n blocks a stage.
        widen: The k of WRN-28-k: the stages have 16 k, 32 k and 64 k channels; 1 for a plain pre-activated ResNet.
        num_features: Channels that the last block gives, which is the number of features; by default 64 k.
        last_activation: Whether a ReLU closes the body; if not, features are as batch normalisation leaves them.
    """

    depth: int = 28
    widen: int = 10
    num_features: int | None = None
    last_activation: bool = True

    def __post_init__(self) -> None:
        """Check the fields."""
        if checks.whole(self.depth, "depth", at_least=10) % 6 != 4:
            raise InputError(f"depth must be 6 n + 4 for n blocks a stage, such as 16, 22, 28, 40, got {self.depth}")
        checks.whole(self.widen, "widen", at_least=1)
        check_num_features(self.num_features)
        checks.flag(self.last_activation, "last_activation")

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """A freshly initialised body; draws from torch's global generator.

        Args:
            shape: Shape of one input: (channels, height, width).

        Returns:
            Inputs to features (n, d), on the CPU; and d.
        """
        named: dict[str, nn.Module] = {"stem": convolution(image_channels(shape, "wide_resnet"), 16)}
        before, count = 16, (self.depth - 4) // 6
        for stage in range(3):
            width = 16 * 2**stage * self.widen
            layers: list[nn.Module] = []
            for block in range(count):
                last = stage == 2 and block == count - 1
                outputs = self.num_features if last and self.num_features is not None else width
                layers.append(PreActivated(before, width, outputs, stride=2 if stage > 0 and block == 0 else 1))
                before = outputs
            named[f"layer{stage + 1}"] = nn.Sequential(*layers)
        named["norm"] = nn.Sequential(nn.BatchNorm2d(before), rectifier(self.last_activation))
        body = stages(named | {"pool": pool()})
        he_normal(body)
        return body, before
