"""Optimisers: one file each."""

from collapselab.training.optimisers._spec import OPTIMISERS, Each, Optimiser, Work, optimiser
from collapselab.training.optimisers.sgd import SGD

__all__ = ["OPTIMISERS", "SGD", "Each", "Optimiser", "Work", "optimiser"]
