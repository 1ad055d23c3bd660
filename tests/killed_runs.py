"""Runs the tiny recipe again and again, killing it with SIGKILL at chosen writes, until it is done.

A program of its own: it forks, so that the imports are paid once. `python killed_runs.py FOLDER POINT...` runs each
point in `FOLDER/POINT` and fails with a message where a killed run is not readable. A point is ``NUMBER`` (die before
that write to the disk), ``NUMBERh`` (die in the middle of it: rows of the series only, all else is replaced whole) or
``tSECONDS`` (die that long after the start). ``count`` prints the writes of a whole run, one letter each (a row
appended, a file replaced), after running it in ``FOLDER/whole``.
"""

import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collapselab.experiments import resume_experiment, run_experiment
from collapselab.records import RunFolder, store
from tiny_run import TINY

# So many sessions of a run killed by the clock are killed; the one after them is left alone.
KILLS = 3


class Writes:
    """Counts what changes the disk for good, and dies where it was told to."""

    def __init__(self, die_at: int | None, *, half: bool) -> None:
        self.kinds = ""
        self._die_at = die_at
        self._half = half
        os.replace = self._counted("r", os.replace)
        store._write_whole = self._counted("a", store._write_whole)  # pyright: ignore[reportPrivateUsage]

    def _counted(self, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(first: Any, second: Any) -> Any:
            self.kinds += kind
            if len(self.kinds) == self._die_at:
                if self._half:
                    first.write(second[: len(second) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(first, second)

        return counted


def session(folder: Path, *, die_at: int | None = None, half: bool = False, after: float | None = None) -> int:
    """Run or go on in a child; gives what `waitpid` says of its end."""
    pid = os.fork()
    if pid == 0:
        writes = Writes(die_at, half=half)
        if after is not None:
            threading.Thread(target=_die_after, args=(after,), daemon=True).start()
        try:
            resume_experiment(folder) if RunFolder(folder).exists() else run_experiment(TINY, folder)
        except BaseException as error:
            print(f"{folder.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        print(writes.kinds, flush=True)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def _die_after(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def readable(folder: Path) -> None:
    """A killed run can be read: no record of it is half."""
    place = RunFolder(folder)
    if not place.exists():
        assert not place.series_file.exists()
        return
    run = place.read()
    rows = place.observations()
    assert run.status == "running", run.status
    assert all(row.epoch <= run.epochs for row in rows)
    if rows:
        assert run.declarations.keys() >= rows[0].result.measurements.keys()
    for epoch in place.snapshot_epochs():
        place.read_snapshot(epoch)


def main() -> None:
    for heavy in ("lightning.fabric", "sklearn.datasets"):
        importlib.import_module(heavy)  # here, and not in every child
    base = Path(sys.argv[1])
    for point in sys.argv[2:]:
        if point == "count":
            assert session(base / "whole") == 0
            continue
        folder = base / point
        timed = point[0] == "t"
        how: dict[str, Any] = {"after": float(point[1:])} if timed else {"die_at": int(point.rstrip("h"))}
        killed = 0
        for _ in range(KILLS if timed else 1):
            ended = session(folder, half=point.endswith("h"), **how)
            if os.WIFSIGNALED(ended):
                killed += 1
                readable(folder)
        assert timed or killed == 1, f"{point}: nothing was killed"
        assert session(folder) == 0, point


if __name__ == "__main__":
    main()
