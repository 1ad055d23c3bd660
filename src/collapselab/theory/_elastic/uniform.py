"""One rate within classes, one between them: what the named models of local elasticity have in common."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._elastic.base import MOVERS, AbstractLocallyElastic, Mover
from collapselab.theory._elastic.phases import Phase, combined, outgrows, phase, smallest, tail
from collapselab.theory._elastic.profiles import AbstractProfile, PowerLaw, Terms

UNIT_NOISE = PowerLaw(1.0, 0.0)
"""A variance that grows like time."""


@dataclass(frozen=True)
class Eigenvalue:
    """An eigenvalue of the matrix M.

    Attributes:
        name: What moves along its eigenvectors.
        value: The eigenvalue.
        multiplicity: How often it occurs.
    """

    name: str
    value: float
    multiplicity: int


@dataclass(frozen=True)
class UniformElasticity(AbstractLocallyElastic):
    """Base of models with one rate within classes, one between them, and noise that is the same in all directions.

    Attributes:
        num_classes: K.
        intra: alpha(t), how much a sample moves those of its class.
        inter: beta(t), how much it moves those of every other class.
        noise: Variance of each feature per unit of time.
        moved_by: What moves a sample: the class means, as in the theorem, or it and its companions themselves.
    """

    num_classes: int
    intra: AbstractProfile
    inter: AbstractProfile
    noise: AbstractProfile = UNIT_NOISE
    moved_by: Mover = "mean"

    def __post_init__(self) -> None:
        """Check the settings."""
        checks.whole(self.num_classes, "num_classes", at_least=2)
        checks.one_of(self.moved_by, "moved_by", MOVERS)
        for name in ("intra", "inter", "noise"):
            if not isinstance(getattr(self, name), AbstractProfile):
                raise InputError(f"{name} must be a profile such as PowerLaw, got {getattr(self, name)!r}")
        self.noise_root(0.0)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the facts to be ones."""
        return (
            "Every class moves itself alike and every other class alike, and noise is the same in all directions.",
            "Steps are small enough for a differential equation, and drift is linear in the features.",
        )

    def elasticity(self, t: float) -> Tensor:
        """The matrix E of local elasticity.

        Args:
            t: Time.

        Returns:
            (K, K): alpha on the diagonal, beta elsewhere.
        """
        within, between = float(self.intra.rate(t)), float(self.inter.rate(t))
        return (within - between) * torch.eye(self.num_classes, dtype=torch.float64) + between

    def noise_root(self, t: float) -> Tensor:
        """Standard deviation of the noise per root of time.

        Args:
            t: Time.

        Returns:
            A number.

        Raises:
            InputError: If the variance is negative.
        """
        variance = float(self.noise.rate(t))
        if variance < 0:
            raise InputError(f"noise must not be negative, got {variance:g} at time {t:g}")
        return torch.tensor(math.sqrt(variance), dtype=torch.float64)

    def noise_integral(self, t: float) -> Tensor:
        """The integral of the covariance of the noise from 0.

        Args:
            t: Time.

        Returns:
            (K p, K p).
        """
        size = self.shape[0] * self.shape[1]
        return self._noise_until(t) * torch.eye(size, dtype=torch.float64)

    def _noise_until(self, t: float) -> float:
        """The integral of the variance from 0, which must not be negative at its ends and kinks."""
        for moment in (t, *(one for one in self.noise.breaks if one < t)):
            self.noise_root(moment)
        return float(self.noise.integral(t))

    def smallest_elasticity(self, t: float) -> float:
        r"""$\gamma=\min\{\alpha-\beta,\alpha+(K-1)\beta\}$, the smallest eigenvalue of E, which the theorem asks about.

        Args:
            t: Time.

        Returns:
            The eigenvalue.
        """
        within, between = float(self.intra.rate(t)), float(self.inter.rate(t))
        return min(within - between, within + (self.num_classes - 1) * between)

    def theorem(self) -> Phase:
        r"""What the theorem of separability says from $\gamma$ alone: it separates where $\gamma=\omega(1/t)$.

        It speaks of samples that class means move, whatever `moved_by` is here. `separates` answers from the growth of
        the class means themselves. The two differ where the slowest direction of E is none that has to grow for classes
        to come apart.

        Returns:
            ``undecided`` for gamma = c / t, and where E is not positive.
        """
        within, between = self.intra.terms, self.inter.terms
        sums = (combined((1.0, within), (-1.0, between)), combined((1.0, within), (self.num_classes - 1.0, between)))
        return phase(tail(smallest(sums)))

    @abstractmethod
    def spectrum(self, t: float) -> tuple[Eigenvalue, ...]:
        """Eigenvalues of the matrix M, in closed form.

        Args:
            t: Time.

        Returns:
            Each with its multiplicity; they add up to K p.
        """

    @property
    @abstractmethod
    def separating_rates(self) -> tuple[Terms, ...]:
        """Rates of exponential growth of what moves class means apart, from almost every start."""

    def separates(self) -> bool:
        """Whether the distance of class means outgrows the noise, from almost every start.

        Returns:
            Never where samples move themselves: then noise grows with the distance.
        """
        noise = tail(self.noise.terms)
        won = [outgrows(tail(rate), noise) for rate in self.separating_rates]
        return self.moved_by == "mean" and any(won)
