"""The declaration of an experiment: a claim that can be false, and the recipe that tests it."""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol, TypeVar, runtime_checkable

from collapselab.core.registry import Registry
from collapselab.experiments.events import Event
from collapselab.experiments.probe import Probe
from collapselab.records.schema import Chart, Observation, Verdict


@runtime_checkable
class Recipe(Protocol):
    """A frozen dataclass whose fields are the configuration and the command-line flags."""

    @property
    def epochs(self) -> int:
        """Epochs of training."""
        ...

    @property
    def seed(self) -> int:
        """Where all randomness comes from."""
        ...

    def run(self, probe: Probe) -> Iterator[Event]:
        """Do the work.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """
        ...

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether the claim holds.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        ...


@dataclass(frozen=True)
class Experiment:
    """A declared experiment.

    Attributes:
        name: Its key, the class's name in kebab-case.
        cls: The recipe.
        title: A few words for people.
        claim: One sentence that can be false.
        source: Key in ``references.bib``.
        notes: Sentences a reader of its records must know.
        device: Where it runs if nobody says otherwise.
        chart: How its runs show the claim in a picture, or what says so of a configured recipe; None where the curves
            of every run do.
    """

    name: str
    cls: type[Any]
    title: str
    claim: str
    source: str
    notes: tuple[str, ...] = ()
    device: str = "cpu"
    chart: Chart | Callable[[Any], Chart] | None = None

    def chart_of(self, recipe: Any) -> Chart | None:
        """How a run shows the claim in a picture.

        Args:
            recipe: The configured recipe.

        Returns:
            The picture, or None where none is declared.
        """
        return self.chart(recipe) if callable(self.chart) else self.chart

    @property
    def summary(self) -> str:
        """First sentence of the recipe's documentation."""
        return (inspect.getdoc(self.cls) or "").split("\n\n")[0].replace("\n", " ")


REGISTRY: Registry[Experiment] = Registry(
    "experiment", package="collapselab.experiments.recipes", order=attrgetter("name")
)

C = TypeVar("C")


def experiment(
    *,
    source: str,
    claim: str,
    title: str | None = None,
    notes: tuple[str, ...] = (),
    device: str = "cpu",
    chart: Chart | Callable[[Any], Chart] | None = None,
) -> Callable[[type[C]], type[C]]:
    """Declare a frozen dataclass as an experiment and register it.

    Args:
        source: Key in ``references.bib``.
        claim: One sentence that can be false.
        title: A few words for people; by default the words of the class's name.
        notes: Sentences a reader of its records must know.
        device: Where it runs if nobody says otherwise; networks of a few layers are fastest on the CPU.
        chart: How its runs show the claim in a picture; a function of the recipe where that depends on its fields.

    Returns:
        A decorator that returns the class unchanged.
    """

    def declare(cls: type[C]) -> type[C]:
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()
        words = name.replace("-", " ").capitalize() if title is None else title
        REGISTRY.add(name, Experiment(name, cls, words, claim, source, notes, device, chart))
        return cls

    return declare
