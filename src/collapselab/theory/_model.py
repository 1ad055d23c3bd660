"""What every theoretical model states about itself, and the registry of models."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from collapselab.core.errors import NotKnown
from collapselab.core.registry import Registry
from collapselab.evidence import LabelledFeatures, LinearHead
from collapselab.theory._geometry import Geometry
from collapselab.theory._problem import Problem, State


class AbstractLandscape(ABC):
    """A loss with a known answer: frozen dataclasses of settings.

    Where the infimum is attained, `minimiser` gives a point where it is; where it is not, `approach` gives points that
    tend to it. Everything stated is tested: value and gradient at the minimiser, that nothing lies below, that an
    optimiser gets there from random starts where the landscape is benign, and each predicted metric.
    """

    nonnegative: ClassVar[tuple[str, ...]] = ()
    """Entries of a state that must not be negative; `nonnegative_entries` where that depends on settings."""

    @property
    @abstractmethod
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one, in sentences."""

    @property
    def attained(self) -> bool:
        """Whether there is a minimiser."""
        return True

    @property
    def benign(self) -> bool:
        """Whether every local minimiser is a global one, so that an optimiser finds it from almost everywhere."""
        return True

    @property
    @abstractmethod
    def minimum(self) -> float:
        """The infimum of the loss."""

    @property
    @abstractmethod
    def labels(self) -> Tensor:
        """(n,) label of each sample."""

    @abstractmethod
    def loss(self, state: State) -> Tensor:
        """The loss, differentiable.

        Args:
            state: Entries by name; any that satisfy the constraints.

        Returns:
            0-d float64.
        """

    @abstractmethod
    def draw(self, generator: torch.Generator) -> State:
        """A random state that satisfies the constraints.

        Args:
            generator: What it is drawn from.

        Returns:
            Entries by name.
        """

    def chart(self, free: State) -> State:
        """The state that satisfies equality constraints, from one that need not: by rescaling, differentiably.

        Args:
            free: Entries of any size.

        Returns:
            Entries that satisfy the constraints; those that do already are left as they are.
        """
        return free

    @property
    def nonnegative_entries(self) -> tuple[str, ...]:
        """Entries of a state that must not be negative."""
        return self.nonnegative

    @abstractmethod
    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """A global minimiser.

        Args:
            generator: Turns it at random where a rotation leaves the loss as it is; None for a fixed position.

        Returns:
            Entries by name.

        Raises:
            NotKnown: If the infimum is not attained.
        """

    def approach(self, size: float) -> tuple[State, float]:
        """A state of a given size near the infimum, where that is not attained.

        Args:
            size: How far out; the loss tends to the infimum as it grows.

        Returns:
            The state, and what its loss is above the infimum.

        Raises:
            NotKnown: If the infimum is attained.
        """  # noqa: DOC202 - models whose infimum is not attained return
        del size
        raise NotKnown(f"{type(self).__name__} attains its minimum: see minimiser")

    def local_minimisers(self) -> Sequence[State]:
        """Known local minimisers that are not global ones.

        Returns:
            States; none where the landscape is benign.
        """
        return ()

    def features(self, state: State) -> LabelledFeatures:
        """What metrics look at.

        Args:
            state: Entries by name.

        Returns:
            Features with labels.
        """
        y = self.labels
        return LabelledFeatures(state["h"], y, int(y.max()) + 1)

    def head(self, state: State) -> LinearHead:
        """The classifier that metrics look at.

        Args:
            state: Entries by name.

        Returns:
            The head.
        """
        return LinearHead(state["weight"], state.get("bias"))

    def geometry(self) -> Geometry | None:
        """Norms and angles of class vectors and class means at every minimiser.

        Returns:
            The geometry; None where minimisers differ in it, or where it is not known.
        """
        return None

    def predicts(self) -> dict[str, float]:
        """What metrics are worth at every minimiser, or in the limit where there is none.

        Returns:
            Key of a metric to value; by default what follows from the geometry.
        """
        geometry = self.geometry()
        return {} if geometry is None else geometry.metrics()

    def thresholds(self) -> dict[str, float]:
        """Where the answer changes its nature, and how far this problem is from there.

        Returns:
            Name in snake_case to number.
        """
        return {}

    @classmethod
    @abstractmethod
    def examples(cls) -> "Sequence[AbstractLandscape]":
        """Small instances in every regime, for tests and documentation.

        Returns:
            Landscapes.
        """


