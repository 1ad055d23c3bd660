"""When to measure."""

from collections.abc import Collection
from dataclasses import dataclass

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.loop import Progress


@dataclass(frozen=True)
class Clock:
    """Moments at which to measure; the end of a training is always one.

    Attributes:
        epochs: Epochs after which to measure; 0 is before training.
        steps: Optimiser steps after which to measure, within an epoch too; 0 is before training.
    """

    epochs: frozenset[int]
    steps: frozenset[int]

    @classmethod
    def of(cls, epochs: Collection[int], steps: Collection[int]) -> "Clock":
        """A clock from what a recipe says.

        Args:
            epochs: Whole numbers from 0.
            steps: Whole numbers from 0.

        Returns:
            The clock.

        Raises:
            InputError: If they are no whole numbers, or negative.
        """
        for name, moments in (("at", epochs), ("at_steps", steps)):
            if isinstance(moments, int):
                raise InputError(f"{name} must be a collection of moments, got the single number {moments}")
            for moment in moments:
                checks.whole(moment, f"{name}: each moment", at_least=0)
        return cls(frozenset(epochs), frozenset(steps))

    def with_steps(self, steps: Collection[int]) -> "Clock":
        """The same clock with further moments.

        Args:
            steps: Optimiser steps, whole numbers from 0.

        Returns:
            New clock.

        Raises:
            InputError: If they are no whole numbers, or negative.
        """
        return Clock(self.epochs, self.steps | Clock.of((), steps).steps)

    @property
    def before(self) -> bool:
        """Whether to measure before training."""
        return 0 in self.epochs or 0 in self.steps

    def strikes(self, progress: Progress) -> bool:
        """Whether to measure after a step.

        Args:
            progress: Where the training stands after it.

        Returns:
            True at the wanted moments and at the end.
        """
        at_epoch = progress.loss is not None and progress.epoch in self.epochs
        return progress.last or at_epoch or progress.step in self.steps


def log_spaced(last: int, count: int) -> tuple[int, ...]:
    """Whole epochs, or steps, from 1 to the last one, as evenly spaced in the logarithm as whole numbers can be.

    Early ones come one by one, because the ratio that is left would give the same one twice; the ratio is corrected
    after each of them, so that exactly the wanted number comes out.

    Args:
        last: The last epoch or step, always among them.
        count: How many; all if there are no more.

    Returns:
        Ascending epochs or steps.

    Example:
        >>> log_spaced(300, 12)
        (1, 2, 3, 5, 9, 15, 24, 40, 67, 110, 182, 300)
    """
    last, count = checks.whole(last, "last", at_least=1), checks.whole(count, "count", at_least=1)
    if count == 1:
        return (last,)
    if count >= last:
        return tuple(range(1, last + 1))
    chosen = [1]
    position = 1.0
    while len(chosen) < count:
        ratio = (last / position) ** (1 / (count - len(chosen)))
        position = max(position * ratio, position + 1)
        chosen.append(round(position))
    return tuple(chosen)
