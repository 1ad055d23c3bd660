"""What a recipe yields while it runs, and what a listener hears."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from collapselab.records.schema import Arm, Observation, Run


@dataclass(frozen=True)
class Started:
    """A run begins or goes on.

    Attributes:
        run: Its record; `epochs_done` says where it starts, `arms` what it compares.
        total_epochs: Epochs it will have at its end, of all arms together, if no stop rule ends a training early.
    """

    run: Run
    total_epochs: int


@dataclass(frozen=True)
class EpochDone:
    """An epoch of training is complete.

    Attributes:
        epoch: Epochs done, in this arm.
        step: Optimiser steps done, in this arm.
        loss: Mean training loss over the epoch, in train mode.
        learning_rate: Rate of its last step.
        arm: Name of the arm; empty in a run of one training.
        epochs_done: Epochs done in all arms together.
        total_epochs: Epochs that the run will have at its end, as far as that is known: a training that a stop rule
            has ended makes them fewer.
    """

    epoch: int
    step: int
    loss: float
    learning_rate: float
    arm: str
    epochs_done: int
    total_epochs: int


@dataclass(frozen=True)
class Observed:
    """A split was measured.

    Attributes:
        observation: The row of the series; its result still carries the declarations of the metrics.
    """

    observation: Observation


@dataclass(frozen=True)
class Finished:
    """A run is done.

    Attributes:
        run: Its record, with the verdict.
    """

    run: Run


@dataclass(frozen=True)
class Planned:
    """What a run compares; from the recipe to the runner, before anything else.

    Attributes:
        arms: The trainings, in their order.
        epochs: Epochs of all of them together.
    """

    arms: tuple[Arm, ...]
    epochs: int


@dataclass(frozen=True)
class Note:
    """A sentence that a reader of the record must know; from the recipe to the runner.

    Attributes:
        text: The sentence.
    """

    text: str


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Arrays to keep of a moment; from the recipe to the runner.

    Attributes:
        epoch: Epochs done.
        arrays: Name to array.
        step: Steps done, if the moment lies within an epoch.
        arm: Name of the arm; empty in a run of one training.
    """

    epoch: int
    arrays: Mapping[str, np.ndarray]
    step: int | None = None
    arm: str = ""


@dataclass(frozen=True, eq=False)
class Trained:
    """A training has ended; from the recipe to the runner.

    Attributes:
        weights: Entries of the network's ``state_dict`` by name.
        arm: Name of the arm; empty in a run of one training.
    """

    weights: Mapping[str, np.ndarray]
    arm: str = ""


@dataclass(frozen=True, eq=False)
class SafePoint:
    """A moment from which the run can go on to the same bits; from the recipe to the runner.

    All rows and snapshots of moments up to this one were yielded before it, and none of a later one.

    Attributes:
        epochs_done: Epochs done, of all arms together.
        state: Gives what has to be kept to go on from here.
        wanted: Whether it must be kept now; else the runner decides by the clock.
        last: Whether nothing is left to do after it.
    """

    epochs_done: int
    state: Callable[[], dict[str, Any]]
    wanted: bool
    last: bool = False


Event = Planned | EpochDone | Observed | Note | Snapshot | Trained | SafePoint
"""What `Recipe.run` yields."""

Listener = Callable[[Started | EpochDone | Observed | Finished], None]
"""Hears the progress of a run."""
