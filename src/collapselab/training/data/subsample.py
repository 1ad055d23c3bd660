"""Fewer training samples of each class."""

from dataclasses import dataclass

import torch

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.data._rows import class_counts, class_ranks, with_training_rows
from collapselab.training.data._samples import Splits


@dataclass(frozen=True)
class Subsample:
    """How many training samples of each class are used; the test split stays as it is.

    Attributes:
        per_class: Training samples of each class; by default all.
    """

    per_class: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.per_class is not None:
            checks.whole(self.per_class, "per_class", at_least=1)

    def apply(self, splits: Splits, generator: torch.Generator) -> Splits:
        """Draw the training samples that are used.

        From the same generator state, a smaller number gives a subset.

        Args:
            splits: The data.
            generator: Decides which samples stay.

        Returns:
            New splits, the kept samples in their old order; the given ones where all are used.

        Raises:
            InputError: If a class has too few samples.
        """
        if self.per_class is None:
            return splits
        y = splits.train.y.cpu()
        counts = class_counts(y, splits.num_classes)
        if self.per_class > int(counts.min()):
            raise InputError(
                f"per_class must be at most {int(counts.min())}, the training samples of class {int(counts.argmin())},"
                f" got {self.per_class}"
            )
        return with_training_rows(splits, (class_ranks(y, generator) < self.per_class).nonzero().flatten())
