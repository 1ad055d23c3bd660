"""A run folder, or a single measurement, as the sections of a page look at it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from collapselab.records import Declaration, Measurement, Measurements, Observation, Run
from collapselab.records.families import family_place
from collapselab.records.phase import TerminalPhase, terminal_phase
from collapselab.report.faces import FACES, Face


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

    @cached_property
    def ordered_metrics(self) -> tuple[str, ...]:
        """The same metrics family by family, those of NC1 to NC4 first."""
        family = {name: declared.family for name, declared in self.declarations.items()}
        first = {family.get(name, ""): name for _, name in reversed(self.faces)}

        def place(name: str) -> tuple[tuple[int, str], bool]:
            own = family.get(name, "")
            return family_place(own), name != first.get(own)

        return tuple(sorted(self.metric_names, key=place))

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
