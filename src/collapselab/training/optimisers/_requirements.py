"""What several optimisers refuse to train."""

from torch import nn

from collapselab.core.errors import InputError
from collapselab.training.heads._neck import Centring
from collapselab.training.losses import LOSSES, Loss

# Layers whose output for one sample depends on the others of its batch; SyncBatchNorm is among them.
_BATCH_NORM = (nn.modules.batchnorm._BatchNorm, Centring)

_WITHOUT = "set network.batch_norm to false, or take a network that has that setting, such as mlp"


def no_batch_norm(network: nn.Module, optimiser: str, *, because: str) -> None:
    """Refuse networks that normalise, or centre, over the batch.

    Args:
        network: What is to be trained.
        optimiser: Key of the optimiser.
        because: Why it cannot.

    Raises:
        InputError: If there is such a layer; the message names the first.
    """
    for name, module in network.named_modules():
        if isinstance(module, _BATCH_NORM):
            raise InputError(
                f"the optimiser {optimiser} needs a network without batch normalisation, because {because}; "
                f"got {type(module).__name__} at {name or 'the top'}; "
                + ("set neck.centre to none" if name.startswith("neck") else _WITHOUT)
            )


def plain_cross_entropy(optimiser: str, *, loss: Loss, penalty: Loss | None, class_weights: bool) -> None:
    """Refuse everything but the cross-entropy alone.

    Args:
        optimiser: Key of the optimiser.
        loss: What is minimised.
        penalty: What is added to it.
        class_weights: Whether classes weigh differently in the loss.

    Raises:
        InputError: If it is anything else.
    """
    if type(loss) is not LOSSES["cross_entropy"].make or penalty is not None or class_weights:
        extra = " with class weights" if class_weights else "" if penalty is None else " with a penalty"
        raise InputError(
            f"the optimiser {optimiser} needs the loss cross_entropy, without penalty and class weights, "
            f"got {type(loss).__name__}{extra}"
        )


def same_loss_each_time(optimiser: str, *, clipping: bool, augmentation: bool) -> None:
    """Refuse what makes loss and gradient disagree from one evaluation to the next.

    Args:
        optimiser: Key of the optimiser.
        clipping: Whether gradients are to be clipped.
        augmentation: Whether inputs are to be changed at random.

    Raises:
        InputError: If either is asked for.
    """
    if clipping:
        raise InputError(
            f"the optimiser {optimiser} needs gradients that are not clipped: "
            "a clipped gradient is not that of the loss that it evaluates"
        )
    if augmentation:
        raise InputError(
            f"the optimiser {optimiser} needs the same inputs in each evaluation, got an augmentation that draws anew"
        )
