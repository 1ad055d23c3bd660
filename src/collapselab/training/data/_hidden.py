"""Data sets with a group that labels do not tell: two groups under label 1, and an auxiliary class under label 0."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from collapselab.training.data._made import shuffled, standardised, streams
from collapselab.training.data._samples import Splits
from collapselab.training.data._spec import DataSet


@dataclass(frozen=True, eq=False)
class Grouped:
    """A data set and the groups that its labels hide.

    Attributes:
        splits: The data set.
        train: Groups (n,) of the training samples: 0 for the auxiliary class, 1 and 2 for those that share label 1.
        test: Groups of the test samples.
    """

    splits: Splits
    train: Tensor
    test: Tensor


class HiddenGroups(DataSet):
    """Base of data sets whose class 1 is two groups of half the samples each, one more in the first if that is odd."""

    num_classes: ClassVar[int] = 2

    samples_per_class: int
    test_per_class: int

    @abstractmethod
    def points(self, groups: Tensor, generator: torch.Generator) -> Tensor:
        """Points before standardisation.

        Args:
            groups: Group (n,) of each.
            generator: Makes them.

        Returns:
            (n, d) float64.
        """

    def draw(self, generator: torch.Generator) -> Grouped:
        """The points as (n, d), with their groups.

        Args:
            generator: Makes the points.

        Returns:
            Both splits on the CPU, each in random order; the test points do not depend on how many there are for
            training, except for their standardisation.
        """
        sizes = (self.samples_per_class, self.test_per_class)
        made = [self._split(size, own) for size, own in zip(sizes, streams(generator), strict=True)]
        train, test = ((x, groups.clamp(max=1)) for x, groups in made)
        return Grouped(standardised(train, test, num_classes=self.num_classes), made[0][1], made[1][1])

    def load(self, generator: torch.Generator) -> Splits:
        """The same points without their groups.

        Args:
            generator: Makes the points.

        Returns:
            Both splits on the CPU.
        """
        return self.draw(generator).splits

    def _split(self, per_class: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        groups = torch.cat([torch.zeros(per_class, dtype=torch.int64), 1 + torch.arange(per_class) % 2])
        return shuffled(self.points(groups, generator), groups, generator)
