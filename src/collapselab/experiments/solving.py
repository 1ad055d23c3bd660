"""Recipes that solve a model in place of training a network: what they observe, and how such a run goes on."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.experiments.events import EpochDone, Event, Observed, Planned, SafePoint, Snapshot
from collapselab.experiments.extra import Extra, declared, with_extra
from collapselab.experiments.probe import Probe
from collapselab.measuring import measure
from collapselab.metrics import snapshot_arrays
from collapselab.records.schema import Arm, Observation

__all__ = ["Extra", "Look", "Solve", "declared", "picture_of", "row_of", "solved", "with_extra"]


@dataclass(frozen=True, eq=False)
class Look:
    """A state of a model at one moment.

    Attributes:
        step: Steps or evaluations so far; moments of one case must differ in it.
        features: Features with labels.
        head: The classifier.
        loss: Value of the objective.
        extra: Numbers that are no registered metrics: what each says of itself, and its value or why it has none.
        split: What is looked at, where that is not one thing.
    """

    step: int
    features: LabelledFeatures
    head: LinearHead
    loss: float
    extra: Sequence[Extra] = ()
    split: str = "train"


@dataclass(frozen=True)
class Solve:
    """One of several solutions that a run compares.

    Attributes:
        name: Its key in the records and in the names of files.
        looks: Solves, and yields its moments in order of their steps; draws only from generators of its own.
        title: A few words for a legend; the name by default.
        settings: What distinguishes it from the others, by name, as JSON can hold it.
    """

    name: str
    looks: Callable[[], Iterable[Look]]
    title: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arm(self) -> Arm:
        """The case as a record keeps it."""
        return Arm(name=self.name, title=self.title or self.name, settings=dict(self.settings))


def solved(probe: Probe, cases: Sequence[Solve], *, metrics: Sequence[str] | None = None) -> Iterator[Event]:
    """Solve several cases one after the other; each counts as one epoch, and a run goes on after the last that ended.

    Args:
        probe: Where to go on from.
        cases: What to solve, in order.
        metrics: Keys of what is measured; None for all.

    Yields:
        What happens.
    """
    yield Planned(tuple(case.arm for case in cases), len(cases))
    ended: list[str] = [] if probe.state is None else list(probe.state["ended"])
    for place, case in enumerate(cases):
        if case.name in ended:
            continue
        look = None
        for look in case.looks():
            yield Observed(row_of(look, arm=case.name, metrics=metrics))
        if look is None:
            continue
        arrays = picture_of(look.features, look.head)
        if arrays is not None:
            yield Snapshot(1, arrays, None, case.name)
        ended.append(case.name)
        done, last = tuple(ended), place == len(cases) - 1
        yield EpochDone(1, look.step, look.loss, 0.0, case.name, len(done), len(cases))
        yield SafePoint(len(done), lambda done=done: {"ended": list(done)}, wanted=True, last=last)


def row_of(look: Look, *, arm: str = "", metrics: Sequence[str] | None = None) -> Observation:
    """The row of a series for a state of a model.

    Args:
        look: The state.
        arm: Name of the case.
        metrics: Keys of what is measured; None for all.

    Returns:
        The row; the error is the share of samples whose largest logit is not that of their class.
    """
    found = measure(look.features, head=look.head, split=look.split, metrics=metrics)
    head = look.head.double()
    logits = look.features.h.double() @ head.weight.T
    logits = logits if head.bias is None else logits + head.bias
    return Observation(
        epoch=1,
        step=look.step,
        split=look.split,
        loss=look.loss,
        error=float((logits.argmax(1) != look.features.y).double().mean()),
        learning_rate=None,
        result=with_extra(found.model_copy(update={"provenance": None}), look.extra),
        arm=arm,
    )


def picture_of(features: LabelledFeatures, head: LinearHead) -> dict[str, np.ndarray] | None:
    """The arrays of a snapshot.

    Args:
        features: Features with labels.
        head: The classifier.

    Returns:
        Name to array; None where the class means coincide.
    """
    try:
        return snapshot_arrays(ClassStats.of(features), features.h, features.y, head=head)
    except UndefinedMetric:
        return None
