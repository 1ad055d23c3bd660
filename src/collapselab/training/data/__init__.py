"""Data sets, one file each, and what is done to their samples: standardised, augmented, in memory where they fit."""

from collapselab.training.data._spec import (
    DATA,
    EVALUATION_BATCH,
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
