"""A learning rate that rises to a peak and falls again."""

from dataclasses import dataclass

from collapselab.core import checks
from collapselab.training.schedules._part import part_done
from collapselab.training.schedules._spec import Schedule, schedule


@schedule("triangle", label="triangle", source="smith2017")
@dataclass(frozen=True)
class Triangle(Schedule):
    """Let the learning rate rise in a straight line to its full height and fall in another one to the end.

    Attributes:
        peak: Part of all epochs after which the rate is highest, between 0 and 1.
        start: Factor of the first step, from 0 to 1.
        final: Factor at the end, from 0 to 1.
    """

    peak: float = 0.2
    start: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.peak, "peak", above=0, below=1)
        checks.real(self.start, "start", at_least=0, at_most=1)
        checks.real(self.final, "final", at_least=0, at_most=1)

    def scale(self, epoch: float, *, epochs: int) -> float:
        """Factor on the learning rate.

        Args:
            epoch: Epochs done, with the part of the present one.
            epochs: Epochs in all.

        Returns:
            1 at the peak, and what lies on the straight lines from the start to there and from there to the end.

        Example:
            >>> [Triangle(peak=0.5).scale(epoch, epochs=4) for epoch in range(5)]
            [0.0, 0.5, 1.0, 0.5, 0.0]
        """
        done = part_done(epoch, epochs)
        if done < self.peak:
            return self.start + (1 - self.start) * done / self.peak
        return self.final + (1 - self.final) * (1 - done) / (1 - self.peak)
