"""The registry of heads."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from torch import nn

from collapselab.core.registry import Registry
from collapselab.training._choice import Choice, by_name, declare


class Head(ABC):
    """Base of all heads: frozen dataclasses of settings that can build a linear layer."""

    @abstractmethod
    def build(self, num_features: int, num_classes: int) -> nn.Linear:
        """A new head; what it draws comes from torch's global generator.

        Args:
            num_features: d.
            num_classes: K.

        Returns:
            A linear layer; parameters that are not to be trained need no gradient.
        """


HEADS: Registry[Choice[Head]] = Registry("head", package="collapselab.training.heads", order=by_name)

C = TypeVar("C")


def head(name: str, *, label: str, source: str) -> Callable[[type[C]], type[C]]:
    """Declare a head.

    Args:
        name: Its key.
        label: A few words for a table.
        source: Key in ``references.bib``.

    Returns:
        A decorator that returns the class unchanged.
    """
    return declare(HEADS, name, label=label, source=source)
