"""Data sets that need no network: one file each. All are held in memory as tensors."""

from collapselab.training.data._spec import DATA, DataSet, Samples, Splits, balanced_split, dataset

__all__ = ["DATA", "DataSet", "Samples", "Splits", "balanced_split", "dataset"]
