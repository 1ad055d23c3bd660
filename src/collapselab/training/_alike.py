"""What networks, and samples that are drawn, must be like to be trained as one."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.data import Samples

_MIXING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_DRAWING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def require_alike(networks: Sequence[nn.Module]) -> None:
    """Refuse networks of which one cannot stand for all.

    Args:
        networks: At least one.

    Raises:
        InputError: If they differ in layers, in shapes or in what is trained, or nothing in them is.
    """
    first = _described(networks[0])
    for number, other in enumerate(networks[1:], start=1):
        if _described(other) != first:
            raise InputError(f"networks must be of the same layers, got number {number} unlike number 0")
    if not any(weights.requires_grad for weights in networks[0].parameters()):
        raise InputError("networks must have weights that are trained, got none")
    for name, module in networks[0].named_modules():
        if "forward" in vars(module):  # it may hold the weights of the network that it was made for
            raise InputError(f"networks must pass as their classes say, got a replaced forward at {name or 'the top'}")


def _described(network: nn.Module) -> tuple[str, bool, list[tuple[str, object, object, object]]]:
    weights = network.named_parameters()
    return (
        repr(network),
        network.training,
        [(name, one.shape, one.dtype, one.requires_grad) for name, one in weights],
    )


def require_separable(network: nn.Module) -> None:
    """Refuse a network of which several cannot be trained as one.

    Args:
        network: The network.

    Raises:
        InputError: If it has batch normalisation or dropout; the message says where.
    """
    for name, module in network.named_modules():
        drawing = isinstance(module, _DRAWING) and module.p > 0
        tracking = getattr(module, "track_running_stats", False)
        if drawing or tracking or isinstance(module, _MIXING):
            raise InputError(
                "networks must be without batch normalisation and dropout to be trained side by side, got"
                f" {type(module).__name__} at {name or 'the top'}"
            )


def copied(network: nn.Module) -> nn.Module:
    """A network of its own, in train mode.

    Args:
        network: What to copy.

    Returns:
        The copy.

    Raises:
        InputError: If it holds tensors that were computed, as old weight normalisation does.
    """
    try:
        return copy.deepcopy(network).train()
    except RuntimeError as error:
        raise InputError(f"networks must be such that can be copied, got: {str(error).splitlines()[0]}") from error


def require_drawable(samples: Samples, draws: Sequence[torch.Generator]) -> None:
    """Refuse samples that cannot be drawn one by one, and generators that draw for two.

    Args:
        samples: What is drawn from.
        draws: A generator for each network.

    Raises:
        InputError: If inputs are made on demand, there are none, labels are no classes, or a generator is there twice.
    """
    if not samples.in_memory:
        raise InputError("samples must be in memory to be drawn one by one, got inputs that are made on demand")
    if len(samples) == 0:
        raise InputError("samples must be at least one, got none")
    if samples.y.dtype != torch.int64:
        raise InputError(f"labels must be integers of 64 bits, got {checks.described(samples.y)}")
    checks.labels_in_range(samples.y, checks.classes_of(samples.y))
    if len({id(one) for one in draws}) < len(draws):
        raise InputError("draws must be a generator of its own for each network, got one twice")
