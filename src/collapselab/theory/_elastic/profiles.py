"""How fast a quantity acts over time, with exact integrals: what drives the models of local elasticity."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from collapselab.core import checks
from collapselab.core.errors import InputError, NotKnown

Terms = tuple[tuple[float, float], ...]
"""Pairs (c, r) of a sum of power laws c (1 + t)^-r."""


class AbstractProfile(ABC):
    """A rate over time t >= 0, exact at any time or array of times."""

    @abstractmethod
    def rate(self, t: Any) -> Any:
        """The rate.

        Args:
            t: A time, or an array of times.

        Returns:
            A number, or an array of them.
        """

    @abstractmethod
    def integral(self, t: Any) -> Any:
        """The integral of the rate from 0.

        Args:
            t: A time, or an array of times.

        Returns:
            A number, or an array of them.
        """

    @property
    def terms(self) -> Terms:
        """The power laws whose sum it is, which say what it becomes as time goes on.

        Raises:
            NotKnown: If it is no sum of power laws.
        """
        raise NotKnown(f"what {type(self).__name__} becomes as time goes on is not known")

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times at which it is not smooth."""
        return ()


@dataclass(frozen=True)
class PowerLaw(AbstractProfile):
    """The rate a (1 + t)^-r.

    Attributes:
        scale: a, the rate at time 0.
        exponent: r.

    Example:
        >>> round(float(PowerLaw(0.9, 0.6).integral(3.0)), 4)
        1.6675
    """

    scale: float
    exponent: float

    def __post_init__(self) -> None:
        """Check the settings."""
        checks.real(self.scale, "scale")
        checks.real(self.exponent, "exponent")

    def rate(self, t: Any) -> Any:
        """The rate.

        Args:
            t: A time, or an array of times.

        Returns:
            A number, or an array of them.
        """
        return self.scale * (1.0 + t) ** -self.exponent

    def integral(self, t: Any) -> Any:
        """The integral of the rate from 0.

        Args:
            t: A time, or an array of times.

        Returns:
            A number, or an array of them.
        """
        decades, power = np.log1p(t), 1.0 - self.exponent
        # expm1 keeps all digits where the exponent is close to 1.
        return self.scale * (decades if power == 0 else np.expm1(power * decades) / power)

    @property
    def terms(self) -> Terms:
        """The power laws whose sum it is."""
        return ((self.scale, self.exponent),)


def constant(rate: float) -> PowerLaw:
    """The same rate at all times.

    Args:
        rate: The rate.

    Returns:
        A power law with exponent 0.
    """
    return PowerLaw(rate, 0.0)


@dataclass(frozen=True)
class Sum(AbstractProfile):
    """The sum of several rates.

    Attributes:
        parts: The rates.
    """

    parts: tuple[AbstractProfile, ...]

    def __post_init__(self) -> None:
        """Check the settings."""
        if not isinstance(self.parts, tuple) or not all(isinstance(part, AbstractProfile) for part in self.parts):
            raise InputError(f"parts must be a tuple of profiles, got {self.parts!r}")

    def rate(self, t: Any) -> Any:
        """The rate.

        Args:
            t: A time, or an array of times.

        Returns:
            A number, or an array of them.
        """
        return sum((part.rate(t) for part in self.parts), start=0.0 * t)

    def integral(self, t: Any) -> Any:
        """The integral of the rate from 0.

        Args:
            t: A time, or an array of times.

        Returns:
            A number, or an array of them.
        """
        return sum((part.integral(t) for part in self.parts), start=0.0 * t)

    @property
    def terms(self) -> Terms:
        """The power laws whose sum it is."""
        return tuple(itertools.chain.from_iterable(part.terms for part in self.parts))

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times at which it is not smooth."""
        return tuple(itertools.chain.from_iterable(part.breaks for part in self.parts))


@dataclass(frozen=True)
class Sampled(AbstractProfile):
    """A rate known at some times and linear between them; not known after the last one.

    Attributes:
        times: Ascending from 0.
        values: The rate at each of them.

    Example:
        >>> float(Sampled((0.0, 1.0, 3.0), (1.0, 2.0, 0.0)).integral(2.0))
        3.0
    """

    times: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the settings."""
        for name in ("times", "values"):
            if not isinstance(getattr(self, name), Sequence) or len(getattr(self, name)) != len(self.times):
                raise InputError(f"times and values must be two tuples of one length, got {self.times!r}")
            object.__setattr__(self, name, tuple(checks.real(x, name) for x in getattr(self, name)))
        ascends = all(before < after for before, after in itertools.pairwise(self.times))
        if len(self.times) < 2 or self.times[0] != 0 or not ascends:
            raise InputError(f"times must be two or more that ascend from 0, got {self.times!r}")

    def rate(self, t: Any) -> Any:
        """The rate.

        Args:
            t: A time, or an array of times.

        Returns:
            A number, or an array of them.
        """
        self._refuse_later(t)
        return np.interp(t, self.times, self.values)

    def integral(self, t: Any) -> Any:
        """The integral of the rate from 0.

        Args:
            t: A time, or an array of times.

        Returns:
            A number, or an array of them.
        """
        self._refuse_later(t)
        times, values = np.array(self.times), np.array(self.values)
        done = np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) / 2 * np.diff(times))])
        at = np.clip(np.searchsorted(times, t, side="right") - 1, 0, len(times) - 2)
        return done[at] + (t - times[at]) * (values[at] + np.interp(t, times, values)) / 2

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times at which it is not smooth."""
        return self.times

    def _refuse_later(self, t: Any) -> None:
        latest = float(np.max(t))
        if latest > self.times[-1]:
            raise InputError(f"the rate is known up to time {self.times[-1]:g}, got time {latest:g}")
