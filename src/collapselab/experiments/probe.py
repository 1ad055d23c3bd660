"""What a recipe is given, and how it looks at networks in training."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from collapselab.core.errors import InputError
from collapselab.core.random import child_seed, preserved_randomness
from collapselab.dynamics import Quantity
from collapselab.experiments.clock import Clock
from collapselab.experiments.events import EpochDone, Event, Note, Observed, Planned, SafePoint, Snapshot, Trained
from collapselab.experiments.extra import Extras
from collapselab.experiments.looking import Places, look, moving, observations, picture, pictures
from collapselab.metrics import select
from collapselab.records.schema import Arm
from collapselab.training import Training
from collapselab.training.loop import Progress
from collapselab.training.pooling import Pooling
from collapselab.training.sharding import Alone, Processes

# Names of arms are names of files.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")


@dataclass(frozen=True)
class Case:
    """One of several trainings that a run compares.

    Attributes:
        name: Its key in the records and in the names of files: letters, digits, ``.``, ``_``, ``=``, ``+``, ``-``.
        make: Sets the training up when its turn comes, with generators and global randomness seeded by itself.
        epochs: Epochs of its plan.
        title: A few words for a legend; the name by default.
        settings: What distinguishes it from the others, by name, as JSON can hold it.
        extra: Gives further numbers of the features that the classifier sees, each with its declaration.
        quantities: What is measured on the network itself besides, from its gradients.
        at_steps: Optimiser steps after which this one is measured, besides the moments of all: where one step of a
            training is another span of time than in the next.
    """

    name: str
    make: Callable[[], Training]
    epochs: int
    title: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    extra: Extras | None = None
    quantities: tuple[Quantity, ...] = ()
    at_steps: tuple[int, ...] = ()

    @property
    def arm(self) -> Arm:
        """The case as a record keeps it."""
        return Arm(name=self.name, title=self.title or self.name, settings=dict(self.settings))


@dataclass(frozen=True, eq=False)
class Probe:
    """The processes a recipe runs in, and the state it goes on from.

    In several processes a recipe runs in each of them; what it yields is kept by the first, and the others yield no
    observations.

    Attributes:
        fabric: The processes; this one's place among them, and its device.
        state: What the last safe point gave; None for a run that begins.
    """

    fabric: Processes
    state: dict[str, Any] | None = None

    @classmethod
    def on(cls, device: torch.device | str, state: dict[str, Any] | None = None) -> "Probe":
        """One process.

        Args:
            device: Where to compute.
            state: What the last safe point gave.

        Returns:
            The probe.
        """
        return cls(Alone(torch.device(device)), state)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.fabric.device

    def watch(
        self,
        training: Training,
        *,
        at: Collection[int] = (),
        at_steps: Collection[int] = (),
        layers: tuple[str, ...] = (),
        pooling: Pooling = "mean",
        metrics: Sequence[str] | None = None,
        extra: Extras | None = None,
        quantities: Sequence[Quantity] = (),
    ) -> Iterator[Event]:
        """Train to the end of the plan, or until a stop rule applies, and measure both splits on the way.

        Args:
            training: A training that has just been set up; it is taken to where the run stood.
            at: Epochs after which to measure; 0 is before training. The end is measured in any case.
            at_steps: Optimiser steps after which to measure, within an epoch too.
            layers: Stages of the network's body that are measured beside the features, or modules inside them by
                their names with dots; ``*`` for all stages.
            pooling: What becomes of maps (n, c, ...) that such a stage gives: the ``mean`` of each channel over places,
                or ``flatten`` for all numbers as they are; of sequences (n, tokens, d): the mean over ``tokens``, or
                the ``first_token``.
            metrics: Keys of what is measured; None for all.
            extra: Gives further numbers of the features that the classifier sees, each with its declaration.
            quantities: What is measured on the network itself besides, from its gradients; see `collapselab.dynamics`.

        Returns:
            What happens. A safe point follows each step, and comes after the rows of its moment.

        Raises:
            InputError: If moments, layers or metrics are not what they must be.
        """
        return _watched(
            training, _View.of(at, at_steps, layers, pooling, metrics, extra, quantities), self._course("", {})
        )

    def arms(
        self,
        cases: Sequence[Case],
        *,
        at: Collection[int] = (),
        at_steps: Collection[int] = (),
        layers: tuple[str, ...] = (),
        pooling: Pooling = "mean",
        metrics: Sequence[str] | None = None,
    ) -> Iterator[Event]:
        """Run several trainings one after the other; those that were complete when the run stopped are not set up.

        Args:
            cases: The trainings, in their order. An arm depends on nothing that ran before it: torch's global generator
                is seeded from its name before it is made.
            at: See `watch`.
            at_steps: See `watch`.
            layers: See `watch`.
            pooling: See `watch`.
            metrics: See `watch`.

        Returns:
            What happens.

        Raises:
            InputError: If there are no cases, or names are not fit for files or not different.
        """
        _require_names([case.name for case in cases])
        return self._arms(cases, _View.of(at, at_steps, layers, pooling, metrics))

    def _arms(self, cases: Sequence[Case], view: "_View") -> Iterator[Event]:
        yield Planned(tuple(case.arm for case in cases), sum(case.epochs for case in cases))
        ended: dict[str, int] = {} if self.state is None else dict(self.state["ended"])
        for place, case in enumerate(cases):
            if case.name in ended:
                continue
            torch.manual_seed(child_seed(0, f"arm {case.name}"))
            training = case.make()
            if training.plan.epochs != case.epochs:
                raise InputError(f"arm {case.name} must have {case.epochs} epochs, got {training.plan.epochs}")
            later = sum(other.epochs for other in cases[place + 1 :])
            own = _View(
                view.clock.with_steps(case.at_steps),
                replace(view.places, extra=case.extra, quantities=case.quantities),
            )
            yield from _watched(training, own, self._course(case.name, ended, later=later))
            del training  # before the next one is made: two networks and their data may not fit

    def _course(self, arm: str, ended: dict[str, int], *, later: int = 0) -> "_Course":
        under_way = self.state is not None and self.state["arm"] == arm
        return _Course(arm, ended, later, self.state["training"] if self.state is not None and under_way else None)


@dataclass(frozen=True)
class _View:
    """When to measure, and where.

    Attributes:
        clock: When.
        places: Where.
    """

    clock: Clock
    places: Places

    @classmethod
    def of(
        cls,
        at: Collection[int],
        at_steps: Collection[int],
        layers: tuple[str, ...],
        pooling: Pooling,
        metrics: Sequence[str] | None,
        extra: Extras | None = None,
        quantities: Sequence[Quantity] = (),
    ) -> "_View":
        """A view from what a recipe says."""
        chosen = None if metrics is None else tuple(metric.name for metric in select(metrics))
        return cls(Clock.of(at, at_steps), Places(layers, pooling, chosen, extra, tuple(quantities)))


@dataclass(frozen=True, eq=False)
class _Course:
    """Where one training stands among those of its run.

    Attributes:
        arm: Its name; empty if it is alone.
        ended: Epochs of the arms that have ended, by name; it enters itself there.
        later: Epochs of the arms to come.
        state: Where it goes on from; None if it begins.
    """

    arm: str
    ended: dict[str, int]
    later: int
    state: dict[str, Any] | None

    def epoch_done(self, progress: Progress, loss: float, *, planned: int) -> EpochDone:
        """What is told of an epoch."""
        before = sum(self.ended.values())
        own = progress.epoch if progress.last else planned
        return EpochDone(
            progress.epoch,
            progress.step,
            loss,
            progress.learning_rate,
            arm=self.arm,
            epochs_done=before + progress.epoch,
            total_epochs=before + own + self.later,
        )

    def safe_point(self, training: Training, *, wanted: bool) -> SafePoint:
        """The run as it stands, with the training between two steps."""
        done = sum(self.ended.values()) + training.epoch
        if training.done:
            self.ended[self.arm] = training.epoch
        ended = dict(self.ended)
        return SafePoint(
            done,
            lambda: {"arm": self.arm, "ended": ended, "training": training.state()},
            wanted=wanted,
            last=training.done and self.later == 0,
        )


def _require_names(names: Sequence[str]) -> None:
    if not names:
        raise InputError("cases must be at least one, got none")
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(f"case names must be letters, digits and any of . _ = + -, got {name!r}")
    # Some file systems know no capital letters.
    if len({name.lower() for name in names}) < len(names):
        raise InputError(f"case names must differ, got {', '.join(names)}")


def _watched(training: Training, view: _View, course: _Course) -> Iterator[Event]:
    """One training from where it stands to its end."""
    view.places.stages(training)  # a layer that is not there is noticed before the first step
    if course.state is not None:
        training.restore(course.state)
    elif view.clock.before:
        yield from observed(training, places=view.places, arm=course.arm)
        yield course.safe_point(training, wanted=True)
    for progress in training.steps():
        if progress.loss is not None:
            yield course.epoch_done(progress, progress.loss, planned=training.plan.epochs)
        measured = view.clock.strikes(progress)
        if measured:
            yield from observed(training, places=view.places, arm=course.arm, within=progress.loss is None)
        if progress.last:
            yield from _ended(training, course.arm, progress.loss)
        yield course.safe_point(training, wanted=measured)


def _ended(training: Training, arm: str, loss: float | None) -> Iterator[Event]:
    """The weights of a training at its end, and why it ended if that was early."""
    if training.epoch < training.plan.epochs:
        who = f"Training of {arm}" if arm else "Training"
        yield Note(f"{who} ended after epoch {training.epoch} of {training.plan.epochs}: {_why(training, loss)}.")
    state = training.network.state_dict()
    yield Trained({name: tensor.detach().cpu().numpy() for name, tensor in state.items()}, arm)


def _why(training: Training, loss: float | None) -> str:
    """Which stop rule ended the training."""
    rule = training.plan.stop
    if rule.loss_below is not None and loss is not None and loss < rule.loss_below:
        return f"its mean loss in train mode, {loss:.4g}, fell below {rule.loss_below:g}"
    epochs = "1 epoch" if rule.zero_error_epochs == 1 else f"{rule.zero_error_epochs} epochs in a row"
    mode = "eval" if training.plan.optimiser.full_batch else "train"
    return f"no training error for {epochs}, counted in {mode} mode"


def observed(
    training: Training, *, places: Places | None = None, arm: str = "", within: bool = False
) -> Iterator[Event]:
    """Measure the training as it stands, and draw from no generator that it will draw from.

    The features of both splits are compared with the means of their own classes in that split.

    Args:
        training: Where it stands; left as it was.
        places: Where to measure besides the features that the classifier sees.
        arm: Name of the arm; empty in a run of one training.
        within: Whether it stands within an epoch.

    Yields:
        A snapshot of the training split, and observations: one a split, and one a split and layer.
    """
    places = Places() if places is None else places
    arrays, rows = None, []
    with preserved_randomness():
        for split, samples in (("train", training.data.train), ("test", training.data.test)):
            with ExitStack() as caches:
                found = look(training, samples, places=places, caches=caches)
                if found is None:
                    continue
                moved = moving(training, split, samples, places=places) if places.quantities else None
                if split == "train":
                    arrays = pictures(picture(training, found.head), moved)
                rows += observations(training, split, found, places=places, arm=arm, moved=moved)
    if arrays is not None:
        yield Snapshot(training.epoch, arrays, training.step if within else None, arm)
    for row in rows:
        yield Observed(row)
