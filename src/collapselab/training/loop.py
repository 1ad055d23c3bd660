"""The one training loop, through Lightning Fabric. It moves a network; it measures nothing and writes nothing."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from collapselab.core import extras
from collapselab.core.errors import InputError, NotConverged
from collapselab.training.data import Splits
from collapselab.training.environment import quiet_fabric
from collapselab.training.losses import Outputs
from collapselab.training.networks import Classifier
from collapselab.training.optimisers import Each
from collapselab.training.plan import Plan, layers_of, parameter_groups
from collapselab.training.stop import Stop

__all__ = ["Plan", "Progress", "Stop", "Training", "Watched", "parameter_groups", "require_finite"]


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


class Watched(nn.Module):
    """A classifier that gives all that a loss may look at.

    Args:
        network: The classifier.
        layers: Names of the stages of its body whose outputs are kept; ``*`` for all.
    """

    def __init__(self, network: Classifier, layers: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.network = network
        names = [name for name, _ in network.body.named_children()]
        self._wanted = tuple(names) if "*" in layers else layers
        for name in self._wanted:
            if name not in names:
                raise InputError(f"layers must be stages of the body, {', '.join(names)}, got {name!r}")

    def look(self, x: Tensor) -> Outputs:
        """What the network makes of inputs.

        Args:
            x: Inputs (n, ...).

        Returns:
            All that was asked for.
        """
        return Outputs(**self(x))

    def forward(self, x: Tensor) -> dict[str, Any]:
        """The fields of `Outputs`, in a dictionary that Fabric can convert.

        Args:
            x: Inputs (n, ...).

        Returns:
            Logits, features, the head and the layers.
        """
        kept: dict[str, Any] = {}
        hooks = [
            self.network.body.get_submodule(name).register_forward_hook(
                lambda _module, _inputs, output, name=name: kept.__setitem__(name, output)
            )
            for name in self._wanted
        ]
        try:
            h = self.network.features(x)
        finally:
            for hook in hooks:
                hook.remove()
        head = self.network.head
        found: dict[str, Any] = {"logits": head(h), "features": h, "weight": head.weight, "layers": kept}
        return found if head.bias is None else found | {"bias": head.bias}


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
            self._optimiser = plan.optimiser.build(parameter_groups(network, plan.decay_on))
            self._module, self._stepper = self._fabric.setup(Watched(network, layers_of(plan)), self._optimiser)
        self.network = network
        self.watched: Watched = self._module.module
        self.data = data.to(device)
        self.plan = plan
        self.generator = order
        self._device = device
        self.epoch = 0
        self.step = 0
        self.learning_rate: float | None = None
        self.rows: tuple[Tensor, ...] = ()
        self._batch = 0  # steps done in the epoch that is under way
        self._order = torch.empty(0, dtype=torch.int64)
        self._loss_sum = torch.zeros((), device=device)
        self._seen = 0  # samples in that sum

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
                self._begin_epoch()
            self.rows = self._drawn()
            self._loss_sum += self.plan.optimiser.step(self, self._stepper)
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
        total = len(self.data.train)
        self._order = torch.stack([torch.randperm(total, generator=self.generator) for _ in range(draws)])
        self._loss_sum.zero_()
        self._seen = 0

    def _drawn(self) -> tuple[Tensor, ...]:
        if self.plan.optimiser.full_batch:
            return (torch.arange(len(self.data.train), device=self._device),)
        at = slice(self._batch * self.plan.batch_size, (self._batch + 1) * self.plan.batch_size)
        return tuple(order[at].to(self._device) for order in self._order)

    def accumulate(self, rows: Tensor, *, weights: Tensor | None = None, each: Each | None = None) -> Tensor:
        """Add the gradient of the weighted mean loss of some samples; see `optimisers.Work`.

        Args:
            rows: Indices (n,).
            weights: (n,) factors, 1 by default.
            each: What is averaged instead of the plan's loss.

        Returns:
            Sum of the losses.
        """
        x, y = self.data.train.take(rows)
        self._module.train()
        losses = (self.losses if each is None else each)(Outputs(**self._module(x)), y)
        weighted = losses if weights is None else losses * weights
        self._fabric.backward(weighted.mean())
        return losses.detach().sum()

    def losses(self, outputs: Outputs, y: Tensor) -> Tensor:
        """Loss and penalty of each sample.

        Args:
            outputs: What the network made of n samples.
            y: Their labels.

        Returns:
            (n,) numbers.
        """
        losses = self.plan.loss(outputs, y)
        return losses if self.plan.penalty is None else losses + self.plan.penalty(outputs, y)

    def evaluate(self, each: Each | None = None) -> Tensor:
        """Losses of all training samples; see `optimisers.Work`.

        Args:
            each: What is computed instead of the plan's loss.

        Returns:
            (n,) numbers.
        """
        measure = self.losses if each is None else each
        found = []
        self.watched.eval()
        with torch.no_grad():
            for x, y in self.data.train.batches():
                found.append(measure(self.watched.look(x), y))
        return torch.cat(found)

    def clip(self) -> None:
        """Clip the gradient as the plan says; see `optimisers.Work`."""

    def _progress(self, rate: float) -> Progress:
        if self._batch < self._batches:
            return Progress(self.epoch, self.step, None, rate)
        loss = float(self._loss_sum) / self._seen
        self.epoch += 1
        self._batch = 0
        require_finite(loss, epoch=self.epoch, learning_rate=rate)
        self.plan.optimiser.end_epoch(self, self._stepper)
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
            "seen": self._seen,
            "network": dict(self.network.state_dict()),
            "optimiser": self._optimiser.state_dict(),
            "order_generator": self.generator.get_state(),
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
        self._seen = state["seen"]
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["order_generator"])
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
