"""Learning-rate schedules: one file each, pure functions of the time, so that nothing of them is ever saved."""

from typing import Any

from collapselab.training._choice import class_named, class_names
from collapselab.training.schedules._spec import SCHEDULES, Schedule, schedule

__all__ = ["SCHEDULES", "Schedule", "schedule"]


def __getattr__(name: str) -> Any:
    return class_named(SCHEDULES, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *class_names(SCHEDULES)])
