"""Data sets, one file each, and what is done to their samples: standardised, augmented, in memory where they fit."""

from typing import Any

from collapselab.training._choice import class_named, class_names
from collapselab.training.data._made import balanced_split
from collapselab.training.data._rows import balanced_rows
from collapselab.training.data._samples import EVALUATION_BATCH, Samples, Scaling, Splits
from collapselab.training.data._spec import DATA, DataSet, dataset
from collapselab.training.data.augmentation import Augmentation

__all__ = [
    "DATA",
    "EVALUATION_BATCH",
    "Augmentation",
    "DataSet",
    "Samples",
    "Scaling",
    "Splits",
    "balanced_rows",
    "balanced_split",
    "dataset",
]


def __getattr__(name: str) -> Any:
    return class_named(DATA, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *class_names(DATA)])
