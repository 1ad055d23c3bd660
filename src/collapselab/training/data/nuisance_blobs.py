"""Blobs that one axis tells apart, and that another axis, with a wider spread and no meaning, hides."""

from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.training.data._hidden import HiddenGroups
from collapselab.training.data._spec import dataset


@dataset("nuisance_blobs", label="blobs with a nuisance axis", source="he2020")
@dataclass(frozen=True)
class NuisanceBlobs(HiddenGroups):
    """Three blobs in a row along the first axis, spread wide along the second: the middle one is class 0.

    The outer two are the hidden groups of class 1 (`draw` tells them). The second axis holds more of the variance than
    the first, so that k-means on the points splits along it; standardised.

    Attributes:
        samples_per_class: Training points of each class; half of those of class 1 belong to each group.
        test_per_class: Test points of each class.
        num_features: Axes; those after the second are noise.
        distance: Of the groups from the middle, along the first axis.
        spread: Standard deviation along the first axis.
        nuisance: Half the width of the uniform distribution along the second axis.
        noise: Standard deviation along all other axes.
    """

    samples_per_class: int = 300
    test_per_class: int = 100
    num_features: int = 10
    distance: float = 2.0
    spread: float = 0.4
    nuisance: float = 6.0
    noise: float = 0.3

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.samples_per_class, "samples_per_class", at_least=1)
        checks.whole(self.test_per_class, "test_per_class", at_least=1)
        checks.whole(self.num_features, "num_features", at_least=2)
        checks.real(self.distance, "distance", above=0)
        for name in ("spread", "nuisance", "noise"):
            checks.real(getattr(self, name), name, at_least=0)

    def points(self, groups: Tensor, generator: torch.Generator) -> Tensor:
        """Points of blobs.

        Args:
            groups: Group (n,) of each: 0 in the middle, 1 below it and 2 above it along the first axis.
            generator: Makes them.

        Returns:
            (n, d) float64.
        """
        x = self.noise * torch.randn(len(groups), self.num_features, generator=generator, dtype=torch.float64)
        along = torch.randn(len(groups), generator=generator, dtype=torch.float64)
        wide = torch.rand(len(groups), generator=generator, dtype=torch.float64)
        x[:, 0] = self.distance * torch.tensor([0.0, -1.0, 1.0])[groups] + self.spread * along
        x[:, 1] = self.nuisance * (2 * wide - 1)
        return x
