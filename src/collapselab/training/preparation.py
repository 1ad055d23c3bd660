"""A network and its data as a plan wants them, and what a plan cannot do with them."""

import torch
from torch import nn

from collapselab.core.errors import InputError
from collapselab.training.data import Samples, Splits
from collapselab.training.networks import Classifier
from collapselab.training.plan import Plan
from collapselab.training.sharding import Processes


def prepared(network: Classifier, plan: Plan, fabric: Processes, *, shape: tuple[int, ...]) -> Classifier:
    """A network where it is trained, in the precision and the layout of the plan.

    Args:
        network: Changed in place.
        plan: How it is to be trained.
        fabric: The processes.
        shape: Shape of one input.

    Returns:
        The network.

    Raises:
        InputError: If the inputs are no images and are to be kept channels last.
    """
    if plan.sync_batch_norm:
        _require_sync(network, fabric)
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    if plan.channels_last and len(shape) != 3:
        raise InputError(f"channels_last must be false except for images (c, h, w), got inputs of shape {shape}")
    network.to(fabric.device)
    if plan.precision == "float64":
        network.double()
    if plan.channels_last:
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return network


def _require_sync(network: nn.Module, fabric: Processes) -> None:
    if fabric.device.type != "cuda":
        raise InputError(f"sync_batch_norm must be false except on cuda, got device {fabric.device}")
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        raise InputError("sync_batch_norm needs a network with batch normalisation, got one without")


def converted(data: Splits, plan: Plan) -> Splits:
    """Data in the precision of the plan.

    Args:
        data: Both splits.
        plan: How the network is to be trained.

    Returns:
        New splits for float64; these otherwise.
    """
    if plan.precision != "float64":
        return data
    return Splits(_double(data.train), _double(data.test), data.num_classes)


def _double(samples: Samples) -> Samples:
    if not samples.in_memory:
        raise InputError("precision must be float32 or bfloat16 for inputs that are made on demand, got float64")
    x, y = samples.take(torch.arange(len(samples), device=samples.y.device))
    return Samples(x.double(), y)


def require_possible(network: Classifier, plan: Plan, fabric: Processes, *, shape: tuple[int, ...]) -> None:
    """Refuse what could not be trained as the plan says.

    Args:
        network: Prepared.
        plan: How it is to be trained.
        fabric: The processes.
        shape: Shape of one input.

    Raises:
        InputError: If the plan's parts do not go together.
    """
    optimiser, balance, augmentation = plan.optimiser, plan.balance, plan.augmentation
    if augmentation is not None:
        augmentation.check((plan.batch_size, *shape))
    optimiser.check(
        network=network,
        loss=plan.loss,
        penalty=plan.penalty,
        class_weights=balance is not None and balance.class_weights != "none",
        clipping=plan.clip_norm is not None,
        augmentation=augmentation is not None and not augmentation.none,
    )
    if balance is not None and balance.class_weights != "none" and not plan.loss.weighable:
        raise InputError(
            "class_weights must be none with a loss that is one number for the whole batch, got"
            f" {balance.class_weights} with {type(plan.loss).__name__}"
        )
    if optimiser.full_batch and balance is not None and balance.oversample:
        raise InputError("oversample must be false with an optimiser of the whole training set; take class_weights")
    if fabric.world_size > 1 and not plan.separable:
        raise InputError(
            f"a loss or penalty that compares the samples of a batch is trained in one process, got {fabric.world_size}"
            f" processes with {plan.comparing}"
        )
