"""A run folder, or a single measurement, as the sections of a page look at it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from collapselab.records import Arm, Declaration, Measurement, Measurements, NullBand, Observation, Run
from collapselab.records.families import family_place
from collapselab.records.phase import TerminalPhase, terminal_phase
from collapselab.records.prediction import Prediction
from collapselab.report.faces import FACES, Face

Unit = Literal["epoch", "step"]
"""What time is counted in: in steps where something was measured within an epoch."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Arrays kept at one moment of training; `step` is None at the end of an epoch."""

    epoch: int
    arrays: Mapping[str, np.ndarray]
    step: int | None = None

    @property
    def when(self) -> str:
        """The moment in words."""
        return f"epoch {self.epoch}" if self.step is None else f"epoch {self.epoch}, step {self.step}"

    def fits(self, row: Observation) -> bool:
        """Whether a row was measured at this moment.

        Args:
            row: Any row of the same training.

        Returns:
            True if it was.
        """
        return row.epoch == self.epoch and self.step in (None, row.step)


@dataclass(frozen=True)
class Curve:
    """A series of numbers over epochs, or over steps; moments where the number is undefined are left out."""

    split: str
    moments: tuple[int, ...]
    values: tuple[float, ...]
    unit: Unit = "epoch"


@dataclass(frozen=True, eq=False)
class View:
    """Everything a page shows of one run or one measurement.

    Attributes:
        key: Prefix of the section's anchors.
        title: Heading.
        folder: Name of the run folder, without the way to it.
        run: The run's record; None for a single measurement.
        rows: The series of what the classifier sees.
        latest: Split to the last thing measured on it, train first; of the first arm, if there are several.
        snapshots: Arrays kept, by time.
        inner: The series of inner layers, in the order of the forward pass at each moment.
        unit: What time is counted in.
        arms: A view of each training that the run compares; none in a run of one.
        arm: Which arm this is a view of; None for a whole run.
        prediction: What theory predicts of it, where that was kept in its folder.
    """

    key: str
    title: str
    latest: Mapping[str, Measurements]
    folder: str | None = None
    run: Run | None = None
    rows: tuple[Observation, ...] = ()
    snapshots: tuple[Snapshot, ...] = field(default=(), repr=False)
    inner: tuple[Observation, ...] = ()
    unit: Unit = "epoch"
    arms: tuple["View", ...] = ()
    arm: Arm | None = None
    prediction: Prediction | None = None

    @cached_property
    def declarations(self) -> dict[str, Declaration]:
        """What every metric says of itself."""
        found = dict(self.run.declarations) if self.run is not None else {}
        for measured in self.latest.values():
            found = {**measured.declarations, **found}
        return found

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Splits that were measured in the course of training, train and test first."""
        chart = None if self.run is None else self.run.chart
        null = chart.null if isinstance(chart, NullBand) else None  # its rows are values to compare with, of one moment
        return tuple(split for split in self.latest if split != null)

    @cached_property
    def phase(self) -> TerminalPhase:
        """Where the terminal phase of training begins, judged on the training split, in the unit of time.

        In a run of several arms each has its own, and the whole has none.
        """
        return terminal_phase([] if self.arms else [_in_unit(row, self.unit) for row in self.rows])

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
        return [curve for split in self.splits if (curve := self._curve(split, name)).moments]

    def _curve(self, split: str, name: str) -> Curve:
        points = [
            (self.time_of(row), found.value)
            for row in self.rows
            if row.split == split
            and (found := row.result.measurements.get(name)) is not None
            and found.value is not None
        ]
        return Curve(split, tuple(at for at, _ in points), tuple(v for _, v in points), self.unit)

    def time_of(self, row: Observation) -> int:
        """When a row was measured.

        Args:
            row: One of the rows.

        Returns:
            Epochs or steps, as `unit` says.
        """
        return row.step if self.unit == "step" else row.epoch

    def column(self, name: str) -> list[Curve]:
        """The loss, the error or the learning rate over epochs.

        Args:
            name: ``loss``, ``error`` or ``learning_rate``.

        Returns:
            Curves, train first.
        """
        curves = []
        for split in self.splits:
            points = [(self.time_of(r), getattr(r, name)) for r in self.rows if r.split == split]
            points = [(at, value) for at, value in points if value is not None]
            if points:
                curves.append(Curve(split, tuple(at for at, _ in points), tuple(v for _, v in points), self.unit))
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

    def row_at(self, snapshot: Snapshot, split: str = "train") -> Observation | None:
        """The observation of a split at the moment of a snapshot.

        Args:
            snapshot: The moment.
            split: Which data.

        Returns:
            The row, or None.
        """
        return next((row for row in self.rows if snapshot.fits(row) and row.split == split), None)


def _in_unit(row: Observation, unit: Unit) -> Observation:
    return row if unit == "epoch" else row.model_copy(update={"epoch": row.step})


def unit_of(rows: Sequence[Observation]) -> Unit:
    """What time is counted in.

    Args:
        rows: All rows of a run.

    Returns:
        ``step`` if something was measured within an epoch.
    """
    moments = {(row.arm, row.epoch, row.step) for row in rows}
    return "step" if len(moments) > len({(arm, epoch) for arm, epoch, _ in moments}) else "epoch"
