"""What every data set is, and their registry."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar

import torch

from collapselab.core.registry import Registry
from collapselab.training._choice import Choice, by_name, declare
from collapselab.training.data._samples import Splits


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
