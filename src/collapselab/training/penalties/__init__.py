"""Penalties: terms that are added to any loss; one file each."""

from typing import Any

from collapselab.training._choice import class_named, class_names
from collapselab.training.penalties._spec import PENALTIES, Penalty, penalty

__all__ = ["PENALTIES", "Penalty", "penalty"]


def __getattr__(name: str) -> Any:
    return class_named(PENALTIES, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *class_names(PENALTIES)])
