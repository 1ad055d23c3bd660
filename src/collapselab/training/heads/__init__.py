"""Heads: one file each. A head is linear in the features, trained or fixed; a neck prepares features."""

from collapselab.training.heads._neck import Neck
from collapselab.training.heads._spec import HEADS, Head, head
from collapselab.training.heads.learnable import Learnable

__all__ = ["HEADS", "Head", "Learnable", "Neck", "head"]
