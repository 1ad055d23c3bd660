"""Learning-rate schedules: one file each, pure functions of the epoch, so that nothing of them is ever saved."""

from collapselab.training.schedules.step import StepSchedule

__all__ = ["StepSchedule"]
