"""What attacks find: how far each sample had to be moved, and whether it could be moved at all."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric


@dataclass(frozen=True, eq=False)
class Perturbations:
    """Least perturbations found that take samples to the boundary of their class or beyond.

    Attributes:
        distance: (n,) float64: 0 for a sample that is misclassified as it is, infinite where nothing was found. What an
            attack finds is an upper bound of the true distance.
        moved: Where the samples went, (n, ...): the sample itself where the distance is 0 or infinite.
    """

    distance: Tensor
    moved: Tensor

    @property
    def failed(self) -> Tensor:
        """(n,), whether nothing was found."""
        return self.distance.isinf()

    @property
    def failures(self) -> float:
        """Fraction of the samples for which nothing was found."""
        return float(self.failed.double().mean())

    def robust_accuracy(self, radius: float) -> float:
        """Fraction of the samples that are classified right everywhere within a radius, as far as was found.

        Args:
            radius: In the units of the inputs; 0 gives the accuracy.

        Returns:
            A number from 0 to 1 that does not grow with the radius; an upper bound where an attack was used.
        """
        checks.real(radius, "radius", at_least=0)
        return float((self.distance > radius).double().mean())

    def robust_accuracies(self, radii: Tensor) -> Tensor:
        """`robust_accuracy` at many radii.

        Args:
            radii: (m,), not negative.

        Returns:
            (m,) float64.

        Raises:
            InputError: If they are no such vector.
        """
        radii = checks.as_tensor(radii, "radii")
        if radii.ndim != 1 or not bool((radii >= 0).all()):
            raise InputError(f"radii must be a vector of numbers of at least 0, got {radii!r}")
        ordered = self.distance.sort().values
        within = torch.searchsorted(ordered, radii.to(ordered), right=True)
        return 1 - within.double() / len(ordered)

    def quantile(self, part: float) -> float:
        """The distance that this part of the samples does not exceed, misclassified ones included.

        Args:
            part: From 0 to 1; the larger of two neighbours where it falls between them.

        Returns:
            A non-negative number.

        Raises:
            UndefinedMetric: If nothing was found for so many samples that it has no value.
        """
        checks.real(part, "part", at_least=0, at_most=1)
        place = min(int(part * len(self.distance)), len(self.distance) - 1)
        found = float(self.distance.sort().values[place])
        if math.isinf(found):
            raise UndefinedMetric(f"no perturbation was found for {self.failures:.3g} of the samples")
        return found

    def median(self) -> float:
        """Median distance, misclassified samples included.

        Returns:
            `quantile` at one half.
        """
        return self.quantile(0.5)


def least_perturbations(*found: Perturbations) -> Perturbations:
    """The best of what several attacks found for the same samples.

    Args:
        found: At least one.

    Returns:
        Sample by sample the smallest distance.

    Raises:
        InputError: If there are none, or they are of different samples.
    """
    if len({tuple(one.moved.shape) for one in found}) != 1:
        raise InputError("found must be perturbations of the same samples, at least one")
    distances = torch.stack([one.distance for one in found])
    best = distances.argmin(0)
    rows = torch.arange(len(best), device=best.device)
    return Perturbations(distances[best, rows], torch.stack([one.moved for one in found])[best, rows])


def size_of(moves: Float[Tensor, "n ..."], order: float) -> Float[Tensor, " n"]:
    """Norms of perturbations in float64.

    Args:
        moves: (n, ...).
        order: 2, or infinity.

    Returns:
        (n,).
    """
    return torch.linalg.vector_norm(moves.flatten(1).double(), ord=order, dim=1)
