"""Runs a tiny recipe again and again, killing it with SIGKILL at chosen places, until it is done.

A program of its own: it forks, so that the imports are paid once. `python killed_runs.py RECIPE FOLDER POINT...` runs
each point in `FOLDER/POINT` and fails with a message where a killed run is not readable. RECIPE is ``one`` (a single
training) or ``arms`` (two of them). A point is ``NUMBER`` (die before that write to the disk), ``NUMBERh`` (die in the
middle of it: rows of the series only, all else is replaced whole), ``tSECONDS`` (die that long after the start) or
``sSTEP`` (die in that optimiser step of the session; ``sSTEP,STEP`` for one session after the other). A ``c`` at the
end lets a checkpoint follow every step. ``count`` prints the writes of a whole run, one letter each (a row appended, a
file replaced), after running it in ``FOLDER/whole``.
"""

import importlib
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiny_arms
from collapselab.experiments import resume_experiment, run_experiment
from collapselab.experiments import session as sessions
from collapselab.records import RunFolder, store
from collapselab.training import Training
from tiny_run import TINY

RECIPES: dict[str, Any] = {"one": TINY, "arms": tiny_arms.TinyArms()}

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


@dataclass(frozen=True)
class Death:
    """How a session is to end, if it is not to end well."""

    write: int | None = None
    half: bool = False
    seconds: float | None = None
    step: int | None = None


def deaths(point: str) -> list[Death]:
    """How the sessions of a point end, one after the other."""
    if point[0] == "t":
        return [Death(seconds=float(point[1:]))] * KILLS
    if point[0] == "s":
        return [Death(step=int(step)) for step in point[1:].split(",")]
    return [Death(write=int(point.rstrip("h")), half=point.endswith("h"))]


def session(recipe: Any, folder: Path, death: Death) -> int:
    """Run or go on in a child; gives what `waitpid` says of its end."""
    pid = os.fork()
    if pid == 0:
        writes = Writes(death.write, half=death.half)
        if death.seconds is not None:
            threading.Thread(target=_die_after, args=(death.seconds,), daemon=True).start()
        if death.step is not None:
            _die_in_step(death.step)
        try:
            resume_experiment(folder) if RunFolder(folder).exists() else run_experiment(recipe, folder)
        except BaseException as error:
            print(f"{folder.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        print(writes.kinds, flush=True)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def _die_after(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def _die_in_step(number: int) -> None:
    """After the gradient of that step is there, and before the weights have moved."""
    real, calls = Training.accumulate, itertools.count(1)

    def accumulate(self: Training, *given: Any, **named: Any) -> Any:
        found = real(self, *given, **named)
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    Training.accumulate = accumulate


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
    for moment in place.snapshots():
        place.read_snapshot(moment.epoch, step=moment.step, arm=moment.arm)


def main() -> None:
    for heavy in ("lightning.fabric", "sklearn.datasets"):
        importlib.import_module(heavy)  # here, and not in every child
    recipe, base = RECIPES[sys.argv[1]], Path(sys.argv[2])
    with tiny_arms.registered():
        for point in sys.argv[3:]:
            if point == "count":
                assert session(recipe, base / "whole", Death()) == 0
            else:
                _killed(recipe, base / point, point)


def _killed(recipe: Any, folder: Path, point: str) -> None:
    """Die as the point says, look at what is left each time, and go on to the end."""
    if point.endswith("c"):
        sessions.CHECKPOINT_SECONDS = 0.0
    killed = 0
    for death in deaths(point.rstrip("c")):
        if os.WIFSIGNALED(session(recipe, folder, death)):
            killed += 1
            readable(folder)
    assert point[0] == "t" or killed == len(deaths(point.rstrip("c"))), f"{point}: killed only {killed} times"
    sessions.CHECKPOINT_SECONDS = 10.0
    assert session(recipe, folder, Death()) == 0, point


if __name__ == "__main__":
    main()
