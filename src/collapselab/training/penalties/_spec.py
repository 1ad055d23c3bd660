"""The registry of penalties."""

from collections.abc import Callable
from typing import TypeVar

from collapselab.core.registry import Registry
from collapselab.training._choice import Choice, by_name, declare
from collapselab.training.losses import Loss


class Penalty(Loss):
    """Base of all penalties: a loss that is added to another one, its strength among its settings."""


PENALTIES: Registry[Choice[Penalty]] = Registry("penalty", package="collapselab.training.penalties", order=by_name)

C = TypeVar("C")


def penalty(name: str, *, label: str, source: str) -> Callable[[type[C]], type[C]]:
    """Declare a penalty.

    Args:
        name: Its key.
        label: A few words for a table.
        source: Key in ``references.bib``.

    Returns:
        A decorator that returns the class unchanged.
    """
    return declare(PENALTIES, name, label=label, source=source)
