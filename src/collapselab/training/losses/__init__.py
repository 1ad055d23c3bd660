"""Losses: one file each. A loss gives one number for each sample; the mean over samples is what is minimised."""

from typing import Any

from collapselab.training._choice import class_named, class_names
from collapselab.training.losses._spec import LOSSES, Loss, Outputs, loss

__all__ = ["LOSSES", "Loss", "Outputs", "loss"]


def __getattr__(name: str) -> Any:
    return class_named(LOSSES, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *class_names(LOSSES)])
