"""What several networks are made of, and the checks that they share."""

from collections import OrderedDict
from collections.abc import Mapping

from torch import nn

from collapselab.core import checks
from collapselab.core.errors import InputError


def stages(named: Mapping[str, nn.Module]) -> nn.Sequential:
    """A body whose children are the stages.

    Args:
        named: Stages in the order of the forward pass.

    Returns:
        One after the other.
    """
    return nn.Sequential(OrderedDict(named))


def convolution(inputs: int, outputs: int, size: int = 3, *, stride: int = 1) -> nn.Conv2d:
    """A square convolution without bias, for use with batch normalisation; at stride 1 it keeps the resolution.

    Args:
        inputs: Channels before.
        outputs: Channels after.
        size: Odd side length of the kernel.
        stride: Step in both directions.

    Returns:
        The layer.
    """
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


def rectifier(wanted: bool = True) -> nn.Module:
    """A ReLU, never in place: what a hook has kept of the layer before must stay as it was.

    Args:
        wanted: Whether there is to be one.

    Returns:
        The layer, or one that does nothing.
    """
    return nn.ReLU() if wanted else nn.Identity()


def pool() -> nn.Sequential:
    """The mean over all places.

    Returns:
        Maps (n, d, height, width) to features (n, d).
    """
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def he_normal(body: nn.Module) -> None:
    """Draw the weights of all convolutions anew, normal with variance 2 / (outputs x places of the kernel).

    That keeps the variance of gradients through convolution and ReLU (he2015, eq. 14). Biases start at zero.

    Args:
        body: What to initialise.
    """
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def image_channels(shape: tuple[int, ...], network: str) -> int:
    """Channels of an image.

    Args:
        shape: Shape of one input.
        network: Name of the network for the message.

    Returns:
        Their number.

    Raises:
        InputError: If the inputs are no images.
    """
    if len(shape) != 3:
        raise InputError(f"network {network} needs inputs (channels, height, width), got {shape}")
    return shape[0]


def check_num_features(value: object) -> None:
    """Refuse what is neither a number of features nor None.

    Args:
        value: What the caller gave.
    """
    if value is not None:
        checks.whole(value, "num_features", at_least=1)


def check_widths(widths: object, name: str = "widths") -> None:
    """Refuse widths that are no sequence of positive integers.

    Args:
        widths: What the caller gave.
        name: Its name in messages.

    Raises:
        InputError: If there is none, or one is not a positive integer.
    """
    if not isinstance(widths, tuple) or not widths:
        raise InputError(f"{name} must be one positive integer for each hidden layer, got {widths!r}")
    for width in widths:
        checks.whole(width, f"every entry of {name}", at_least=1)
