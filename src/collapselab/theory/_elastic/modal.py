"""Models whose matrices at all times share their eigenvectors: exact at any time and at any size of growth."""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.theory._elastic.base import as_matrix, grown
from collapselab.theory._elastic.phases import combined
from collapselab.theory._elastic.profiles import Terms
from collapselab.theory._elastic.quadrature import log_integral
from collapselab.theory._elastic.uniform import Eigenvalue, UniformElasticity
from collapselab.theory._stochastic import normal


@dataclass(frozen=True, eq=False)
class Mode:
    """Eigenvectors of a matrix of local elasticity that share their eigenvalue.

    Attributes:
        name: What moves along them.
        intra: Coefficient of the rate within classes in the eigenvalue.
        inter: Coefficient of the rate between classes.
        multiplicity: How many they are.
        projected: Projects (..., K, p) on them.
        tells_apart: Whether it moves class means apart, from almost every start.
        common: Whether it moves the means of all classes alike.
    """

    name: str
    intra: float
    inter: float
    multiplicity: int
    projected: Callable[[Tensor], Tensor]
    tells_apart: bool
    common: bool = False


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of every class at one time, too large or too small for numbers perhaps.

    Attributes:
        h: (..., n, K, p) features divided by exp(log_scale).
        log_scale: Logarithm of what they were divided by.
    """

    h: Tensor
    log_scale: float


class AbstractModal(UniformElasticity):
    """Base of models whose modes do not change while their eigenvalues do, so that growth is exp of an integral."""

    @cached_property
    def modes(self) -> tuple[Mode, ...]:
        """The modes; their projections add up to the identity."""
        return self._modes()

    @abstractmethod
    def _modes(self) -> tuple[Mode, ...]: ...

    def spectrum(self, t: float) -> tuple[Eigenvalue, ...]:
        """Eigenvalues of the matrix M, in closed form.

        Args:
            t: Time.

        Returns:
            Each with its multiplicity; they add up to K p.
        """
        within, between = float(self.intra.rate(t)), float(self.inter.rate(t))
        return tuple(Eigenvalue(m.name, m.intra * within + m.inter * between, m.multiplicity) for m in self.modes)

    def pulled(self, t: float, x: Tensor) -> Tensor:
        """M(t) x.

        Args:
            t: Time.
            x: (..., K, p).

        Returns:
            Of the same shape.
        """
        moving = [(mode, one.value) for mode, one in zip(self.modes, self.spectrum(t), strict=True) if one.value != 0]
        return sum((value * mode.projected(x) for mode, value in moving), start=torch.zeros_like(x))

    def log_growth(self, mode: Mode, t: Any) -> Any:
        """Logarithm of what a mode has grown by.

        Args:
            mode: The mode.
            t: Time, or an array of times.

        Returns:
            The integral of its eigenvalue.
        """
        grown = [c * rates.integral(t) for c, rates in ((mode.intra, self.intra), (mode.inter, self.inter)) if c != 0]
        return sum(grown, start=0.0 * t)

    def carried(self, t: float, means: Tensor) -> Tensor:
        """The solution of the equation of class means.

        Args:
            t: Time.
            means: (..., K, p) class means at time 0.

        Returns:
            Class means at time t.
        """
        parts = (grown(self.log_growth(mode, t)) * mode.projected(means) for mode in self.modes)
        return sum(parts, start=torch.zeros_like(means))

    @property
    def separating_rates(self) -> tuple[Terms, ...]:
        """Rates of growth of all that moves class means apart, from almost every start."""
        within, between = self.intra.terms, self.inter.terms
        return tuple(combined((m.intra, within), (m.inter, between)) for m in self.modes if m.tells_apart)

    def amplified(self, t: float, covariance: Tensor) -> Tensor:
        """The covariance of samples that move themselves, mode by mode.

        Args:
            t: Time.
            covariance: (K p, K p) at time 0.

        Returns:
            (K p, K p) at time t.
        """
        carry = as_matrix(lambda x: self.carried(t, x), self.shape)
        found = carry @ covariance @ carry.T
        for mode in self.modes:
            found = found + grown(self._log_noise(mode, t)) * as_matrix(mode.projected, self.shape)
        return found

    def _log_noise(self, mode: Mode, t: float) -> float:
        """Logarithm of the variance that noise has brought into one direction of a mode."""
        until = self._noise_until(t)
        if self.moved_by == "mean":
            return math.log(until) if until > 0 else -math.inf
        now = self.log_growth(mode, t)
        brought, scale = log_integral(
            lambda s: 2 * (now - self.log_growth(mode, s)), t, factor=self.noise.rate, breaks=self._breaks
        )
        return math.log(brought) + scale if brought > 0 else -math.inf

    @property
    def _breaks(self) -> tuple[float, ...]:
        return self.intra.breaks + self.inter.breaks + self.noise.breaks

    def sampled(
        self, t: float, means: Tensor, *, samples: int, generator: torch.Generator, centred: bool = False
    ) -> Samples:
        """Samples at one time, drawn exactly and without the way there: any time costs the same.

        Args:
            t: Time.
            means: (..., K, p) class means at time 0, where all samples begin.
            samples: n, of each class.
            generator: What they are drawn from.
            centred: Whether to leave out by how much the means of all classes have moved alike, which may be more than
                float64 can hold beside their differences.

        Returns:
            The samples, divided by the largest of growth and noise, which may be beyond the range of floats.

        Raises:
            InputError: If the time is negative, or the means do not end in the axes of classes and features.
        """
        checks.whole(samples, "samples", at_least=1)
        t, means = checks.real(t, "t", at_least=0), self.entry(means, "means")
        kept = [mode for mode in self.modes if not (centred and mode.common)]
        growths = [float(self.log_growth(mode, t)) for mode in kept]
        noises = [self._log_noise(mode, t) / 2 for mode in self.modes]
        scale = max(*noises, *growths)
        drawn = normal((*means.shape[:-2], samples, *self.shape), generator)
        carried = sum(math.exp(log - scale) * mode.projected(means) for mode, log in zip(kept, growths, strict=True))
        spread = (math.exp(log - scale) * mode.projected(drawn) for mode, log in zip(self.modes, noises, strict=True))
        return Samples(sum(spread, start=(torch.zeros_like(means) + carried).unsqueeze(-3)), scale)
