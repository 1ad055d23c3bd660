"""The head and the tail of the classes as places in the statistics, for the metrics that compare them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._directions import two_classes
from collapselab.metrics._once import once
from collapselab.records.groups import GROUPS, ClassGroup, class_groups

Places = dict[ClassGroup, Int[Tensor, " m"]]


@once
def _places(stats: ClassStats) -> Places:
    two_classes(stats)
    names = class_groups(stats.counts.tolist())
    if "head" not in names:
        raise UndefinedMetric(
            "needs classes of different sizes: the largest has less than 1.5 times the samples of the smallest"
        )
    return {
        group: torch.tensor([at for at, name in enumerate(names) if name == group], device=stats.means.device).long()
        for group in GROUPS
    }


def group_of(stats: ClassStats, group: ClassGroup, *, at_least: int = 1) -> Int[Tensor, " m"]:
    """Places of the classes of a group among the classes seen.

    Args:
        stats: Class statistics.
        group: Which group.
        at_least: Classes it must have, one or two.

    Returns:
        Indices into the rows of the statistics, ascending.

    Raises:
        UndefinedMetric: If sizes count as equal, or the group has too few classes.
    """
    found = _places(stats)[group]
    if found.numel() < at_least:
        raise UndefinedMetric(f"the {group} group has a single class: there is no pair of classes in it")
    return found


def mean_cosine_within(directions: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """Mean cosine over pairs of different rows, from the norm of their sum.

    Args:
        directions: At least two unit rows.

    Returns:
        Number in [-1, 1].
    """
    m = directions.shape[0]
    return ((directions.sum(0).square().sum() - m) / (m * (m - 1))).clamp(-1.0, 1.0)


def mean_cosine_between(first: Float[Tensor, "m d"], second: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean cosine over pairs of a row of one set and a row of the other, from their mean rows.

    Args:
        first: Unit rows.
        second: Unit rows.

    Returns:
        Number in [-1, 1].
    """
    return (first.mean(0) @ second.mean(0)).clamp(-1.0, 1.0)
