"""Two folded boxes, one inside the other."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.training.data._curved import Curved, on_curve, signs, uniform
from collapselab.training.data._spec import dataset

MIDDLE = 12.0
"""Mean half height of the two boxes."""

SLOPE = 1.2
"""By how much a side rises over a unit of its width."""

# Length of a side over a unit of its width.
_LENGTH = math.sqrt(1 + SLOPE**2)


@dataset("folded_boxes", label="folded boxes", source="he2020")
@dataclass(frozen=True)
class FoldedBoxes(Curved):
    r"""Points on two tubes of diamond section, one inside the other; standardised.

    $|y| = 12 + s - 1.2\,|x|$ with uniform x, $|z|\le1$, and $s=-1$ for class 0, the inner one, and 1 for class 1. The
    tubes can be rolled out, so that distances along them are exact.

    Attributes:
        samples_per_class: Training points of each class.
        test_per_class: Test points of each class.
    """

    samples_per_class: int = 50
    test_per_class: int = 50

    def __post_init__(self) -> None:
        """Check the fields."""
        self._check_sizes()

    def points(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """Points before standardisation, uniform over the tube.

        Args:
            y: Label (n,) of each.
            generator: Makes them.

        Returns:
            (n, 3) float64.
        """
        height = MIDDLE + signs(y)
        across = height / SLOPE * uniform(len(y), generator)
        upper = torch.where(uniform(len(y), generator) < 0, -1.0, 1.0)
        return torch.stack([across, upper * (height - SLOPE * across.abs()), uniform(len(y), generator)], 1)

    def distances(self, x: Tensor, label: int) -> Tensor:
        """Lengths of the shortest ways along a tube.

        Args:
            x: Points (n, 3) of one class before standardisation.
            label: Their class.

        Returns:
            (n, n) float64.

        Raises:
            InputError: If the points do not lie there.
        """
        x = checks.matrix(x, "x", axes="(points, 3)").double()
        height = MIDDLE + 2 * label - 1
        on_curve(x, x[:, 1].abs() - (height - SLOPE * x[:, 0].abs()), size=height, label=label)
        width, place = height / SLOPE, x[:, 0]
        # Counted from the right edge, along the upper side and back along the lower one.
        round_it = torch.where(x[:, 1] >= 0, width - place, place - width)
        apart = (round_it[:, None] - round_it).abs()
        apart = torch.minimum(apart, 4 * width - apart)
        return ((_LENGTH * apart) ** 2 + (x[:, None, 2] - x[:, 2]) ** 2).sqrt()
