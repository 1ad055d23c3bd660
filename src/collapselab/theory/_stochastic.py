"""What a stochastic differential equation states about itself."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from collapselab.core.errors import NotConverged, NotKnown
from collapselab.theory._model import AbstractDynamics
from collapselab.theory._problem import State


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and covariance of a state that noise moves.

    Attributes:
        mean: Mean of every entry.
        covariance: (m, m) for each entry that noise moves, its m numbers in the order of memory.
    """

    mean: State
    covariance: dict[str, Tensor]


class AbstractStochasticDynamics(AbstractDynamics):
    """A differential equation with noise: dx = drift dt + diffusion dW.

    Drift and diffusion act on the last axes of the entries, whatever axes of samples or paths come before them, so that
    `simulate` moves all of them at once. Everything stated is tested: `solution` is that of the equation without noise,
    `moments` are those of simulated paths, and `simulate` converges with `strong_order`.
    """

    strong_order: ClassVar[float] = 0.5
    """Strong order of the scheme of Euler and Maruyama; 1 where the noise does not depend on the state."""

    @property
    @abstractmethod
    def disturbed(self) -> tuple[str, ...]:
        """Entries of a state that noise moves."""

    @abstractmethod
    def diffusion(self, t: float, x: State, increment: State) -> State:
        """What increments of standard Wiener processes add to the state.

        Args:
            t: Time.
            x: Entries by name.
            increment: Of the shape of the entries that noise moves, linear in what is returned.

        Returns:
            What is added to each of those entries.
        """

    def moments(self, t: float, start: State, *, covariance: Tensor | None = None) -> Moments:
        """Exact mean and covariance.

        Args:
            t: Time.
            start: Mean at time 0.
            covariance: Covariance at time 0 of the entry that noise moves; None where the start is certain.

        Returns:
            Mean and covariance at time t.

        Raises:
            NotKnown: If they are not known.
        """  # noqa: DOC202 - models that know them return
        del t, start, covariance
        raise NotKnown(f"moments of {type(self).__name__} are not known: see simulate")

    def separates(self) -> bool:
        """Whether samples of different classes become linearly separable with probability 1 as time goes on.

        Returns:
            False if that probability tends to 0 for ever more samples.

        Raises:
            NotKnown: If neither is known.
        """  # noqa: DOC202 - models that know it return
        raise NotKnown(f"whether {type(self).__name__} separates classes is not known: see simulate")

    @classmethod
    @abstractmethod
    def examples(cls) -> "Sequence[AbstractStochasticDynamics]":
        """Small instances in every regime, for tests and documentation.

        Returns:
            Dynamics.
        """


def normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Independent standard normal numbers in float64.

    Args:
        shape: Sizes of the axes.
        generator: What they are drawn from.

    Returns:
        A tensor of that shape.
    """
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float64)


def within_floats(x: State, t: float) -> State:
    """Insist that simulated paths are numbers still.

    Args:
        x: Entries by name.
        t: Time, for the message.

    Returns:
        The same.

    Raises:
        NotConverged: If an entry is not finite.
    """
    if all(bool(entry.isfinite().all()) for entry in x.values()):
        return x
    raise NotConverged(f"paths have left the range of float64 by time {t:g}: ask for an earlier one, or smaller steps")
