"""Optimisers: one file each."""

from typing import Any

from collapselab.training._choice import class_named, class_names
from collapselab.training.optimisers._spec import OPTIMISERS, Each, Optimiser, Work, optimiser

__all__ = ["OPTIMISERS", "Each", "Optimiser", "Work", "optimiser"]


def __getattr__(name: str) -> Any:
    return class_named(OPTIMISERS, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *class_names(OPTIMISERS)])
