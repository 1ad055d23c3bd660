"""Data sets of two classes that lie on curved lines or surfaces, with the distance along them."""

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.data._made import shuffled, standardised, streams
from collapselab.training.data._samples import Splits
from collapselab.training.data._spec import DataSet

# How far a point may lie beside the curve that it is said to be on, as a part of the size of the curve.
OFF = 1e-6


class Curved(DataSet):
    """Base of data sets of points (n, 3) on two curves or surfaces, one a class."""

    num_classes: ClassVar[int] = 2

    samples_per_class: int
    test_per_class: int

    @abstractmethod
    def points(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """Points before standardisation.

        Args:
            y: Label (n,) of each.
            generator: Makes them.

        Returns:
            (n, 3) float64.
        """

    @abstractmethod
    def distances(self, x: Tensor, label: int) -> Tensor:
        """Distances along the curve of a class.

        Args:
            x: Points (n, 3) of one class before standardisation.
            label: Their class.

        Returns:
            (n, n) non-negative numbers, float64.

        Raises:
            InputError: If the points do not lie there.
        """

    def load(self, generator: torch.Generator) -> Splits:
        """The points as (n, 3), standardised.

        Args:
            generator: Makes the points.

        Returns:
            Both splits on the CPU, each in random order; the test points do not depend on how many there are for
            training, except for their standardisation.
        """
        sizes = (self.samples_per_class, self.test_per_class)
        train, test = (self._split(size, own) for size, own in zip(sizes, streams(generator), strict=True))
        return standardised(train, test, num_classes=self.num_classes)

    def _split(self, per_class: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        y = torch.arange(2).repeat_interleave(per_class)
        return shuffled(self.points(y, generator), y, generator)

    def _check_sizes(self) -> None:
        checks.whole(self.samples_per_class, "samples_per_class", at_least=1)
        checks.whole(self.test_per_class, "test_per_class", at_least=1)


def signs(y: Tensor) -> Tensor:
    """-1 and 1 for the two classes.

    Args:
        y: Labels (n,), 0 or 1.

    Returns:
        (n,) float64.
    """
    return 2.0 * y.double() - 1.0


def uniform(n: int, generator: torch.Generator) -> Tensor:
    """Independent draws.

    Args:
        n: How many.
        generator: What they come from.

    Returns:
        (n,) numbers from -1 to 1, float64.
    """
    return 2 * torch.rand(n, generator=generator, dtype=torch.float64) - 1


def on_curve(x: Tensor, off: Tensor, *, size: float, label: int) -> None:
    """Refuse points that lie elsewhere.

    Args:
        x: Points (n, 3).
        off: How far each lies beside the curve.
        size: Of the curve.
        label: Whose curve.

    Raises:
        InputError: If one does.
    """
    far = float(off.abs().max()) if len(x) else 0.0
    if not far <= OFF * size or not math.isfinite(far):
        raise InputError(f"x must be points of class {label} before standardisation, got one {far:.3g} beside it")
