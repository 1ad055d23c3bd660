"""What a recipe yields while it runs, and what a listener hears."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from collapselab.records.schema import Observation, Run


@dataclass(frozen=True)
class Started:
    """A run begins or goes on.

    Attributes:
        run: Its record; `epochs_done` says where it starts.
        total_epochs: Epochs it will have at its end.
    """

    run: Run
    total_epochs: int


@dataclass(frozen=True)
class EpochDone:
    """An epoch of training is complete.

    Attributes:
        epoch: Epochs done.
        step: Optimiser steps done.
        loss: Mean training loss over the epoch, in train mode.
        learning_rate: Rate of its last step.
    """

    epoch: int
    step: int
    loss: float
    learning_rate: float


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


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Arrays to keep of a moment; from the recipe to the runner.

    Attributes:
        epoch: Epochs done.
        arrays: Name to array.
    """

    epoch: int
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class SafePoint:
    """A moment from which the run can go on to the same bits; from the recipe to the runner.

    All rows and snapshots of epochs up to this one were yielded before it, and none of a later epoch.

    Attributes:
        epoch: Epochs done.
        state: Gives what has to be kept to go on from here.
        wanted: Whether it must be kept now; else the runner decides by the clock.
    """

    epoch: int
    state: Callable[[], dict[str, Any]]
    wanted: bool


Event = EpochDone | Observed | Snapshot | SafePoint
"""What `Recipe.run` yields."""

Listener = Callable[[Started | EpochDone | Observed | Finished], None]
"""Hears the progress of a run."""
