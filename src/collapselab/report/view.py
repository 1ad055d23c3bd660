"""A run folder, or a single measurement, as the sections of a page look at it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from collapselab.records import Declaration, Measurement, Measurements, Observation, Run, RunFolder
from collapselab.records.phase import TerminalPhase, terminal_phase
from collapselab.report.words import FACES, Face

_SPLITS = ("train", "test")

# Frames of the animated figures: more would neither be seen nor fit the page.
MOST_FRAMES = 60


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Arrays kept at one moment of training."""

    epoch: int
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Curve:
    """A series of numbers over epochs; moments where the number is undefined are left out."""

    split: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class View:
    """Everything a page shows of one run or one measurement.

    Attributes:
        key: Prefix of the section's anchors.
        title: Heading.
        folder: Name of the run folder, without the way to it.
        run: The run's record; None for a single measurement.
        rows: The series.
        latest: Split to the last thing measured on it, train first.
        snapshots: Arrays kept, by epoch.
    """

    key: str
    title: str
    latest: Mapping[str, Measurements]
    folder: str | None = None
    run: Run | None = None
    rows: tuple[Observation, ...] = ()
    snapshots: tuple[Snapshot, ...] = field(default=(), repr=False)

    @cached_property
    def declarations(self) -> dict[str, Declaration]:
        """What every metric says of itself."""
        found = dict(self.run.declarations) if self.run is not None else {}
        for measured in self.latest.values():
            found = {**measured.declarations, **found}
        return found

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Splits that were measured, train and test first."""
        return tuple(self.latest)

    @cached_property
    def phase(self) -> TerminalPhase:
        """Where the terminal phase of training begins, judged on the training split."""
        return terminal_phase(self.rows)

    @cached_property
    def metric_names(self) -> tuple[str, ...]:
        """Scalar metrics measured last, in the order of the record."""
        return tuple(dict.fromkeys(name for measured in self.latest.values() for name in measured.measurements))

    def face_metric(self, face: Face) -> str | None:
        """The metric that stands for one face of collapse.

        Args:
            face: Which.

        Returns:
            The first preferred one that was measured, else the first of that prefix, else None.
        """
        prefix = face.code.lower()
        named = [name for name in self.metric_names if name.startswith(prefix)]
        candidates = [*(name for name in face.preferred if name in self.metric_names), *named]
        return candidates[0] if candidates else None

    @cached_property
    def faces(self) -> tuple[tuple[Face, str], ...]:
        """The faces that were measured and the metric that stands for each."""
        found = ((face, self.face_metric(face)) for face in FACES)
        return tuple((face, name) for face, name in found if name is not None)

    def curves(self, name: str) -> list[Curve]:
        """A metric over epochs, one curve a split.

        Args:
            name: Key of the metric.

        Returns:
            Curves with at least one point, train first.
        """
        return [curve for split in self.splits if (curve := self._curve(split, name)).epochs]

    def _curve(self, split: str, name: str) -> Curve:
        points = [
            (row.epoch, found.value)
            for row in self.rows
            if row.split == split
            and (found := row.result.measurements.get(name)) is not None
            and found.value is not None
        ]
        return Curve(split, tuple(e for e, _ in points), tuple(v for _, v in points))

    def column(self, name: str) -> list[Curve]:
        """The loss, the error or the learning rate over epochs.

        Args:
            name: ``loss``, ``error`` or ``learning_rate``.

        Returns:
            Curves, train first.
        """
        curves = []
        for split in self.splits:
            points = [(r.epoch, getattr(r, name)) for r in self.rows if r.split == split]
            points = [(epoch, value) for epoch, value in points if value is not None]
            if points:
                curves.append(Curve(split, tuple(e for e, _ in points), tuple(v for _, v in points)))
        return curves

    def measured(self, name: str, split: str) -> Measurement | None:
        """What was measured last.

        Args:
            name: Key of the metric.
            split: Which data.

        Returns:
            The measurement, or None if this metric was not measured there.
        """
        return self.latest[split].measurements.get(name)

    def row_at(self, epoch: int, split: str = "train") -> Observation | None:
        """The observation of a split at an epoch.

        Args:
            epoch: Epochs done.
            split: Which data.

        Returns:
            The row, or None.
        """
        return next((row for row in self.rows if row.epoch == epoch and row.split == split), None)


def ordered_splits(names: Sequence[str]) -> list[str]:
    """Splits in the order of a report.

    Args:
        names: Names, perhaps repeated.

    Returns:
        Each once: train, test, then the others as they came.
    """
    seen = dict.fromkeys(names)
    return [*(split for split in _SPLITS if split in seen), *(split for split in seen if split not in _SPLITS)]


def open_run(folder: str | os.PathLike[str], *, key: str = "run-1") -> View:
    """Read a run folder.

    Args:
        folder: Where it is.
        key: Prefix of the section's anchors.

    Returns:
        What a page shows of it.
    """
    store = RunFolder(folder)
    run = store.read()
    rows = tuple(store.observations())
    epochs = _spread(store.snapshot_epochs(), MOST_FRAMES)
    return View(
        key=key,
        title=run.title,
        folder=Path(folder).resolve().name,
        run=run,
        rows=rows,
        latest={
            split: [r.result for r in rows if r.split == split][-1] for split in ordered_splits([r.split for r in rows])
        },
        snapshots=tuple(Snapshot(epoch, store.read_snapshot(epoch)) for epoch in epochs),
    )


def view_of(measurements: Measurements, *, title: str) -> View:
    """A single measurement, without a run around it.

    Args:
        measurements: The record.
        title: Heading.

    Returns:
        What a page shows of it.
    """
    return View(key="run-1", title=title, latest={measurements.conditions.split or "measured": measurements})


def _spread(epochs: Sequence[int], most: int) -> list[int]:
    """At most so many epochs, first and last among them, evenly spread over the list."""
    if len(epochs) <= most:
        return list(epochs)
    return [epochs[i] for i in np.unique(np.linspace(0, len(epochs) - 1, most).round().astype(int))]
