"""How a network is to be trained: the choices, checked, and what follows from them by arithmetic alone."""

from dataclasses import dataclass, field
from typing import Any, Literal

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.data.augmentation import Augmentation
from collapselab.training.data.balance import Balance
from collapselab.training.losses import Loss
from collapselab.training.networks import Classifier
from collapselab.training.optimisers import Optimiser
from collapselab.training.penalties import Penalty
from collapselab.training.schedules import Schedule
from collapselab.training.stop import Stop

Precision = Literal["float32", "bfloat16", "float64"]


@dataclass(frozen=True)
class Plan:
    """How a network is to be trained.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Samples in a minibatch, of all processes together.
        drop_last: Whether the incomplete last batch of an epoch is left out.
        loss: What is minimised, averaged over the batch.
        optimiser: How.
        schedule: How the learning rate changes.
        penalty: What is added to the loss.
        warmup_epochs: Epochs over which the learning rate rises linearly from nothing.
        decay_on: What weight decay acts on: ``all`` parameters, ``weights`` but no biases and normalisation layers, or
            the ``head`` alone.
        micro_batch: Samples that each process takes forward at once; the gradients of the pieces of a minibatch add up
            to that of the whole. Batch normalisation normalises over each piece. None for all at once.
        clip_norm: Largest norm of the gradient of a step; a longer one is scaled down to it. None for no limit.
        precision: ``float32``; ``bfloat16`` for layers that run in it where that is safe (autocast) with weights and
            losses in float32; ``float64`` for everything in it. Measurements never use bfloat16.
        augmentation: What changes the inputs at random each time they are seen in training.
        balance: What makes up for classes of different sizes.
        stop: When to end before the last epoch.
        channels_last: Whether images and the weights of convolutions are kept channels last in memory.
        sync_batch_norm: Whether batch normalisation goes over the shares of all processes (on CUDA only); otherwise
            each process normalises over its own share, and the running statistics are those of the first.
    """

    epochs: int
    batch_size: int
    drop_last: bool
    loss: Loss
    optimiser: Optimiser
    schedule: Schedule
    penalty: Penalty | None = None
    warmup_epochs: float = 0.0
    decay_on: Literal["all", "weights", "head"] = "all"
    micro_batch: int | None = None
    clip_norm: float | None = None
    precision: Precision = "float32"
    augmentation: Augmentation | None = None
    balance: Balance | None = None
    stop: Stop = field(default_factory=Stop)
    channels_last: bool = False
    sync_batch_norm: bool = False

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.epochs, "epochs", at_least=1)
        checks.whole(self.batch_size, "batch_size", at_least=1)
        checks.real(self.warmup_epochs, "warmup_epochs", at_least=0)
        if self.warmup_epochs > self.epochs:
            raise InputError(f"warmup_epochs must be at most {self.epochs}, all epochs, got {self.warmup_epochs}")
        for name, known in (
            ("decay_on", ("all", "weights", "head")),
            ("precision", ("float32", "bfloat16", "float64")),
        ):
            checks.one_of(getattr(self, name), name, known)
        for name in ("drop_last", "channels_last", "sync_batch_norm"):
            checks.flag(getattr(self, name), name)
        if self.clip_norm is not None:
            checks.real(self.clip_norm, "clip_norm", above=0)
        if self.micro_batch is not None:
            checks.whole(self.micro_batch, "micro_batch", at_least=1)
            if not self.separable:
                raise InputError(
                    "micro_batch must be None with a loss or penalty that compares the samples of a batch, got"
                    f" {self.micro_batch} with {self.comparing}"
                )

    @property
    def separable(self) -> bool:
        """Whether the loss of each sample depends on that sample alone."""
        return not self.comparing

    @property
    def comparing(self) -> str:
        """Names of the loss and the penalty, as far as they compare samples; empty where neither does."""
        parts = (self.loss, self.penalty)
        return " and ".join(type(part).__name__ for part in parts if part is not None and not part.separable)

    def rate(self, epoch: float, *, steps: int) -> float:
        """Learning rate of the next step.

        Args:
            epoch: Epochs done, with the part of the present one.
            steps: Steps in an epoch.

        Returns:
            The optimiser's rate by what the schedule and the warm-up make of it.
        """
        risen = min(1.0, (epoch + 1 / steps) / self.warmup_epochs) if self.warmup_epochs > 0 else 1.0
        return self.optimiser.learning_rate * self.schedule.scale(epoch, epochs=self.epochs) * risen

    def batch_sizes(self, num_samples: int) -> set[int]:
        """Sizes of the minibatches of an epoch.

        Args:
            num_samples: Samples in an epoch.

        Returns:
            Each size once.
        """
        if self.optimiser.full_batch:
            return {num_samples}
        last = 0 if self.drop_last else num_samples % self.batch_size
        return {min(self.batch_size, num_samples), last} - {0}

    def batches(self, num_samples: int) -> int:
        """Steps in an epoch.

        Args:
            num_samples: Samples in an epoch.

        Returns:
            Whole batches, and one more for the rest unless it is left out; one for optimisers of the whole set.

        Raises:
            InputError: If not even one batch is full and incomplete ones are left out.
        """
        if self.optimiser.full_batch:
            return 1
        if not self.drop_last:
            return -(-num_samples // self.batch_size)
        if self.batch_size > num_samples:
            limit = f"at most {num_samples}, the number of training samples, while the incomplete last batch is dropped"
            raise InputError(f"batch_size must be {limit}, got {self.batch_size}")
        return num_samples // self.batch_size


def layers_of(plan: Plan) -> tuple[str, ...]:
    """Stages whose outputs a plan's loss and penalty look at.

    Args:
        plan: How to train.

    Returns:
        Their names, each once.
    """
    return tuple(dict.fromkeys((*plan.loss.layers, *(() if plan.penalty is None else plan.penalty.layers))))


def parameter_groups(network: Classifier, decay_on: str) -> list[dict[str, Any]]:
    """The trained parameters, apart by whether weight decay acts on them.

    Args:
        network: The network.
        decay_on: ``all``, ``weights`` or ``head``.

    Returns:
        One group, or two of which the second has ``weight_decay`` 0.

    Raises:
        InputError: If nothing is trained, or decay would act on nothing.
    """
    trained = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    if not trained:
        raise InputError("network must have parameters to train, got none that requires a gradient")
    decayed = {
        "all": lambda _name, _parameter: True,
        "weights": lambda _name, parameter: parameter.ndim > 1,
        "head": lambda name, _parameter: name.startswith("head."),
    }[decay_on]
    groups: list[dict[str, Any]] = [{"params": [p for name, p in trained if decayed(name, p)]}]
    if not groups[0]["params"]:
        raise InputError(f"decay_on must be another than {decay_on}: the network has nothing of that kind to train")
    spared = [p for name, p in trained if not decayed(name, p)]
    if spared:
        groups.append({"params": spared, "weight_decay": 0.0})
    return groups
