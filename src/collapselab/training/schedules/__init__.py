"""Learning-rate schedules: one file each, pure functions of the time, so that nothing of them is ever saved."""

from collapselab.training.schedules._spec import SCHEDULES, Schedule, schedule
from collapselab.training.schedules.constant import Constant
from collapselab.training.schedules.cosine import CosineSchedule
from collapselab.training.schedules.exponential import Exponential
from collapselab.training.schedules.polynomial import Polynomial
from collapselab.training.schedules.step import StepSchedule
from collapselab.training.schedules.triangle import Triangle

__all__ = [
    "SCHEDULES",
    "Constant",
    "CosineSchedule",
    "Exponential",
    "Polynomial",
    "Schedule",
    "StepSchedule",
    "Triangle",
    "schedule",
]
