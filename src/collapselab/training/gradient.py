"""The gradient of a minibatch: in pieces, in bfloat16, on several processes, and in the end always the same one."""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from collapselab.core.errors import InputError
from collapselab.core.random import child_seed, preserved_randomness
from collapselab.training.data import Splits
from collapselab.training.data.augmentation import Draws
from collapselab.training.losses import Outputs
from collapselab.training.networks import Classifier
from collapselab.training.optimisers import Each
from collapselab.training.plan import Plan, layers_of
from collapselab.training.sharding import JointGradient, Processes, share
from collapselab.training.watched import Watched

_EVERYTHING = slice(None)

T = TypeVar("T")


class Gradient:
    """Adds gradients of mean losses to those of the parameters of a network.

    Args:
        network: Prepared for the plan.
        data: The training split is what indices refer to.
        plan: What is minimised, and how it is computed.
        fabric: The processes.
        seed: What the seeds of augmentation and, in several processes, of random layers are made of.

    Attributes:
        watched: The network as losses look at it.
        parameters: Those that are trained.
        generator: Where augmentation draws from, on the CPU.
        counts_errors: Whether `wrong` is kept.
        wrong: Samples of the epoch that were classified wrongly when they were first looked at in their step.
    """

    def __init__(self, network: Classifier, data: Splits, plan: Plan, fabric: Processes, *, seed: int) -> None:
        self.watched = Watched(network, layers_of(plan))
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.generator = torch.Generator().manual_seed(child_seed(seed, "augmentation"))
        # An optimiser of the whole set may look at it first somewhere on its way, or not at all where it is at rest.
        self.counts_errors = plan.stop.zero_error_epochs is not None and not plan.optimiser.full_batch
        self.wrong = torch.zeros((), dtype=torch.int64, device=fabric.device)
        self._network, self._train, self._plan, self._fabric = network, data.train, plan, fabric
        self._joint = JointGradient(network, fabric) if fabric.world_size > 1 else None
        self._noise_seed = child_seed(seed, "random layers")
        self._uncounted = 0  # samples of the step that were not looked at yet
        self._dtype = torch.float64 if plan.precision == "float64" else torch.float32
        self._augmentation = None if plan.augmentation is None or plan.augmentation.none else plan.augmentation
        weights = None if plan.balance is None else plan.balance.weights(data.train.y, data.num_classes)
        self._class_weights = None if weights is None else weights.to(fabric.device, self._dtype)

    def zero(self) -> Tensor:
        """Nothing, as a sum of losses.

        Returns:
            A new 0-d tensor on the device.
        """
        return torch.zeros((), dtype=self._dtype, device=self._fabric.device)

    def begin_step(self, step: int, rows: tuple[Tensor, ...]) -> None:
        """Make ready for another step.

        Args:
            step: Steps done before it.
            rows: Its minibatches.
        """
        if self.counts_errors:
            self._uncounted = sum(len(part) for part in rows)
        if self._joint is not None:
            # Noise of each process' own, and yet known from the step alone: a state of one process is that of all.
            processes = self._fabric.world_size
            torch.manual_seed((self._noise_seed + step * processes + self._fabric.global_rank) % 2**63)

    def require_normalisable(self, batches: Iterable[int]) -> None:
        """Refuse, before the first step, minibatches of which a single sample would have to be normalised.

        Args:
            batches: Sizes of the minibatches to come.

        Raises:
            InputError: If there is one.
        """
        has_norm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self._network.modules())
        if not has_norm or self._plan.sync_batch_norm:  # synchronised layers look at the samples of all processes
            return
        owned = [(total, len(range(total)[share(total, self._fabric)])) for total in batches]
        if 1 in {len(range(own)[part]) for total, own in owned for part in self._parts(total, own)}:
            # Where a layer sees several places of a sample, one is enough: only a trial tells.
            x, _ = self._train.take(torch.zeros(1, dtype=torch.int64, device=self._fabric.device))
            with preserved_randomness(), torch.no_grad():
                _normalised(copy.deepcopy(self._network).train(), x)

    def objective(self, outputs: Outputs, y: Tensor) -> Tensor:
        """What is minimised, for each sample: its loss by the weight of its class, and the penalty.

        Args:
            outputs: What the network made of n samples.
            y: Their labels.

        Returns:
            (n,) numbers.
        """
        losses = self._plan.loss(outputs, y)
        if self._class_weights is not None:
            losses = losses * self._class_weights[y]
        return losses if self._plan.penalty is None else losses + self._plan.penalty(outputs, y)

    def add(self, rows: Tensor, *, weights: Tensor | None = None, each: Each | None = None) -> Tensor:
        """Add the gradient of the weighted mean of the losses of some samples.

        Args:
            rows: Indices (n,), the same in all processes.
            weights: (n,) factors, 1 by default.
            each: What is averaged instead of the objective.

        Returns:
            Sum of the losses without the factors.
        """
        if not self._network.training:
            self.watched.train()
        measure = self.objective if each is None else each
        count = self._uncounted > 0
        self._uncounted -= len(rows)
        if self._joint is None:
            total, wrong = self._add(rows, _EVERYTHING, weights, measure, count=count)
        else:
            self._joint.begin()
            total, wrong = self._add(rows, share(len(rows), self._fabric), weights, measure, count=count)
            self._joint.end([total] if wrong is None else [total, wrong], num_samples=len(rows))
        if wrong is not None:
            self.wrong += wrong
        return total

    def _add(
        self, rows: Tensor, mine: slice, weights: Tensor | None, measure: Each, *, count: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The part of this process: sum of its losses, and its errors if they count."""
        x, y = self._inputs(rows, mine)
        factors = None if weights is None else weights[mine]
        total = self.zero()
        wrong = torch.zeros_like(self.wrong) if count else None
        for part in self._parts(len(rows), len(y)):
            outputs, labels = _normalised(self._outputs, x[part]), y[part]
            losses = measure(outputs, labels)
            (losses if factors is None else losses * factors[part]).sum().div(len(rows)).backward()
            total += losses.detach().sum()
            if wrong is not None:
                wrong += (outputs.logits.detach().argmax(1) != labels).sum()
        return total, wrong

    def _inputs(self, rows: Tensor, mine: slice) -> tuple[Tensor, Tensor]:
        """Inputs and labels of the share of this process, changed as they are however many processes there are."""
        x, y = self._train.take(rows[mine])
        if self._augmentation is not None:
            draws: Draws = self._augmentation.draw((len(rows), *x.shape[1:]), self.generator)
            x = self._augmentation.apply(x, draws.part(mine).to(x.device))
        return (x.contiguous(memory_format=torch.channels_last) if self._plan.channels_last else x), y

    def _parts(self, total: int, own: int) -> Iterator[slice]:
        """What goes forward at once: nothing if there is nothing, unless the layers of all processes wait for it."""
        size = self._plan.micro_batch or total
        longest = -(-total // self._fabric.world_size) if self._plan.sync_batch_norm else own
        if own <= size and longest <= size:
            return iter((_EVERYTHING,)) if longest else iter(())
        return (slice(start, start + size) for start in range(0, longest, size))

    def _outputs(self, x: Tensor) -> Outputs:
        if self._plan.precision != "bfloat16":
            return self.watched(x)
        with torch.autocast(x.device.type, torch.bfloat16):
            outputs: Outputs = self.watched(x)
        return Outputs(
            logits=outputs.logits.float(),
            features=outputs.features.float(),
            weight=outputs.weight.float(),
            bias=None if outputs.bias is None else outputs.bias.float(),
            layers={name: layer.float() for name, layer in outputs.layers.items()},
            axes=outputs.axes,
        )


def _normalised(forward: Callable[[Tensor], T], x: Tensor) -> T:
    """What a network makes of inputs, or the reason why a single sample cannot be normalised over its batch."""
    try:
        return forward(x)
    except ValueError as error:
        if len(x) != 1 or "more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            "batch normalisation needs 2 samples or more in all that a process takes forward at once, got 1;"
            " change batch_size, drop_last, micro_batch or devices"
        ) from error
