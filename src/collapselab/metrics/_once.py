"""Sums that several metrics read are computed once for each statistics object."""

import functools
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from collapselab.evidence.stats import ClassStats

T = TypeVar("T")


def once(fn: Callable[[ClassStats], T]) -> Callable[[ClassStats], T]:
    """Remember what a pure function of class statistics returned, as long as the statistics are alive.

    An `UndefinedMetric` is not remembered: it comes early and costs nothing.

    Args:
        fn: The function.

    Returns:
        The same function with a memory.
    """
    kept: WeakKeyDictionary[ClassStats, T] = WeakKeyDictionary()

    @functools.wraps(fn)
    def remembered(stats: ClassStats) -> T:
        if stats not in kept:
            kept[stats] = fn(stats)
        return kept[stats]

    return remembered
