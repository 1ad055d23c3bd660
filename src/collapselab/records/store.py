"""One folder a run: ``run.json``, ``series.jsonl``, ``snapshots/``, ``checkpoint.pt``, ``weights.safetensors``.

A prediction that was kept beside it is in ``prediction.json``.

Snapshots and weights of a run with several arms lie in ``snapshots/ARM/`` and ``weights/ARM.safetensors``. Everything
but the series is replaced whole and atomically. The series grows by a line at a time; a kill in mid-line leaves a last
line without its end, which the reader leaves out and a resumed run cuts off.
"""

import contextlib
import errno
import io
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from collapselab.core.errors import InputError, StorageError
from collapselab.records.files import read_arrays, write_arrays, write_bytes
from collapselab.records.schema import Observation, Run

try:
    import fcntl
except ImportError:  # not a POSIX system: nothing then stops two processes from writing to one folder
    fcntl = None

# Where atomic writes put their temporary files.
_PLACES = ("", "snapshots/", "snapshots/*/", "weights/")
_SNAPSHOT = re.compile(r"epoch-(\d{6,})(?:-step-(\d{8,}))?\.safetensors")


@dataclass(frozen=True)
class Moment:
    """A moment of training of which something is kept.

    Attributes:
        epoch: Epochs done.
        step: Steps done, if the moment lies within an epoch; None at the end of one.
        arm: Name of the arm; empty in a run of one training.
    """

    epoch: int
    step: int | None = None
    arm: str = ""

    @property
    def file(self) -> str:
        """Its file among the snapshots."""
        within = "" if self.step is None else f"-step-{self.step:08d}"
        folder = f"{self.arm}/" if self.arm else ""
        return f"{folder}epoch-{self.epoch:06d}{within}.safetensors"


