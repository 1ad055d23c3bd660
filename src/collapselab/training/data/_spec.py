"""Data sets, what most of them do to their samples, and their registry."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.core.registry import Registry
from collapselab.training._choice import Choice, by_name, declare
from collapselab.training.data._samples import EVALUATION_BATCH, Batches, Inputs, Samples, Scaling, Splits

__all__ = [
    "DATA",
    "EVALUATION_BATCH",
    "Batches",
    "DataSet",
    "Inputs",
    "Samples",
    "Scaling",
    "Splits",
    "balanced_rows",
    "balanced_split",
    "dataset",
]


class DataSet(ABC):
    """Base of all data sets: frozen dataclasses of settings that can load or make their data."""

    comes_along: ClassVar[bool] = True
    """Whether the data is there once the package is installed; False where files or a download must be named."""

    @abstractmethod
    def load(self, generator: torch.Generator) -> Splits:
        """The data, split and standardised.

        Args:
            generator: Decides which samples are for training, and whatever else is random.

        Returns:
            Both splits on the CPU.
        """


DATA: Registry[Choice[DataSet]] = Registry("data set", package="collapselab.training.data", order=by_name)

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
    train, test = balanced_rows(y, per_class=per_class, num_classes=num_classes, generator=generator)
    mean, sd = x[train].double().mean(), x[train].double().std(correction=0)
    x = ((x.double() - mean) / sd).float()
    return Splits(Samples(x[train], y[train]), Samples(x[test], y[test]), num_classes)


def balanced_rows(y: Tensor, *, per_class: int, num_classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw the same number of samples from each class, or all of a class that has fewer.

    Args:
        y: Labels (n,).
        per_class: Samples of each class.
        num_classes: K.
        generator: What the draw comes from.

    Returns:
        Indices of those drawn and of all others, each in random order.
    """
    order = torch.randperm(len(y), generator=generator)
    hits = torch.nn.functional.one_hot(y[order], num_classes)
    rank = (hits.cumsum(0) * hits).sum(1)  # 1 for the first sample of its class in the random order, 2 for the next ...
    chosen = rank <= per_class
    return order[chosen], order[~chosen]
