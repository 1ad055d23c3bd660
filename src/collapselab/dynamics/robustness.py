"""How far samples are from the boundary of their class: closed forms, attacks, and robust accuracy.

Attacks give upper bounds of distances and of robust accuracy. A sample for which nothing was found counts as such: its
distance is infinite, never the norm of the sample, and the fraction of failures is told beside every summary.
"""

from dataclasses import dataclass
from functools import partial

import torch

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics._robustness.closed_forms import linear_l2, linear_linf, lipschitz_bounds
from collapselab.dynamics._robustness.deep_fool import deepfool
from collapselab.dynamics._robustness.perturbations import Perturbations, least_perturbations
from collapselab.dynamics._robustness.projected import pgd_l2, pgd_linf
from collapselab.dynamics._spec import Found, Quantity, Sight, quantity
from collapselab.records.numbers import Extra, declared
from collapselab.records.schema import Declaration

__all__ = [
    "Perturbations",
    "Robustness",
    "deepfool",
    "least_perturbations",
    "linear_l2",
    "linear_linf",
    "lipschitz_bounds",
    "pgd_l2",
    "pgd_linf",
]

_number = partial(declared, source="moosavi2016", family="robustness", at_collapse=None)
MEDIAN = _number(
    "robust_median",
    "median distance to the boundary",
    "Median Euclidean norm of the perturbations that DeepFool finds, 0 for misclassified samples.",
    symbol=r"\operatorname{med}_n\lVert\delta_n\rVert_2",
)
NEAR = _number(
    "robust_near",
    "distance of the nearest twentieth",
    "Euclidean norm of the perturbation that one sample in twenty is crossed by, 0 for misclassified samples.",
    symbol=r"q_{0.05}(\lVert\delta_n\rVert_2)",
)
FAILURES = _number(
    "robust_failures",
    "samples without a perturbation",
    "Fraction of the samples for which DeepFool finds nothing; they count as robust.",
    symbol=r"\tfrac1N\#\{n:\delta_n=\varnothing\}",
    unit="fraction",
    upper=1.0,
)


def robust_accuracy(radius: float) -> Declaration:
    """What declares the fraction of samples that stay right within a radius.

    Args:
        radius: In the units of the inputs.

    Returns:
        The declaration, named by the radius.
    """
    return _number(
        f"robust_accuracy_{radius:g}",
        f"robust accuracy at {radius:g}",
        f"Fraction of the samples that DeepFool takes across no boundary by a perturbation of norm {radius:g} or less.",
        symbol=rf"\tfrac1N\#\{{n:\lVert\delta_n\rVert_2>{radius:g}\}}",
        unit="fraction",
        upper=1.0,
    )


@quantity("robustness", label="distances to the class boundary", source="lyu2020")
@dataclass(frozen=True)
class Robustness(Quantity):
    """Median distance to the class boundary and robust accuracy, by DeepFool on a few samples of each class.

    Distances are in the units of the inputs as the network takes them, standardised ones in most data sets.

    Attributes:
        per_class: Samples of each class that are attacked, the same at every moment.
        radii: Euclidean radii at which robust accuracy is told.
    """

    splits = ("train", "test")

    per_class: int = 20
    radii: tuple[float, ...] = (0.5, 1.0)

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            InputError: If one is not what it must be.
        """
        checks.whole(self.per_class, "per_class", at_least=1)
        if not isinstance(self.radii, tuple) or not self.radii:
            raise InputError(f"radii must be at least one number, got {self.radii!r}")
        for radius in self.radii:
            checks.real(radius, "every one of radii", above=0)
        if len({f"{radius:g}" for radius in self.radii}) < len(self.radii):
            raise InputError(f"radii must differ in their first six digits, got {self.radii!r}")

    def look(self, sight: Sight) -> Found:
        """Attack.

        Args:
            sight: The network and the samples.

        Returns:
            The distances of the nearest twentieth and of the median, failures, and robust accuracy at each radius.
        """
        x, y = sight.take(sight.few_of_each(self.per_class, f"robustness on {sight.split}"))
        found = deepfool(sight.network, x, y)
        accuracies = found.robust_accuracies(torch.tensor(self.radii, dtype=torch.float64))
        told = zip(map(robust_accuracy, self.radii), accuracies.tolist(), strict=True)
        distances = (_or_reason(MEDIAN, found, 0.5), _or_reason(NEAR, found, 0.05))
        return Found((*distances, (FAILURES, found.failures), *told))


def _or_reason(entry: Declaration, found: Perturbations, part: float) -> Extra:
    try:
        return entry, found.quantile(part)
    except UndefinedMetric as undefined:
        return entry, str(undefined)
