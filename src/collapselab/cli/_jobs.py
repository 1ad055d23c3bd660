"""Runs in processes of their own, several at once, ended together."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from collapselab.records import RunFolder

if TYPE_CHECKING:
    from collapselab.experiments.grid import Point

_LOOK_SECONDS = 0.2
"""Time between two looks at the runs that are under way."""


@dataclass
class Job:
    """One run of the sweep.

    Attributes:
        point: Its settings.
        folder: Its run folder.
        command: What runs it.
        process: What runs it, once it has begun.
        begun: When it did, on the monotonic clock, in seconds.
    """

    point: "Point"
    folder: Path
    command: list[str]
    process: "subprocess.Popen[bytes] | None" = None
    begun: float = 0.0


@contextlib.contextmanager
def ended_together(jobs: Sequence[Job]) -> Iterator[threading.Event]:
    """The first request to end lets every run under way end after its step; the runs are told if nobody else does.

    Args:
        jobs: The runs, begun or not.

    Yields:
        What is set at that request.
    """
    stopping = threading.Event()

    def stop(number: int, _frame: Any) -> None:
        again = stopping.is_set()
        stopping.set()
        for job in jobs:
            # Ctrl-C in a terminal reaches all processes of the group; a signal for this one is handed on.
            if job.process is not None and job.process.poll() is None and (again or number == signal.SIGTERM):
                job.process.terminate()

    # Only the main thread may say what becomes of a signal.
    heard = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for job in jobs:
            if job.process is not None and job.process.poll() is None:
                job.process.terminate()


def work(waiting: Sequence[Job], *, total: int, at_once: int, stopping: threading.Event) -> None:
    """Run the jobs, so many at once, until all are done or it is to stop.

    Args:
        waiting: Those to run, in their order.
        total: How many there are with those that were done before.
        at_once: How many run at a time.
        stopping: Set when no further one is to begin.
    """
    queue, running, done = list(waiting), [], total - len(waiting)
    with tqdm(total=total, initial=done, unit="run", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        while (queue and not stopping.is_set()) or running:
            while queue and len(running) < at_once and not stopping.is_set():
                running.append(_started(queue.pop(0)))
            time.sleep(_LOOK_SECONDS)
            for job in [job for job in running if job.process is not None and job.process.poll() is not None]:
                running.remove(job)
                done += 1
                bar.update()
                bar.write(f"{done}/{total}  {_told(job)}", file=sys.stderr)


def _started(job: Job) -> Job:
    job.folder.mkdir(parents=True, exist_ok=True)
    with open(job.folder / "log.txt", "ab") as log:
        command = [sys.executable, "-m", "collapselab", *job.command]
        job.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    job.begun = time.monotonic()
    return job


def _told(job: Job) -> str:
    return f"{job.point.name}  {status_of(job.folder)} after {time.monotonic() - job.begun:.0f} s"


def status_of(folder: Path) -> str:
    """How a run stands.

    Args:
        folder: Its run folder.

    Returns:
        Its status; ``not begun`` where there is no run.
    """
    return RunFolder(folder).read().status if RunFolder(folder).exists() else "not begun"


def reason_of(folder: Path) -> str:
    """Why a run failed.

    Args:
        folder: Its run folder.

    Returns:
        Its error, or the last line that it wrote.
    """
    run = RunFolder(folder).read() if RunFolder(folder).exists() else None
    if run is not None and run.error is not None:
        return run.error
    try:
        lines = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "no reason was given"
