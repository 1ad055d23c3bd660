"""Optimisers: one file each."""

from collapselab.training.optimisers.sgd import SGD

__all__ = ["SGD"]
