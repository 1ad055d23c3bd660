"""One sitting of a run: takes a recipe's events and keeps them in an order that survives a kill.

Snapshot, rows, weights, checkpoint, record: in that order. What lies beyond the last checkpoint is forgotten when the
run goes on, and nothing a checkpoint stands on is written after it.
"""

import contextlib
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from collapselab.core.errors import Interrupted, StorageError
from collapselab.experiments._spec import Recipe
from collapselab.experiments.config import digest_of
from collapselab.experiments.events import (
    EpochDone,
    Event,
    Finished,
    Listener,
    Note,
    Observed,
    Planned,
    SafePoint,
    Snapshot,
    Started,
    Trained,
)
from collapselab.experiments.interrupt import Wish, interruptible
from collapselab.experiments.probe import Probe
from collapselab.records.schema import Observation, Run
from collapselab.records.store import RunFolder
from collapselab.training.checkpoint import read_checkpoint, write_checkpoint
from collapselab.training.processes import launch
from collapselab.training.sharding import Processes

# Seconds of work that a kill may cost, besides the step or the measurement under way.
CHECKPOINT_SECONDS = 10.0

# Where a run stands that has no checkpoint yet.
_NOTHING: dict[str, Any] = {"rows": 0, "snapshots": (), "epochs_done": 0, "probe": None}


class Session:
    """From start or resumption to the end, an interruption or a failure.

    Args:
        place: The run folder, locked.
        run: Its record, as it stands.
        listener: Hears the progress.
    """

    def __init__(self, place: RunFolder, run: Run, listener: Listener | None) -> None:
        self._place = place
        self._run = run
        self._tell: Listener = listener if listener is not None else _nobody
        self._digest = digest_of(run.name, run.config)
        self._seconds_before = run.seconds
        self._start = time.monotonic()
        self._kept_at = self._start
        self._rows = 0
        self._snapshots: list[str] = []
        self._started = False

    def work(self, recipe: Recipe, device: torch.device, *, devices: int = 1, strategy: str = "auto") -> Run:
        """Run the recipe to its end; in several processes this one keeps what it yields.

        Args:
            recipe: What to run.
            device: Where.
            devices: On how many of them, each with a process of its own.
            strategy: How processes work together.

        Returns:
            The record of the finished run.

        Raises:
            Interrupted: After Ctrl-C.
        """
        with interruptible() as wish:
            try:
                state = self._cut_back()
                # The others read the state before the training that it is for, and so before this one writes another.
                others = partial(follow, recipe, self._place.checkpoint_file, self._digest)
                first = partial(self._lead, recipe, state, wish)
                launch(first, device=device, devices=devices, strategy=strategy, others=others)
                self._tell_started()
                return self._finish(recipe)
            except (Interrupted, KeyboardInterrupt):
                self._end("interrupted")
                raise Interrupted(self._hint()) from None
            except Exception as error:
                self._end("failed", error=str(error) or type(error).__name__)
                raise

    def _lead(self, recipe: Recipe, state: dict[str, Any] | None, wish: Wish, fabric: Processes) -> None:
        for event in recipe.run(Probe(fabric, state)):
            self._take(event, wish)
            del event  # it may hold a network that is to be replaced by the next one

    def _cut_back(self) -> dict[str, Any] | None:
        """The state of the last checkpoint, with the folder as it was then."""
        self._place.sweep()
        file = self._place.checkpoint_file
        kept = read_checkpoint(file, digest=self._digest) if file.exists() else _NOTHING
        self._rows, self._snapshots = kept["rows"], list(kept["snapshots"])
        if self._run.sessions > 1:
            self._place.keep(self._rows, self._snapshots)
        self._keep(epochs_done=kept["epochs_done"])
        return kept["probe"]

    def _keep(self, **changes: Any) -> None:
        seconds = self._seconds_before + time.monotonic() - self._start
        self._run = self._run.model_copy(update={**changes, "seconds": round(seconds, 3)})
        self._place.write(self._run)

    def _take(self, event: Event, wish: Wish) -> None:
        if isinstance(event, Planned):
            self._keep(arms=event.arms, epochs=event.epochs)
        self._tell_started()
        if isinstance(event, SafePoint):
            self._at_safe_point(event, wish)
        elif isinstance(event, Snapshot):
            moment = self._place.write_snapshot(event.epoch, event.arrays, step=event.step, arm=event.arm)
            self._snapshots.append(moment.file)
        elif isinstance(event, Observed):
            self._place.append(self._without_declarations(event.observation))
            self._rows += 1
            self._tell(event)
        elif isinstance(event, Trained):
            self._place.write_weights(event.weights, arm=event.arm)
        elif isinstance(event, Note):
            if event.text not in self._run.notes:  # a repeated stretch of the run says the same again
                self._keep(notes=(*self._run.notes, event.text))
        elif isinstance(event, EpochDone):
            self._tell(event)

    def _tell_started(self) -> None:
        """Once, when it is known what the run compares."""
        if not self._started:
            self._started = True
            self._tell(Started(self._run, self._run.epochs))

    def _without_declarations(self, row: Observation) -> Observation:
        """The row as the series keeps it; declarations are kept once, in the record, and before the first row."""
        merged = {**self._run.declarations, **row.result.declarations}
        if merged != self._run.declarations:
            self._keep(declarations=merged)
        return row.model_copy(update={"result": row.result.model_copy(update={"declarations": {}})})

    def _at_safe_point(self, point: SafePoint, wish: Wish) -> None:
        stopping = wish.stop and not point.last  # at the very end, finishing is the faster way out
        if point.wanted or stopping or time.monotonic() - self._kept_at >= CHECKPOINT_SECONDS:
            kept = {"rows": self._rows, "snapshots": self._snapshots, "epochs_done": point.epochs_done}
            state = {**kept, "probe": point.state()}
            write_checkpoint(self._place.checkpoint_file, state, digest=self._digest)
            self._keep(epochs_done=point.epochs_done)
            self._kept_at = time.monotonic()
        if stopping:
            raise Interrupted

    def _finish(self, recipe: Recipe) -> Run:
        self._keep(status="done", verdict=recipe.verdict(self._place.observations()))
        self._tell(Finished(self._run))
        return self._run

    def _end(self, status: str, *, error: str | None = None) -> None:
        # On a full disk the record keeps what it said last, which is still true: running, so many epochs done.
        with contextlib.suppress(StorageError):
            self._keep(status=status, error=error)

    def _hint(self) -> str:
        done = f"stopped after epoch {self._run.epochs_done} of {self._run.epochs}"
        return f"{done}; what was done is kept in {self._place.path}: run again with --resume to go on"


def follow(recipe: Recipe, checkpoint: Path, digest: str, fabric: Processes) -> None:
    """Run a recipe in a process after the first: what it yields is kept there.

    Args:
        recipe: What to run.
        checkpoint: File with the state to go on from; not there for a run that begins.
        digest: What identifies the configuration.
        fabric: The processes.
    """
    kept = read_checkpoint(checkpoint, digest=digest) if checkpoint.exists() else _NOTHING
    for event in recipe.run(Probe(fabric, kept["probe"])):
        del event


def _nobody(_event: object) -> None:
    """Listens to nothing."""
