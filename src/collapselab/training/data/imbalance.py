"""Class imbalance: fewer training samples of some classes, by a step or along an exponential tail."""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.data._rows import class_counts, class_ranks, with_training_rows
from collapselab.training.data._samples import Splits


@dataclass(frozen=True)
class Imbalance:
    """How many training samples each class keeps; the test split stays as it is.

    The step profile (fang2021) has majority classes first and minority classes last; the exponential one (cao2019)
    falls from the first class to the last.

    Attributes:
        profile: None, step or exponential.
        ratio: Largest over smallest class size, R >= 1.
        minority: Number of minority classes of the step profile, the last ones; by default half of all, rounded down.
    """

    profile: Literal["none", "step", "exponential"] = "none"
    ratio: float = 1.0
    minority: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.one_of(self.profile, "profile", ("none", "step", "exponential"))
        ratio = checks.real(self.ratio, "ratio", at_least=1)
        if self.profile == "none" and ratio > 1:
            raise InputError(f"profile must be step or exponential where ratio is above 1, got none with {ratio:g}")
        if self.minority is not None:
            checks.whole(self.minority, "minority", at_least=1)
            if self.profile != "step":
                raise InputError(f"minority belongs to the profile step, got it with profile {self.profile}")

    def counts(self, n: int, num_classes: int) -> tuple[int, ...]:
        r"""Samples that each class keeps.

        Step: $n$ for majority classes, $\max(1, [n / R])$ for minority classes, $[\cdot]$ rounding half up.
        Exponential: $[n R^{-k/(K-1)}]$ for class $k = 0, \dots, K-1$.

        Args:
            n: Samples of the largest class.
            num_classes: K.

        Returns:
            K numbers, none above the one before.

        Raises:
            InputError: If there are no majority classes left, or a class would be empty.

        Example:
            >>> Imbalance("step", ratio=10).counts(50, 4)
            (50, 50, 5, 5)
            >>> Imbalance("exponential", ratio=100).counts(500, 5)
            (500, 158, 50, 16, 5)
        """
        n = checks.whole(n, "samples of the largest class", at_least=1)
        if self.profile == "none":
            return (n,) * num_classes
        if num_classes < 2:
            raise InputError(f"profile {self.profile} needs at least 2 classes, got {num_classes}")
        if self.profile == "step":
            few = self._minority(num_classes)
            return (n,) * (num_classes - few) + (max(1, _rounded(n / self.ratio)),) * few
        found = tuple(_rounded(n * self.ratio ** (-k / (num_classes - 1))) for k in range(num_classes))
        if found[-1] == 0:
            raise InputError(
                f"ratio must be at most {2 * n} for {n} samples in the largest class, got {self.ratio:g}:"
                f" class {found.index(0)} would be empty"
            )
        return found

    def _minority(self, num_classes: int) -> int:
        few = num_classes // 2 if self.minority is None else self.minority
        if few >= num_classes:
            raise InputError(f"minority must be at most {num_classes - 1}, one less than the classes, got {few}")
        return few

    def apply(self, splits: Splits, generator: torch.Generator) -> Splits:
        """Draw the training samples that are kept.

        The largest class gets as many as the smallest of the given classes has, so that the ratio is what was asked
        for whatever the sizes were before. From the same generator state, a larger ratio keeps a subset.

        Args:
            splits: The data.
            generator: Decides which samples stay.

        Returns:
            New splits, the kept samples in their old order; the given ones where the profile is none.

        Raises:
            InputError: If a class is empty or would be.
        """
        if self.profile == "none":
            return splits
        y = splits.train.y.cpu()
        smallest = int(class_counts(y, splits.num_classes).min())
        kept = torch.tensor(self.counts(smallest, splits.num_classes))
        return with_training_rows(splits, (class_ranks(y, generator) < kept[y]).nonzero().flatten())


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)
