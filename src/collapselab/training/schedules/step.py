"""A learning rate that is cut at fixed parts of the training."""

from dataclasses import dataclass

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.schedules._spec import Schedule, schedule


@schedule("step", label="cuts at fixed parts of the training", source="papyan2020")
@dataclass(frozen=True)
class StepSchedule(Schedule):
    """Multiply the learning rate by a factor at each milestone.

    Attributes:
        milestones: Parts of all epochs after which the rate is cut, ascending, each between 0 and 1.
        factor: What the rate is multiplied by.
    """

    milestones: tuple[float, ...] = (0.6, 0.85)
    factor: float = 0.1

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.factor, "factor", above=0)
        if not isinstance(self.milestones, tuple):
            raise InputError(f"milestones must be a sequence of numbers between 0 and 1, got {self.milestones!r}")
        for milestone in self.milestones:
            checks.real(milestone, "every entry of milestones", above=0, below=1)
        if list(self.milestones) != sorted(self.milestones):
            raise InputError(f"milestones must ascend, got {self.milestones!r}")

    def scale(self, epoch: float, *, epochs: int) -> float:
        """Factor on the learning rate.

        Args:
            epoch: Epochs done, with the part of the present one.
            epochs: Epochs in all.

        Returns:
            The factor to the number of milestones behind.

        Example:
            >>> StepSchedule((0.5,), 0.1).scale(4, epochs=10), StepSchedule((0.5,), 0.1).scale(5, epochs=10)
            (1.0, 0.1)
        """
        behind = sum(epoch >= round(milestone * epochs) for milestone in self.milestones)
        return self.factor**behind