class UnconstrainedLandscape(AbstractLandscape):
    """Base of models of free features and a decayed head, with a field ``problem`` and the loss of a sample.

    `predict` asks the model that is called like the loss, with the settings of the loss as further fields.
    """

    answers: ClassVar[tuple[str, ...] | None] = None
    """Losses that `predict` asks this model about where its own name does not say it; ``()`` for none."""

    problem: Problem

    @abstractmethod
    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """The loss of each sample.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,).
        """

    @property
    def labels(self) -> Tensor:
        """(n,) label of each sample, class by class."""
        return self.problem.labels

    @property
    def nonnegative_entries(self) -> tuple[str, ...]:
        """Entries of a state that must not be negative."""
        return ("h",) if self.problem.nonnegative else ()

    def loss(self, state: State) -> Tensor:
        """Mean loss over the samples, plus decay.

        Args:
            state: Features and head.

        Returns:
            0-d float64.
        """
        return self.sample_losses(self.problem.logits(state), self.labels).mean() + self.problem.penalty(state)

    def draw(self, generator: torch.Generator) -> State:
        """Normal features and weights.

        Args:
            generator: What they are drawn from.

        Returns:
            Features and head.
        """
        return self.problem.draw(generator)


class AbstractDynamics(ABC):
    """A differential equation of features and head with known facts: frozen dataclasses of settings."""

    @property
    @abstractmethod
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the facts to be ones, in sentences."""

    @abstractmethod
    def drift(self, t: float, x: State) -> State:
        """The velocity.

        Args:
            t: Time.
            x: Entries by name.

        Returns:
            Time derivative of each entry.
        """

    @abstractmethod
    def draw(self, generator: torch.Generator) -> State:
        """A random initial state.

        Args:
            generator: What it is drawn from.

        Returns:
            Entries by name.
        """

    def conserved(self, x: State) -> dict[str, Tensor]:
        """Quantities that do not change along a solution.

        Args:
            x: Entries by name.

        Returns:
            Name to value of any shape.
        """
        del x
        return {}

    def solution(self, t: float, start: State) -> State:
        """The exact solution.

        Args:
            t: Time.
            start: State at time 0.

        Returns:
            State at time t.

        Raises:
            NotKnown: If there is no closed form.
        """  # noqa: DOC202 - models with a closed form return
        del t, start
        raise NotKnown(f"{type(self).__name__} has no solution in closed form: see integrate")

    @classmethod
    @abstractmethod
    def examples(cls) -> "Sequence[AbstractDynamics]":
        """Small instances in every regime, for tests and documentation.

        Returns:
            Dynamics.
        """


Kind = Literal["landscape", "dynamics"]


@dataclass(frozen=True)
class Model:
    """A declared model.

    Attributes:
        name: Its key.
        cls: The frozen dataclass.
        label: A few words for a table.
        source: Key in ``references.bib``.
        kind: What it is.
    """

    name: str
    cls: type[Any]
    label: str
    source: str
    kind: Kind

    @property
    def summary(self) -> str:
        """First sentence of the class's documentation."""
        return (inspect.getdoc(self.cls) or "").split("\n\n")[0].replace("\n", " ")


REGISTRY: Registry[Model] = Registry("model", package="collapselab.theory", order=attrgetter("name"))

C = TypeVar("C")


def model(name: str, *, label: str, source: str) -> Callable[[type[C]], type[C]]:
    """Declare a frozen dataclass as a model and register it.

    Args:
        name: Its key.
        label: A few words for a table.
        source: Key in ``references.bib``.

    Returns:
        A decorator that returns the class unchanged.
    """

    def declare(cls: type[C]) -> type[C]:
        kind: Kind = "dynamics" if issubclass(cls, AbstractDynamics) else "landscape"
        REGISTRY.add(name, Model(name, cls, label, source, kind))
        return cls

    return declare
