"""What a quantity of a moving network is given, what it finds, and the registry of quantities."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.random import generators
from collapselab.core.registry import Registry
from collapselab.records.numbers import Extra
from collapselab.records.schema import Declaration


@dataclass(frozen=True, eq=False)
class Sight:
    """A network at one moment, in eval mode, and the samples to look at it with; `Sight.of` makes one of tensors.

    Attributes:
        network: Inputs (n, ...) to logits (n, k). What looks at it leaves parameters, their gradients and flags alone.
        take: Indices (m,) of samples to their inputs (m, ...) and labels (m,), on the device of the network.
        y: Labels (n,) of all samples of the split.
        num_classes: K.
        split: Name of the split.
        seed: What all draws come from: the same at every moment of a training, so that a curve follows one choice of
            samples.
        batch_size: Samples of a minibatch of the training; None where there is none.
        learning_rate: Rate of the last step; None before the first.
        losses: Inputs (n, ...) and labels (n,) to the (n,) losses that are minimised, differentiable by the parameters
            of `network`; the cross-entropy of its logits by default.
    """

    network: nn.Module
    take: Callable[[Tensor], tuple[Tensor, Tensor]]
    y: Tensor
    num_classes: int
    split: str = "train"
    seed: int = 0
    batch_size: int | None = None
    learning_rate: float | None = None
    losses: Callable[[Tensor, Tensor], Tensor] | None = None

    @classmethod
    def of(
        cls,
        network: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        num_classes: int | None = None,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> "Sight":
        """A sight of a network by samples in memory, with the cross-entropy as its loss.

        Args:
            network: Inputs to logits.
            x: Inputs (n, ...).
            y: Labels (n,) from 0.
            num_classes: K; one more than the largest label by default.
            batch_size: Samples of a minibatch of the training.
            seed: What all draws come from.

        Returns:
            The sight.
        """
        y = checks.labels(y, num_rows=len(x))
        k = int(y.max()) + 1 if num_classes is None else checks.whole(num_classes, "num_classes", at_least=1)
        y = checks.labels_in_range(y, k)
        return cls(network, lambda rows: (x[rows], y[rows]), y, k, seed=seed, batch_size=batch_size)

    def loss_of(self, x: Tensor, y: Tensor) -> Tensor:
        """What is minimised, for each sample.

        Args:
            x: Inputs (n, ...).
            y: Labels (n,).

        Returns:
            (n,) losses, differentiable.
        """
        if self.losses is not None:
            return self.losses(x, y)
        return functional.cross_entropy(self.network(x), y, reduction="none")

    def generator(self, name: str) -> torch.Generator:
        """Where a purpose draws from, alike at every moment.

        Args:
            name: What the draws are for.

        Returns:
            A generator on the CPU.
        """
        return generators(self.seed, name)[0]

    def few_of_each(self, per_class: int, name: str) -> Tensor:
        """Indices of as many samples of each class, or of all that a smaller class has, class by class.

        Args:
            per_class: How many.
            name: What the draw is for.

        Returns:
            Indices (m,), where the labels are; the same at every moment.
        """
        return few_of_each(self.y.cpu(), per_class, generator=self.generator(name)).to(self.y.device)


def few_of_each(y: Tensor, per_class: int, *, generator: torch.Generator) -> Tensor:
    """Indices of as many samples of each class, or of all that a smaller class has, class by class.

    Args:
        y: Labels (n,), on the CPU.
        per_class: How many.
        generator: What the draw comes from.

    Returns:
        Indices (m,), on the CPU.
    """
    order = torch.randperm(len(y), generator=generator)
    order = order[y[order].argsort(stable=True)]
    counts = torch.bincount(y)
    place = torch.arange(len(y)) - (counts.cumsum(0) - counts)[y[order]]
    return order[place < per_class]


@dataclass(frozen=True, eq=False)
class Found:
    """What a quantity found at one moment.

    Attributes:
        numbers: Each with its declaration, and the reason where it has no value.
        matrices: Square matrices over classes to keep as pictures, each with its declaration.
    """

    numbers: tuple[Extra, ...]
    matrices: tuple[tuple[Declaration, np.ndarray], ...] = field(default=())


class Quantity(ABC):
    """Base of what is measured on a moving network: frozen dataclasses of settings."""

    splits: ClassVar[tuple[str, ...]] = ("train",)
    """Splits of the data that it looks at."""

    @abstractmethod
    def look(self, sight: Sight) -> Found:
        """Measure.

        Args:
            sight: The network and the samples; left as they were.

        Returns:
            The same numbers at every moment, with values or reasons.
        """


@dataclass(frozen=True)
class Declared:
    """A declared quantity.

    Attributes:
        name: Its key.
        cls: The frozen dataclass; its fields are the settings.
        label: A few words for a table.
        source: Key in ``references.bib``.
    """

    name: str
    cls: type[Quantity]
    label: str
    source: str

    @property
    def summary(self) -> str:
        """First sentence of the class's documentation."""
        return (inspect.getdoc(self.cls) or "").split("\n\n")[0].replace("\n", " ")


QUANTITIES: Registry[Declared] = Registry("quantity", package="collapselab.dynamics", order=attrgetter("name"))

C = TypeVar("C")


def quantity(name: str, *, label: str, source: str) -> Callable[[type[C]], type[C]]:
    """Declare a frozen dataclass as a quantity and register it.

    Args:
        name: Its key.
        label: A few words for a table.
        source: Key in ``references.bib``.

    Returns:
        A decorator that returns the class unchanged.
    """

    def declare(cls: type[C]) -> type[C]:
        known: type[Any] = cls
        QUANTITIES.add(name, Declared(name, known, label, source))
        return cls

    return declare
