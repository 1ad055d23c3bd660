"""Penalties: terms that are added to any loss; one file each."""

from collapselab.training.penalties._spec import PENALTIES, Penalty, penalty

__all__ = ["PENALTIES", "Penalty", "penalty"]
