"""The one training loop, on one process or several. It moves a network; it measures nothing and writes nothing.

A step never waits for the device: sums stay there, and become numbers at the end of an epoch.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from collapselab.core.errors import InputError, NotConverged
from collapselab.core.random import child_seed
from collapselab.training.data import EVALUATION_BATCH, Splits
from collapselab.training.gradient import Gradient
from collapselab.training.losses import Outputs
from collapselab.training.networks import Classifier
from collapselab.training.optimisers import Each
from collapselab.training.plan import Plan, parameter_groups
from collapselab.training.preparation import converted, prepared, require_possible
from collapselab.training.sharding import Alone, Processes, gathered, same_start, share


@dataclass(frozen=True)
class Progress:
    """Where a training stands after a step.

    Attributes:
        epoch: Epochs completed.
        step: Steps done.
        loss: Mean training loss of the epoch that this step completed, in train mode; None within an epoch.
        learning_rate: Rate of this step.
        last: Whether the training ends with this step.
    """

    epoch: int
    step: int
    loss: float | None
    learning_rate: float
    last: bool = False


class Training:
    """A network, its data and its optimiser, somewhere between the first step and the last.

    In several processes each holds all of this, does its share of every minibatch, and ends each step with the same
    weights; what `state` gives is then the same too, and any one of them may keep it without the others.

    Args:
        network: The network, freshly initialised; it is moved, and in several processes given the weights of the first.
        data: Training and test data, the same in all processes.
        plan: How to train.
        order: On the CPU; decides the order of the samples in each epoch, and its seed all that is random besides.
        device: Where to compute, in this process alone.
        fabric: The processes instead, as `processes.launch` makes them.

    Attributes:
        network: The network.
        watched: The network as losses look at it.
        data: The data, on the device.
        plan: How it is trained.
        fabric: The processes.
        epoch: Epochs done.
        step: Steps done.
        learning_rate: Rate of the last step; None before the first.
        stopped: Whether a stop rule has ended the training.
        rows: Minibatches of the last step.
        generator: On the CPU; where the optimiser draws noise from.
        seed: Seed of the order, from which all else that is random comes.
    """

    def __init__(
        self,
        network: Classifier,
        data: Splits,
        plan: Plan,
        *,
        order: torch.Generator,
        device: torch.device | None = None,
        fabric: Processes | None = None,
    ) -> None:
        if (fabric is None) == (device is None):
            raise InputError("device must be given where fabric is not, and only there")
        self.fabric: Processes = Alone(device) if fabric is None else fabric  # pyright: ignore[reportArgumentType]
        self.plan = plan
        self._labels = data.train.y.cpu()
        self._num_classes = data.num_classes
        self._batches = plan.batches(self._epoch_size())
        self.network = prepared(network, plan, self.fabric, shape=data.shape)
        require_possible(self.network, plan, self.fabric, shape=data.shape)
        self.data = converted(data.to(self.fabric.device), plan)
        same_start(self.network, order, self.fabric)
        self._order_generator = order
        self.seed = order.initial_seed()
        self.generator = torch.Generator().manual_seed(child_seed(order.initial_seed(), "noise of the optimiser"))
        self._optimiser = plan.optimiser.build(parameter_groups(self.network, plan.decay_on))
        self._gradient = Gradient(self.network, self.data, plan, self.fabric, seed=order.initial_seed())
        self._gradient.require_normalisable(plan.batch_sizes(self._epoch_size()))
        self.watched = self._gradient.watched
        self.epoch = 0
        self.step = 0
        self.learning_rate: float | None = None
        self.stopped = False
        self.rows: tuple[Tensor, ...] = ()
        self._batch = 0  # steps done in the epoch that is under way
        self._order = torch.empty(0, dtype=torch.int64)
        self._order_there = self._order  # the same on the device
        self._loss_sum = self._gradient.zero()
        self._seen = 0  # samples in that sum
        self._clean_epochs = 0

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.stopped or self.epoch >= self.plan.epochs

    @property
    def planned_steps(self) -> int:
        """Steps of all epochs, if no stop rule applies."""
        return self.plan.epochs * self._batches

    def _epoch_size(self) -> int:
        balance = self.plan.balance
        return len(self._labels) if balance is None else balance.epoch_size(self._labels, self._num_classes)

    def steps(self) -> Iterator[Progress]:
        """Train to the end of the plan, or until one of its stop rules applies.

        Between two items nothing is under way: there the state may be taken or the training left. In several processes
        all must go through the items together.

        Yields:
            Where it stands after each step.

        Raises:
            NotConverged: If the loss is no longer finite.
        """
        while not self.done:
            rate = self._set_rate()
            if self._batch == 0:
                self._begin_epoch()
            self.rows = self._drawn()
            self._gradient.begin_step(self.step, self.rows)
            self._loss_sum += self.plan.optimiser.step(self, self._optimiser)
            self._seen += sum(len(rows) for rows in self.rows)
            self._batch += 1
            self.step += 1
            yield self._progress(rate)

    def _set_rate(self) -> float:
        rate = self.plan.rate(self.epoch + self._batch / self._batches, steps=self._batches)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self.learning_rate = rate
        return rate

    def _begin_epoch(self) -> None:
        draws = 1 if self.plan.optimiser.full_batch else self.plan.optimiser.draws
        self._set_order(torch.stack([self._one_order() for _ in range(draws)]))
        self._loss_sum.zero_()
        self._gradient.wrong.zero_()
        self._seen = 0

    def _one_order(self) -> Tensor:
        if self.plan.balance is not None:
            return self.plan.balance.order(self._labels, self._num_classes, self._order_generator)
        return torch.randperm(len(self._labels), generator=self._order_generator)

    def _set_order(self, order: Tensor) -> None:
        """Keep the order of an epoch here and on the device: moved with each batch, every step would wait for it."""
        self._order = order
        self._order_there = order.to(self.fabric.device)

    def _drawn(self) -> tuple[Tensor, ...]:
        if self.plan.optimiser.full_batch:
            return (torch.arange(len(self._labels), device=self.fabric.device),)
        at = slice(self._batch * self.plan.batch_size, (self._batch + 1) * self.plan.batch_size)
        return tuple(self._order_there[:, at])

    def accumulate(self, rows: Tensor, *, weights: Tensor | None = None, each: Each | None = None) -> Tensor:
        """Add the gradient of the weighted mean loss of some samples; see `optimisers.Work`.

        Args:
            rows: Indices (n,).
            weights: (n,) factors, 1 by default.
            each: What is averaged instead of the plan's loss.

        Returns:
            Sum of the losses.
        """
        return self._gradient.add(rows, weights=weights, each=each)

    def losses(self, outputs: Outputs, y: Tensor) -> Tensor:
        """Loss and penalty of each sample, every class counting alike.

        Args:
            outputs: What the network made of n samples.
            y: Their labels.

        Returns:
            (n,) numbers.
        """
        losses = self.plan.loss(outputs, y)
        return losses if self.plan.penalty is None else losses + self.plan.penalty(outputs, y)

    def evaluate(self, each: Each | None = None) -> Tensor:
        """What is minimised, for all training samples in eval mode; see `optimisers.Work`.

        Never in bfloat16. In several processes each does its share.

        Args:
            each: What is computed instead of the plan's loss.

        Returns:
            (n,) numbers, all of them in every process.
        """
        measure = self._gradient.objective if each is None else each
        mine = share(len(self.data.train), self.fabric)
        rows = torch.arange(mine.start, mine.stop, device=self.fabric.device)
        # A process without samples looks at one all the same, to know the type of what it has none of.
        looked_at = rows if len(rows) else torch.zeros(1, dtype=torch.int64, device=self.fabric.device)
        found = []
        self.watched.eval()
        with torch.no_grad():
            for part in looked_at.split(EVALUATION_BATCH):
                x, y = self.data.train.take(part)
                found.append(measure(self.watched.look(x), y))
        return gathered(torch.cat(found)[: len(rows)], self.fabric)

    def clip(self) -> None:
        """Clip the gradient as the plan says; see `optimisers.Work`."""
        if self.plan.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._gradient.parameters, self.plan.clip_norm)

    def _progress(self, rate: float) -> Progress:
        if self._batch < self._batches:
            return Progress(self.epoch, self.step, None, rate)
        loss = float(self._loss_sum) / self._seen
        self.epoch += 1
        self._batch = 0
        require_finite(loss, epoch=self.epoch, learning_rate=rate)
        self.plan.optimiser.end_epoch(self, self._optimiser)
        if self.plan.stop.zero_error_epochs is not None:
            self._clean_epochs = 0 if self._errors() else self._clean_epochs + 1
        self.stopped = self.plan.stop.applies(clean_epochs=self._clean_epochs, loss=loss)
        return Progress(self.epoch, self.step, loss, rate, last=self.done)

    def _errors(self) -> int:
        """Wrong training samples of the epoch that is complete."""
        if self._gradient.counts_errors:
            return int(self._gradient.wrong)
        return int(self.evaluate(lambda outputs, y: (outputs.logits.argmax(1) != y).long()).sum())

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
            "stopped": self.stopped,
            "clean_epochs": self._clean_epochs,
            "order": self._order,
            "loss_sum": self._loss_sum,
            "wrong": self._gradient.wrong,
            "seen": self._seen,
            "network": dict(self.network.state_dict()),
            "optimiser": self._optimiser.state_dict(),
            "order_generator": self._order_generator.get_state(),
            "noise_generator": self.generator.get_state(),
            "augmentation_generator": self._gradient.generator.get_state(),
            "global_generator": torch.get_rng_state(),
            "cuda_generator": (
                torch.cuda.get_rng_state(self.fabric.device) if self.fabric.device.type == "cuda" else None
            ),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go to where another training of the same plan stood.

        Args:
            state: What its `state` returned; left as it is.
        """
        device = self.fabric.device
        self.epoch, self.step, self._batch = state["epoch"], state["step"], state["batch"]
        self.learning_rate = state["learning_rate"]
        self.stopped, self._clean_epochs = state["stopped"], state["clean_epochs"]
        self._set_order(state["order"])
        self._loss_sum = state["loss_sum"].to(device, copy=True)
        self._gradient.wrong = state["wrong"].to(device, copy=True)
        self._seen = state["seen"]
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(copy.deepcopy(state["optimiser"]))  # it would go on in the tensors given
        self._order_generator.set_state(state["order_generator"])
        self.generator.set_state(state["noise_generator"])
        self._gradient.generator.set_state(state["augmentation_generator"])
        torch.set_rng_state(state["global_generator"])
        if state["cuda_generator"] is not None and device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_generator"], device)


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
