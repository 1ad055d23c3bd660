"""Samples in memory, their balanced split, and the registry of data sets."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.core.registry import Registry
from collapselab.training._choice import Choice, declare

# Samples looked at together while measuring; a fixed size, so that sums are added in the same order everywhere.
EVALUATION_BATCH = 512


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and labels of one split, whole in memory.

    Attributes:
        x: Inputs (n, ...), float32.
        y: Labels (n,), int64.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return self.y.shape[0]

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Some samples as a network takes them.

        Args:
            rows: Indices (m,).

        Returns:
            Inputs (m, ...) in float32 and labels (m,), where the samples are.
        """
        return self.x[rows], self.y[rows]

    def to(self, device: torch.device) -> "Samples":
        """The same samples on a device.

        Args:
            device: Where to.

        Returns:
            New samples, or these where they are there already.
        """
        return Samples(self.x.to(device), self.y.to(device))

    def batches(self, size: int = EVALUATION_BATCH) -> "Batches":
        """The samples in order, in batches: a loader that can be read again and again.

        Args:
            size: Samples in a batch; the last may be smaller.

        Returns:
            An iterable of (x, y).
        """
        return Batches(self, size)


@dataclass(frozen=True, eq=False)
class Batches:
    """Consecutive batches of samples, the same in every pass."""

    samples: Samples
    size: int

    def __len__(self) -> int:
        return -(-len(self.samples) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = self.samples.x, self.samples.y
        yield from zip(torch.split(x, self.size), torch.split(y, self.size), strict=True)


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set ready for training.

    Attributes:
        train: As many samples of each class as asked for.
        test: All others.
        num_classes: K.
    """

    train: Samples
    test: Samples
    num_classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, channels first."""
        return tuple(self.train.x.shape[1:])

    def to(self, device: torch.device) -> "Splits":
        """The same data on a device.

        Args:
            device: Where to.

        Returns:
            New splits.
        """
        return Splits(self.train.to(device), self.test.to(device), self.num_classes)


class DataSet(ABC):
    """Base of all data sets: frozen dataclasses of settings that can load or make their data."""

    @abstractmethod
    def load(self, generator: torch.Generator) -> Splits:
        """The data, split and standardised.

        Args:
            generator: Decides which samples are for training, and whatever else is random.

        Returns:
            Both splits on the CPU.
        """


DATA: Registry[Choice[DataSet]] = Registry("data set", package="collapselab.training.data")

C = TypeVar("C")


def dataset(name: str, *, label: str, source: str) -> Callable[[type[C]], type[C]]:
    """Declare a data set.

    Args:
        name: Its key.
        label: A few words for a table.
        source: Key in ``references.bib``.

    Returns:
        A decorator that returns the class unchanged.
    """
    return declare(DATA, name, label=label, source=source)


def balanced_split(x: Tensor, y: Tensor, *, per_class: int, num_classes: int, generator: torch.Generator) -> Splits:
    """Draw the same number of training samples from each class; all others are for testing.

    Inputs are shifted and scaled by one mean and one standard deviation over all values of the training inputs.

    Args:
        x: Inputs (n, ...).
        y: Labels (n,).
        per_class: Training samples of each class.
        num_classes: K.
        generator: What the draw comes from.

    Returns:
        Both splits, each in random order.

    Raises:
        InputError: If a class has too few samples to leave one for testing.
    """
    smallest = int(torch.bincount(y, minlength=num_classes).min())
    if per_class >= smallest:
        raise InputError(
            f"samples_per_class must be at most {smallest - 1}, one less than the smallest class has, got {per_class}"
        )
    order = torch.randperm(len(y), generator=generator)
    x, y = x[order], y[order]
    hits = torch.nn.functional.one_hot(y, num_classes)
    rank = (hits.cumsum(0) * hits).sum(1)  # 1 for the first sample of its class in the random order, 2 for the next ...
    chosen = rank <= per_class
    mean, sd = x[chosen].double().mean(), x[chosen].double().std(correction=0)
    x = ((x.double() - mean) / sd).float()
    return Splits(Samples(x[chosen], y[chosen]), Samples(x[~chosen], y[~chosen]), num_classes)
