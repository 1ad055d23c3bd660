"""Two interleaved curves on a torus."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.training.data._curved import Curved, on_curve, signs, uniform
from collapselab.training.data._spec import dataset


@dataset("torus", label="curves on a torus", source="he2020")
@dataclass(frozen=True)
class InterleavedCurves(Curved):
    r"""Points on two closed curves that wind around a torus, opposite each other in every section; standardised.

    $((r + s\sin k\theta)\cos\theta,\ (r + s\sin k\theta)\sin\theta,\ s\cos k\theta)$ with uniform $\theta$, $s=-1$ for
    class 0 and 1 for class 1. The distance along a curve is the difference of angles, as He and Su measure it; the
    curve is not run through at an even pace, but by the default settings its speed varies by a tenth about its mean.

    Attributes:
        samples_per_class: Training points of each class.
        test_per_class: Test points of each class.
        radius: r, of the ring that both wind around; above 1, the radius of the torus's section.
        turns: k, how often they wind around it.
    """

    samples_per_class: int = 50
    test_per_class: int = 50
    radius: float = 8.0
    turns: int = 4

    def __post_init__(self) -> None:
        """Check the fields."""
        self._check_sizes()
        checks.real(self.radius, "radius", above=1)
        checks.whole(self.turns, "turns", at_least=1)

    def points(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """Points before standardisation, at uniform angles.

        Args:
            y: Label (n,) of each.
            generator: Makes them.

        Returns:
            (n, 3) float64.
        """
        return self.at(math.pi * uniform(len(y), generator), y)

    def at(self, angle: Tensor, y: Tensor) -> Tensor:
        """The points at given angles.

        Args:
            angle: θ (n,), float64.
            y: Label (n,) of each.

        Returns:
            (n, 3) float64, before standardisation.
        """
        s, winding = signs(y), self.turns * angle
        out = self.radius + s * winding.sin()
        return torch.stack([out * angle.cos(), out * angle.sin(), s * winding.cos()], 1)

    def distances(self, x: Tensor, label: int) -> Tensor:
        """Differences of angles.

        Args:
            x: Points (n, 3) of one class before standardisation.
            label: Their class.

        Returns:
            (n, n) from 0 to π, float64.

        Raises:
            InputError: If the points do not lie there.
        """
        x = checks.matrix(x, "x", axes="(points, 3)").double()
        angle = torch.atan2(x[:, 1], x[:, 0])
        on_curve(x, (x - self.at(angle, torch.full((len(x),), label))).norm(dim=1), size=self.radius, label=label)
        apart = (angle[:, None] - angle).abs()
        return torch.minimum(apart, 2 * math.pi - apart)
