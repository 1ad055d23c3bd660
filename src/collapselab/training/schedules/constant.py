"""A learning rate that stays."""

from dataclasses import dataclass

from collapselab.training.schedules._spec import Schedule, schedule


@schedule("constant", label="constant", source="soudry2018")
@dataclass(frozen=True)
class Constant(Schedule):
    """Leave the learning rate as it is."""

    def scale(self, epoch: float, *, epochs: int) -> float:
        """Factor on the learning rate.

        Args:
            epoch: Epochs done, with the part of the present one.
            epochs: Epochs in all.

        Returns:
            1.
        """
        del epoch, epochs
        return 1.0
