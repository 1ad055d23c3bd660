"""A learning rate that falls by the same factor in equal times."""

from dataclasses import dataclass

from collapselab.core import checks
from collapselab.training.schedules._part import part_done
from collapselab.training.schedules._spec import Schedule, schedule


@schedule("exponential", label="exponential decay", source="li2020")
@dataclass(frozen=True)
class Exponential(Schedule):
    """Let the learning rate fall by the same factor in equal times.

    Attributes:
        final: Factor at the end, above 0 and at most 1.
    """

    final: float = 0.001

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.final, "final", above=0, at_most=1)

    def scale(self, epoch: float, *, epochs: int) -> float:
        """Factor on the learning rate.

        Args:
            epoch: Epochs done, with the part of the present one.
            epochs: Epochs in all.

        Returns:
            The final factor to the power of the part of the training that is done.

        Example:
            >>> [Exponential(final=0.25).scale(epoch, epochs=2) for epoch in range(3)]
            [1.0, 0.5, 0.25]
        """
        return self.final ** part_done(epoch, epochs)
