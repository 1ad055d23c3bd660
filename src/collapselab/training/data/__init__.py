"""Data sets, one file each, and what is done to their samples: standardised, augmented, held in memory where they fit."""

from collapselab.training.data._spec import (
    DATA,
    DataSet,
    Samples,
    Scaling,
    Splits,
    balanced_rows,
    balanced_split,
    dataset,
)
from collapselab.training.data.augmentation import Augmentation

__all__ = [
    "DATA",
    "Augmentation",
    "DataSet",
    "Samples",
    "Scaling",
    "Splits",
    "balanced_rows",
    "balanced_split",
    "dataset",
]
