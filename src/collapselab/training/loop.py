"""The one training loop, through Lightning Fabric. It moves a network; it measures nothing and writes nothing."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from collapselab.core import checks, extras
from collapselab.core.errors import InputError, NotConverged
from collapselab.training.data import Splits
from collapselab.training.environment import quiet_fabric
from collapselab.training.losses import Loss
from collapselab.training.networks import Classifier
from collapselab.training.optimisers import SGD
from collapselab.training.schedules import StepSchedule


@dataclass(frozen=True)
class Plan:
    """How a network is to be trained.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Samples in a step.
        drop_last: Whether the incomplete last batch of an epoch is left out.
        loss: What is minimised, averaged over the batch.
        optimiser: How.
        schedule: Where the learning rate is cut.
    """

    epochs: int
    batch_size: int
    drop_last: bool
    loss: Loss
    optimiser: SGD
    schedule: StepSchedule

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.epochs, "epochs", at_least=1)
        checks.whole(self.batch_size, "batch_size", at_least=1)

    def batches(self, num_samples: int) -> int:
        """Steps in an epoch.

        Args:
            num_samples: Training samples.

        Returns:
            Whole batches, and one more for the rest unless it is left out.

        Raises:
            InputError: If not even one batch is full and incomplete ones are left out.
        """
        if not self.drop_last:
            return -(-num_samples // self.batch_size)
        if self.batch_size > num_samples:
            limit = f"at most {num_samples}, the number of training samples, while the incomplete last batch is dropped"
            raise InputError(f"batch_size must be {limit}, got {self.batch_size}")
        return num_samples // self.batch_size


@dataclass(frozen=True)
class Progress:
    """Where a training stands after a step.

    Attributes:
        epoch: Epochs completed.
        step: Steps done.
        loss: Mean training loss of the epoch that this step completed, in train mode; None within an epoch.
        learning_rate: Rate of this step.
    """

    epoch: int
    step: int
    loss: float | None
    learning_rate: float


class Training:
    """A network, its data and its optimiser, somewhere between the first step and the last.

    Args:
        network: The network, freshly initialised.
        data: Training and test data.
        plan: How to train.
        order: Decides the order of the samples in each epoch.
        device: Where to compute.
    """

    def __init__(
        self, network: Classifier, data: Splits, plan: Plan, *, order: torch.Generator, device: torch.device
    ) -> None:
        self._batches = plan.batches(len(data.train))
        fabric_module = extras.require("lightning.fabric", extra="train", purpose="training")
        with quiet_fabric():
            index = device.index or 0
            devices = 1 if device.type == "cpu" else [index]
            self._fabric = fabric_module.Fabric(accelerator=device.type, devices=devices)
            self._optimiser = plan.optimiser.build(network.parameters())
            self._module, self._stepper = self._fabric.setup(network, self._optimiser)
        self.network = network
        self.data = data.to(device)
        self.plan = plan
        self._generator = order
        self._device = device
        self.epoch = 0
        self.step = 0
        self.learning_rate: float | None = None
        self._batch = 0  # steps done in the epoch that is under way
        self._order = torch.empty(0, dtype=torch.int64)
        self._loss_sum = torch.zeros((), device=device)

    def steps(self) -> Iterator[Progress]:
        """Train to the end of the plan.

        Between two items nothing is under way: there the state may be taken or the training left.

        Yields:
            Where it stands after each step.

        Raises:
            NotConverged: If the loss is no longer finite.
        """
        while self.epoch < self.plan.epochs:
            rate = self._set_rate()
            if self._batch == 0:
                self._order = torch.randperm(len(self.data.train), generator=self._generator)
                self._loss_sum.zero_()
            at = slice(self._batch * self.plan.batch_size, (self._batch + 1) * self.plan.batch_size)
            self._one_step(self._order[at].to(self._device))
            self._batch += 1
            self.step += 1
            yield self._progress(rate)

    def _set_rate(self) -> float:
        rate = self.plan.optimiser.learning_rate * self.plan.schedule.scale(self.epoch, epochs=self.plan.epochs)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self.learning_rate = rate
        return rate

    def _one_step(self, rows: Tensor) -> None:
        x, y = self.data.train.x[rows], self.data.train.y[rows]
        self._module.train()
        losses = self.plan.loss(self._module(x), y)
        self._stepper.zero_grad()
        self._fabric.backward(losses.mean())
        self._stepper.step()
        self._loss_sum += losses.detach().sum()

    def _progress(self, rate: float) -> Progress:
        if self._batch < self._batches:
            return Progress(self.epoch, self.step, None, rate)
        seen = min(self._batches * self.plan.batch_size, len(self.data.train))
        loss = float(self._loss_sum) / seen
        self.epoch += 1
        self._batch = 0
        require_finite(loss, epoch=self.epoch, learning_rate=rate)
        return Progress(self.epoch, self.step, loss, rate)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on, as tensors and numbers.

        Returns:
            A new dictionary; the tensors in it are the live ones.
        """
        return {
            "epoch": self.epoch,
            "step": self.step,
            "batch": self._batch,
            "learning_rate": self.learning_rate,
            "order": self._order,
            "loss_sum": self._loss_sum,
            "network": dict(self.network.state_dict()),
            "optimiser": self._optimiser.state_dict(),
            "order_generator": self._generator.get_state(),
            "global_generator": torch.get_rng_state(),
            "cuda_generator": torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go to where another training of the same plan stood.

        Args:
            state: What its `state` returned.
        """
        self.epoch, self.step, self._batch = state["epoch"], state["step"], state["batch"]
        self.learning_rate = state["learning_rate"]
        self._order = state["order"]
        self._loss_sum = state["loss_sum"].to(self._device)
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["order_generator"])
        torch.set_rng_state(state["global_generator"])
        if state["cuda_generator"] is not None and self._device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_generator"], self._device)


def require_finite(loss: float, *, epoch: int, learning_rate: float | None) -> None:
    """Refuse to go on with a loss that is NaN or infinite.

    Args:
        loss: Mean loss.
        epoch: Epoch that it belongs to.
        learning_rate: Rate that led there.

    Raises:
        NotConverged: If it is not finite.
    """
    if not math.isfinite(loss):
        rate = "before any step" if learning_rate is None else f"at learning rate {learning_rate:g}"
        raise NotConverged(
            f"training diverged: the loss became {loss} in epoch {epoch} {rate}; lower the learning rate"
        )
