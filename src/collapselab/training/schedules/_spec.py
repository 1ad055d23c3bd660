"""The registry of schedules."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from collapselab.core.registry import Registry
from collapselab.training._choice import Choice, by_name, declare


class Schedule(ABC):
    """Base of all schedules: frozen dataclasses of settings, pure functions of the time."""

    @abstractmethod
    def scale(self, epoch: float, *, epochs: int) -> float:
        """Factor on the learning rate of the step that comes next.

        Args:
            epoch: Epochs done, with the part of the present one.
            epochs: Epochs in all.

        Returns:
            The factor.
        """


SCHEDULES: Registry[Choice[Schedule]] = Registry("schedule", package="collapselab.training.schedules", order=by_name)

C = TypeVar("C")


def schedule(name: str, *, label: str, source: str) -> Callable[[type[C]], type[C]]:
    """Declare a schedule.

    Args:
        name: Its key.
        label: A few words for a table.
        source: Key in ``references.bib``.

    Returns:
        A decorator that returns the class unchanged.
    """
    return declare(SCHEDULES, name, label=label, source=source)
