"""What an optimiser is given in a step, and the registry of optimisers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from collapselab.core.registry import Registry
from collapselab.training._choice import Choice, by_name, declare
from collapselab.training.losses import Loss, Outputs

Each = Callable[[Outputs, Tensor], Tensor]
"""Outputs and labels of n samples to n numbers."""


class Work(Protocol):
    """What the loop lends an optimiser for one step.

    Attributes:
        rows: Indices of the samples of each minibatch that was drawn for this step, `Optimiser.draws` of them; one that
            holds the whole training set for optimisers with `full_batch`.
        generator: On the CPU; where an optimiser draws noise from. Its state is kept with the run's.
    """

    rows: tuple[Tensor, ...]
    generator: torch.Generator

    def accumulate(self, rows: Tensor, *, weights: Tensor | None = None, each: Each | None = None) -> Tensor:
        """Add the gradient of the weighted mean of the losses of some samples to that of the parameters.

        Forward in train mode, in micro-batches if the plan says so, and with the loss, penalty and class weights of the
        plan. In several processes each does its part of the rows, and all end with the same gradient.

        Args:
            rows: Indices (n,) of samples.
            weights: (n,) factors on their losses; the gradient is that of (1/n) sum w_i l_i. All 1 by default.
            each: What is averaged instead of the plan's loss.

        Returns:
            Sum of the n losses of the rows of all processes, the same in each; with penalty and class weights but
            without the factors `weights`. 0-d and detached, still on the device.
        """
        ...

    def evaluate(self, each: Each | None = None) -> Tensor:
        """Losses of all training samples in train mode order but eval mode flags, without gradient.

        Args:
            each: What is computed instead of the plan's loss.

        Returns:
            (n,) numbers, all of them in every process.
        """
        ...

    def clip(self) -> None:
        """Clip the gradient as the plan says, if it does."""
        ...


class Optimiser(ABC):
    """Base of all optimisers: frozen dataclasses of settings."""

    full_batch: ClassVar[bool] = False
    """Whether a step looks at the whole training set; an epoch is one step then."""

    learning_rate: float

    @property
    def draws(self) -> int:
        """Independent minibatches that a step draws."""
        return 1

    def check(
        self,
        *,
        network: nn.Module,
        loss: Loss,
        penalty: Loss | None,
        class_weights: bool,
        clipping: bool,
        augmentation: bool,
    ) -> None:
        """Refuse, before the first step, what this optimiser is not defined for; here nothing.

        Args:
            network: What is trained.
            loss: What is minimised.
            penalty: What is added to it.
            class_weights: Whether classes weigh differently in the loss.
            clipping: Whether gradients are clipped.
            augmentation: Whether inputs are changed at random.
        """
        del network, loss, penalty, class_weights, clipping, augmentation

    @abstractmethod
    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser of torch that holds the state.

        All that a step depends on besides the parameters must be in its `state_dict`.

        Args:
            groups: Parameter groups: ``params``, and ``weight_decay`` 0 where the plan exempts them from decay.

        Returns:
            A new optimiser; its groups have the key ``lr``, which the loop sets before each step.
        """

    def step(self, work: Work, stepper: torch.optim.Optimizer) -> Tensor:
        """One step; here that of a first-order method on one minibatch.

        Args:
            work: What the loop lends.
            stepper: What `build` returned.

        Returns:
            Sum of the losses of the samples that were drawn, 0-d and detached, still on the device.
        """
        stepper.zero_grad()
        total = work.accumulate(work.rows[0])
        work.clip()
        stepper.step()
        return total

    def end_epoch(self, work: Work, stepper: torch.optim.Optimizer) -> None:
        """What is to be done between two epochs; here nothing.

        Args:
            work: What the loop lends.
            stepper: What `build` returned.
        """
        del work, stepper


OPTIMISERS: Registry[Choice[Optimiser]] = Registry(
    "optimiser", package="collapselab.training.optimisers", order=by_name
)

C = TypeVar("C")


def optimiser(name: str, *, label: str, source: str) -> Callable[[type[C]], type[C]]:
    """Declare an optimiser.

    Args:
        name: Its key.
        label: A few words for a table.
        source: Key in ``references.bib``.

    Returns:
        A decorator that returns the class unchanged.
    """
    return declare(OPTIMISERS, name, label=label, source=source)
