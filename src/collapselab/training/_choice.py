"""What the registries of training hold: a frozen dataclass of settings, and what it says of itself."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from collapselab.core.registry import Registry

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A declared network, data set or loss.

    Attributes:
        name: Its key on the command line and in records.
        label: A few words for a table.
        source: Key in ``references.bib``.
        make: The frozen dataclass; its fields are the settings.
    """

    name: str
    label: str
    source: str
    make: type[T]

    @property
    def summary(self) -> str:
        """First sentence of the class's documentation."""
        return (inspect.getdoc(self.make) or "").split("\n\n")[0].replace("\n", " ")


C = TypeVar("C")


def declare(registry: Registry[Choice[T]], name: str, *, label: str, source: str) -> Callable[[type[C]], type[C]]:
    """Register a frozen dataclass.

    Args:
        registry: Where to.
        name: Its key.
        label: A few words for a table.
        source: Key in ``references.bib``.

    Returns:
        A decorator that returns the class unchanged.
    """

    def register(cls: type[C]) -> type[C]:
        registry.add(name, Choice(name, label, source, cls))  # pyright: ignore[reportArgumentType]
        return cls

    return register
