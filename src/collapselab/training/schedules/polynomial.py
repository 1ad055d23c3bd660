"""A learning rate that falls like a power of the time that is left."""

from dataclasses import dataclass

from collapselab.core import checks
from collapselab.training.schedules._part import part_done
from collapselab.training.schedules._spec import Schedule, schedule


@schedule("polynomial", label="power of the time left", source="chen2018")
@dataclass(frozen=True)
class Polynomial(Schedule):
    """Let the learning rate fall like a power of the time that is left, by default in a straight line.

    Attributes:
        power: The power, above 0.
        final: Factor at the end, from 0 to 1.
    """

    power: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.power, "power", above=0)
        checks.real(self.final, "final", at_least=0, at_most=1)

    def scale(self, epoch: float, *, epochs: int) -> float:
        r"""Factor on the learning rate.

        Args:
            epoch: Epochs done, with the part of the present one.
            epochs: Epochs in all.

        Returns:
            $f+(1-f)(1-t)^p$ with the part t of the training that is done, the final factor f and the power p.

        Example:
            >>> Polynomial().scale(1, epochs=4), Polynomial(power=2).scale(2, epochs=4)
            (0.75, 0.25)
        """
        return self.final + (1 - self.final) * (1 - part_done(epoch, epochs)) ** self.power