class RunFolder:
    """The folder of one run; a door to its files, holding nothing itself.

    Args:
        path: The folder. It need not exist yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def run_file(self) -> Path:
        """Where the run's record is."""
        return self.path / "run.json"

    @property
    def series_file(self) -> Path:
        """Where the series of observations is."""
        return self.path / "series.jsonl"

    @property
    def checkpoint_file(self) -> Path:
        """Where the state to resume from is."""
        return self.path / "checkpoint.pt"

    @property
    def prediction_file(self) -> Path:
        """Where a prediction of this run is, if one is kept."""
        return self.path / "prediction.json"

    def exists(self) -> bool:
        """Whether a run was begun here.

        Returns:
            True if there is a run record.
        """
        return self.run_file.is_file()

    def read(self) -> Run:
        """Read the run's record.

        Returns:
            The run.

        Raises:
            InputError: If the folder holds no run, or its record is truncated, foreign or of another version.
        """
        if not self.path.is_dir():
            raise InputError(f"no run folder {self.path}")
        if not self.exists():
            raise InputError(f"{self.path} holds no run: there is no run.json in it")
        return read_record(self.run_file)

    def write(self, run: Run) -> None:
        """Replace the run's record.

        Args:
            run: The record to keep.
        """
        write_bytes(self.run_file, (run.model_dump_json(indent=1) + "\n").encode())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process that writes here; the lock goes with the process, however it ends.

        Yields:
            Nothing.

        Raises:
            InputError: If the place is no folder, or another process writes to it.
            StorageError: If the folder cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / ".lock", "ab")  # noqa: SIM115 - closed below, with the lock
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(f"{self.path} must be a folder, got a file") from error
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror or error}") from error
        with lock:
            if fcntl is not None:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise InputError(f"another process is writing to {self.path}") from error
            yield

    def sweep(self) -> None:
        """Remove what a kill in the middle of an atomic write left behind. Hold the lock."""
        for stray in (file for place in _PLACES for file in self.path.glob(f"{place}.*.tmp")):
            stray.unlink(missing_ok=True)

    def append(self, observation: Observation) -> None:
        """Add one row to the series; a row that cannot be written whole is taken back.

        Args:
            observation: The row.

        Raises:
            StorageError: If the disk is full or the folder cannot be written.
        """
        line = (observation.model_dump_json() + "\n").encode()
        try:
            with open(self.series_file, "ab", buffering=0) as file:
                _write_whole(file, line)
        except OSError as error:
            raise StorageError(f"cannot write {self.series_file}: {error.strerror or error}") from error

    def observations(self) -> list[Observation]:
        """The rows of the series, in the order they were measured.

        Returns:
            All complete rows.

        Raises:
            InputError: If a complete row is not an observation.
        """
        return [observation for _, observation in self._rows()]

    def _rows(self) -> list[tuple[bytes, Observation]]:
        if not self.series_file.is_file():
            return []
        rows = []
        for number, line in enumerate(self.series_file.read_bytes().splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                break  # a kill in mid-write: the row never came to be
            try:
                rows.append((line, Observation.model_validate_json(line)))
            except ValidationError as error:
                message = f"{self.series_file}, line {number}, is not an observation: {first_fault(error)}"
                raise InputError(message) from error
        return rows

    def keep(self, rows: int, snapshots: Collection[str]) -> None:
        """Forget all rows after the first few, all snapshots but some, and a last row that was cut off. Hold the lock.

        Args:
            rows: How many rows to keep.
            snapshots: Files of the moments whose snapshots are kept.

        Raises:
            InputError: If there are fewer rows.
        """
        there = [line for line, _ in self._rows()]
        if len(there) < rows:
            raise InputError(f"{self.series_file} must hold {rows} rows, as the checkpoint says, got {len(there)}")
        write_bytes(self.series_file, b"".join(there[:rows]))
        for moment in self.snapshots():
            if moment.file not in snapshots:
                self._snapshot_file(moment).unlink()

    def clear(self) -> None:
        """Forget all rows, snapshots and weights and the prediction, whatever is in them. Hold the lock."""
        self.series_file.unlink(missing_ok=True)
        for moment in self.snapshots():
            self._snapshot_file(moment).unlink()
        weights = (self.path / "weights").glob("*.safetensors")
        for file in (self.weights_file(), self.prediction_file, *weights):
            file.unlink(missing_ok=True)

    def _snapshot_file(self, moment: Moment) -> Path:
        return self.path / "snapshots" / moment.file

    def write_snapshot(
        self, epoch: int, arrays: Mapping[str, np.ndarray], *, step: int | None = None, arm: str = ""
    ) -> Moment:
        """Keep the arrays of one moment.

        Args:
            epoch: Epochs done.
            arrays: Name to array.
            step: Steps done, if the moment lies within an epoch.
            arm: Name of the arm.

        Returns:
            The moment, whose `file` is what `keep` takes.
        """
        moment = Moment(epoch, step, arm)
        text = {"epoch": str(epoch)} | ({} if step is None else {"step": str(step)}) | ({"arm": arm} if arm else {})
        write_arrays(self._snapshot_file(moment), arrays, metadata={"schema_version": "1", **text})
        return moment

    def snapshots(self, arm: str | None = None) -> list[Moment]:
        """Moments that have a snapshot.

        Args:
            arm: Those of this arm only; None for those of all arms.

        Returns:
            Moments in the order of time, arm by arm in the order of the alphabet.
        """
        base = self.path / "snapshots"
        found = []
        for file in (*base.glob("*.safetensors"), *base.glob("*/*.safetensors")):
            named = _SNAPSHOT.fullmatch(file.name)
            owner = file.parent.name if file.parent != base else ""
            if named is not None and arm in (None, owner):
                found.append(Moment(int(named[1]), None if named[2] is None else int(named[2]), owner))
        return sorted(found, key=lambda moment: (moment.arm, moment.epoch, moment.step or 0))

    def snapshot_epochs(self, arm: str = "") -> list[int]:
        """Epochs at whose end a snapshot was made.

        Args:
            arm: Name of the arm.

        Returns:
            Ascending epochs.
        """
        return [moment.epoch for moment in self.snapshots(arm) if moment.step is None]

    def read_snapshot(self, epoch: int, *, step: int | None = None, arm: str = "") -> dict[str, np.ndarray]:
        """Read the arrays of one moment.

        Args:
            epoch: Epochs done.
            step: Steps done, if the moment lies within an epoch.
            arm: Name of the arm.

        Returns:
            Name to array.
        """
        return read_arrays(self._snapshot_file(Moment(epoch, step, arm)))[0]

    def weights_file(self, arm: str = "") -> Path:
        """Where the weights of a trained network are, once its training has ended.

        ``network.load_state_dict(safetensors.torch.load_file(path))`` puts them into a network of the same make.

        Args:
            arm: Name of the arm.

        Returns:
            The file.
        """
        return self.path / "weights" / f"{arm}.safetensors" if arm else self.path / "weights.safetensors"

    def write_weights(self, weights: Mapping[str, np.ndarray], *, arm: str = "") -> None:
        """Keep the weights of a trained network.

        Args:
            weights: Entries of its ``state_dict`` by name.
            arm: Name of the arm.
        """
        text = {"schema_version": "1", "format": "pt"} | ({"arm": arm} if arm else {})
        write_arrays(self.weights_file(arm), weights, metadata=text)

    def read_weights(self, arm: str = "") -> dict[str, np.ndarray]:
        """Read the weights of a trained network.

        Args:
            arm: Name of the arm.

        Returns:
            Entries of its ``state_dict`` by name.

        Raises:
            InputError: If its training has not ended.
        """
        return read_arrays(self.weights_file(arm))[0]


def read_record(file: str | os.PathLike[str]) -> Run:
    """Read a run's record, wherever it lies.

    Args:
        file: ``run.json``, or a copy of it.

    Returns:
        The run.

    Raises:
        InputError: If it is truncated, foreign or of another version.
    """
    try:
        return Run.model_validate_json(Path(file).read_bytes())
    except ValidationError as error:
        raise InputError(f"{file} is not a run record: {first_fault(error)}") from error


def _write_whole(file: io.FileIO, line: bytes) -> None:
    before = file.tell()
    try:
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):  # the reason to report is the first one
            file.truncate(before)
        raise


def first_fault(error: ValidationError) -> str:
    """The first thing wrong with a record, in one line.

    Args:
        error: What pydantic raised.

    Returns:
        Place and message.
    """
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])


def as_json(value: object) -> str:
    """One JSON document as text, refusing NaN and infinity.

    Args:
        value: A record's ``model_dump(mode="json")`` or plain data.

    Returns:
        Indented JSON.
    """
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
