"""One folder a run: ``run.json``, ``series.jsonl``, ``snapshots/*.safetensors``, ``checkpoint.pt``.

Everything but the series is replaced whole and atomically. The series grows by a line at a time; a kill in mid-line
leaves a last line without its end, which the reader leaves out and a resumed run cuts off.
"""

import contextlib
import errno
import io
import json
import os
from collections.abc import Iterator, Mapping
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
        try:
            return Run.model_validate_json(self.run_file.read_bytes())
        except ValidationError as error:
            raise InputError(f"{self.run_file} is not a run record: {first_fault(error)}") from error

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
        for stray in (*self.path.glob(".*.tmp"), *self.path.glob("snapshots/.*.tmp")):
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

    def keep_until(self, epoch: int) -> None:
        """Forget rows and snapshots after an epoch, and a last row that was cut off.

        Args:
            epoch: The last epoch to keep.
        """
        kept = [line for line, row in self._rows() if row.epoch <= epoch]
        write_bytes(self.series_file, b"".join(kept))
        for later in self.snapshot_epochs():
            if later > epoch:
                self._snapshot_file(later).unlink()

    def clear_series(self) -> None:
        """Forget all rows and all snapshots, whatever is in them. Hold the lock."""
        self.series_file.unlink(missing_ok=True)
        for epoch in self.snapshot_epochs():
            self._snapshot_file(epoch).unlink()

    def _snapshot_file(self, epoch: int) -> Path:
        return self.path / "snapshots" / f"epoch-{epoch:06d}.safetensors"

    def write_snapshot(self, epoch: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays of one moment.

        Args:
            epoch: Epochs done.
            arrays: Name to array.
        """
        write_arrays(self._snapshot_file(epoch), arrays, metadata={"schema_version": "1", "epoch": str(epoch)})

    def snapshot_epochs(self) -> list[int]:
        """Epochs that have a snapshot.

        Returns:
            Ascending epochs.
        """
        return sorted(int(file.stem.split("-")[1]) for file in (self.path / "snapshots").glob("epoch-*.safetensors"))

    def read_snapshot(self, epoch: int) -> dict[str, np.ndarray]:
        """Read the arrays of one moment.

        Args:
            epoch: One of `snapshot_epochs`.

        Returns:
            Name to array.
        """
        return read_arrays(self._snapshot_file(epoch))[0]


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
