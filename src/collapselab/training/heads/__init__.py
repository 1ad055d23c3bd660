"""Heads: one file each. A head is linear in the features, trained or fixed; a neck prepares features."""

from typing import Any

from collapselab.training._choice import class_named, class_names
from collapselab.training.heads._fixed import FixedHead, FixedLinear
from collapselab.training.heads._neck import Centring, Neck
from collapselab.training.heads._spec import HEADS, Head, head

__all__ = ["HEADS", "Centring", "FixedHead", "FixedLinear", "Head", "Neck", "head"]


def __getattr__(name: str) -> Any:
    return class_named(HEADS, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *class_names(HEADS)])
