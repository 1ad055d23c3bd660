"""A learning rate that falls along half a period of the cosine."""

import math
from dataclasses import dataclass

from collapselab.core import checks
from collapselab.training.schedules._part import part_done
from collapselab.training.schedules._spec import Schedule, schedule


@schedule("cosine", label="half a cosine", source="loshchilov2017")
@dataclass(frozen=True)
class CosineSchedule(Schedule):
    """Let the learning rate fall along half a period of the cosine, without restarts.

    Attributes:
        final: Factor at the end, from 0 to 1.
    """

    final: float = 0.0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.final, "final", at_least=0, at_most=1)

    def scale(self, epoch: float, *, epochs: int) -> float:
        r"""Factor on the learning rate.

        Args:
            epoch: Epochs done, with the part of the present one.
            epochs: Epochs in all.

        Returns:
            $f+(1-f)\tfrac12(1+\cos\pi t)$ with the part t of the training that is done and the final factor f.

        Example:
            >>> CosineSchedule().scale(0, epochs=10), round(CosineSchedule().scale(5, epochs=10), 12)
            (1.0, 0.5)
        """
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * part_done(epoch, epochs))) / 2
