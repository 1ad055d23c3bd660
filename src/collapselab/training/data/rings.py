"""Rings: the inner and the outer one share a label, the one between them has the other."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.data._hidden import HiddenGroups
from collapselab.training.data._spec import dataset


@dataset("rings", label="rings", source="he2020")
@dataclass(frozen=True)
class Rings(HiddenGroups):
    """Points in the plane on three rings around one centre: the middle one is class 0, the other two class 1.

    The hidden groups of class 1 (`draw` tells them) have the same centre, so that k-means on the points cannot find
    them; standardised.

    Attributes:
        samples_per_class: Training points of each class; half of those of class 1 lie on each ring.
        test_per_class: Test points of each class.
        radii: Of the inner, the middle and the outer ring.
        noise: Standard deviation of the distance from the centre.
    """

    samples_per_class: int = 300
    test_per_class: int = 100
    radii: tuple[float, float, float] = (1.0, 2.0, 3.0)
    noise: float = 0.1

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.samples_per_class, "samples_per_class", at_least=1)
        checks.whole(self.test_per_class, "test_per_class", at_least=1)
        three = isinstance(self.radii, tuple) and len(self.radii) == 3
        for radius in self.radii if three else ():
            checks.real(radius, "every entry of radii", above=0)
        if not three or list(self.radii) != sorted(set(self.radii)):
            raise InputError(f"radii must be three different numbers in ascending order, got {self.radii!r}")
        checks.real(self.noise, "noise", at_least=0)

    def points(self, groups: Tensor, generator: torch.Generator) -> Tensor:
        """Points on rings: at uniform angles, and at the radius of their ring with Gaussian noise.

        Args:
            groups: Group (n,) of each: 0 in the middle, 1 inside, 2 outside.
            generator: Makes them.

        Returns:
            (n, 2) float64.
        """
        inner, middle, outer = self.radii
        own = torch.tensor([middle, inner, outer], dtype=torch.float64)[groups]
        angle = 2 * math.pi * torch.rand(len(groups), generator=generator, dtype=torch.float64)
        radius = own + self.noise * torch.randn(len(groups), generator=generator, dtype=torch.float64)
        return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
