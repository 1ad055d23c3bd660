"""Learning-rate schedules: one file each, pure functions of the time, so that nothing of them is ever saved."""

from collapselab.training.schedules._spec import SCHEDULES, Schedule, schedule
from collapselab.training.schedules.step import StepSchedule

__all__ = ["SCHEDULES", "Schedule", "StepSchedule", "schedule"]
