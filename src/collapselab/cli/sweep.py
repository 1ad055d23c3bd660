"""`collapselab sweep`: one recipe under every combination of some settings, several runs at once."""

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from tqdm import tqdm

from collapselab.cli._answer import Answer
from collapselab.cli._parsing import parsed, parser_of
from collapselab.cli._runs import ENDS, ends, last_documents, last_rows
from collapselab.cli._table import columns
from collapselab.core.errors import CollapselabError, InputError, Interrupted
from collapselab.records import RunFolder

if TYPE_CHECKING:
    from collapselab.experiments.grid import Point

_HOME = Path("runs")

_LOOK_SECONDS = 0.2
"""Time between two looks at the runs that are under way."""

_OWN = ("--over", "--jobs", "--out", "--overwrite")
"""Flags of the sweep itself; all others go to the recipe."""


@dataclass
class _Job:
    """One run of the sweep.

    Attributes:
        point: Its settings.
        folder: Its run folder.
        command: What runs it.
        process: While it runs.
    """

    point: "Point"
    folder: Path
    command: list[str]
    process: "subprocess.Popen[bytes] | None" = None
    begun: float = field(default=0.0)


def answer(arguments: list[str]) -> Answer:
    """Run a recipe at every point of a grid; runs that are done are not run again, others go on where they stopped.

    Args:
        arguments: What came after the verb.

    Returns:
        A table with a line a run, and where the page that compares them is.

    Raises:
        InputError: If the recipe does not take a combination.
        CollapselabError: If some runs failed; the others are kept.
        Interrupted: After Ctrl-C; all runs under way are kept.
    """
    from collapselab.experiments.grid import grid

    recipe, asked, flags = _asked(arguments)
    points = grid(_over(asked.over))
    out = Path(asked.out) if asked.out is not None else _next_free(recipe)
    jobs = [_job(recipe, point, out / point.name, flags) for point in points]
    waiting = _checked(jobs, recipe, flags, overwrite=asked.overwrite)
    again = shlex.join(["collapselab", "sweep", recipe, *flags, *(f"--over={one}" for one in asked.over)])
    with _ended_together(jobs) as stopping:
        _work(waiting, total=len(jobs), at_once=_at_once(asked.jobs, flags, len(waiting)), stopping=stopping)
    if stopping.is_set():
        done = sum(_status(job.folder) == "done" for job in jobs)
        raise Interrupted(
            f"stopped with {done} of {len(jobs)} runs done; to go on: {again} --out {shlex.quote(str(out))}"
        )
    return _answer(jobs, out, over=list(points[0].settings))


def _asked(arguments: list[str]) -> tuple[str, argparse.Namespace, list[str]]:
    parser = parser_of("sweep", "Run a recipe at every point of a grid of settings; what is done is not done again.")
    parser.add_argument("recipe", type=str, metavar="RECIPE", help="collapselab list recipes shows what there is")
    parser.add_argument(
        "--over",
        action="append",
        type=str,
        metavar="SETTING=VALUE,VALUE",
        help="values of one setting, such as seed=0,1,2 or optimiser.learning_rate=.1,.01; once for each setting",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at once; one a core if not given, one on a GPU")
    parser.add_argument("--out", type=str, metavar="FOLDER", help="where the runs go; runs/RECIPE-sweep-N if not given")
    parser.add_argument("--overwrite", action="store_true", help="replace the runs in the folder")
    if not arguments or arguments[0] in ("-h", "--help"):
        parser.usage = (
            "collapselab sweep RECIPE --over SETTING=VALUE,VALUE ... [flags of the recipe]\n\n"
            "collapselab run RECIPE --help shows the flags of a recipe."
        )
        parsed(parser, arguments or ["--help"])
    if arguments[0].startswith("-"):
        raise InputError(f"RECIPE must come before the flags, got {arguments[0]} (see collapselab sweep --help)")
    own, flags = _parted(arguments[1:])
    asked = parsed(parser, [arguments[0], *own])
    for flag in flags:
        if flag.partition("=")[0] == "--resume":
            raise InputError("--resume is no flag of a sweep: runs that are there go on by themselves")
    return arguments[0], argparse.Namespace(**{**vars(asked), "over": asked.over or []}), flags


def _parted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags of the sweep, and those of the recipe."""
    own: list[str] = []
    flags: list[str] = []
    rest = list(arguments)
    while rest:
        first = rest.pop(0)
        mine = first.partition("=")[0] in _OWN or first in ("-h", "--help")
        (own if mine else flags).append(first)
        if rest and "=" not in first and first.startswith("--") and not rest[0].startswith("--"):
            (own if mine else flags).append(rest.pop(0))
    return own, flags


def _over(given: Sequence[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for text in given:
        key, equals, values = text.partition("=")
        if not (key and equals):
            raise InputError(f"--over must be SETTING=VALUE,VALUE, got {text!r}")
        try:
            found[key.removeprefix("--").replace("-", "_")] = yaml.safe_load(f"[{values}]")
        except yaml.YAMLError as error:
            raise InputError(f"--over must be SETTING=VALUE,VALUE, got {text!r}") from error
    if not found:
        raise InputError("--over must be given at least once, such as --over seed=0,1,2 (see collapselab sweep --help)")
    return found


def _next_free(recipe: str) -> Path:
    stems = (path.name.removeprefix(f"{recipe}-sweep-") for path in _HOME.glob(f"{recipe}-sweep-*"))
    return _HOME / f"{recipe}-sweep-{max((int(stem) for stem in stems if stem.isdecimal()), default=0) + 1}"


def _job(recipe: str, point: "Point", folder: Path, flags: Sequence[str]) -> _Job:
    from collapselab.experiments.grid import as_text

    settings = [f"--{key}={as_text(value)}" for key, value in point.settings.items()]
    return _Job(point, folder, ["run", recipe, *flags, *settings, f"--out={folder}"])


def _checked(jobs: Sequence[_Job], recipe: str, flags: Sequence[str], *, overwrite: bool) -> list[_Job]:
    """The runs that are to be started; every combination is tried on the recipe before the first one starts."""
    from collapselab.cli.run import recipe_asked
    from collapselab.experiments import REGISTRY
    from collapselab.experiments.config import config_of, require_same

    waiting = []
    for job in jobs:
        try:
            wanted = recipe_asked(REGISTRY[recipe], job.command[2:])
        except InputError as error:
            raise InputError(f"{job.point.name}: {error}") from error
        there = RunFolder(job.folder).exists()
        if overwrite:
            job.command.append("--overwrite")
        elif there:
            run = RunFolder(job.folder).read()
            require_same(config_of(wanted), run, recipe)
            if run.status == "done":
                continue
            job.command.append("--resume")
        waiting.append(job)
    return waiting


def _at_once(asked: int | None, flags: Sequence[str], waiting: int) -> int:
    if asked is not None:
        if asked < 1:
            raise InputError(f"--jobs must be an integer of at least 1, got {asked}")
        return asked
    text = " ".join(flags)
    if "--device cuda" in text or "--device=cuda" in text or "--device mps" in text or "--device=mps" in text:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, waiting))


@contextlib.contextmanager
def _ended_together(jobs: Sequence[_Job]) -> "Iterator[threading.Event]":
    """The first request to end lets every run under way end after its step; the runs are told if nobody else does."""
    stopping = threading.Event()

    def stop(number: int, _frame: Any) -> None:
        again = stopping.is_set()
        stopping.set()
        for job in jobs:
            # Ctrl-C in a terminal reaches all processes of the group; a signal for this one is handed on.
            if job.process is not None and job.process.poll() is None and (again or number == signal.SIGTERM):
                job.process.terminate()

    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for job in jobs:
            if job.process is not None and job.process.poll() is None:
                job.process.terminate()


def _work(waiting: list[_Job], *, total: int, at_once: int, stopping: threading.Event) -> None:
    queue, running = list(waiting), []
    told = tqdm(total=total, initial=total - len(queue), unit="run", file=sys.stderr, disable=not sys.stderr.isatty())
    with told:
        while (queue and not stopping.is_set()) or running:
            while queue and len(running) < at_once and not stopping.is_set():
                running.append(_started(queue.pop(0)))
            time.sleep(_LOOK_SECONDS)
            for job in [job for job in running if job.process is not None and job.process.poll() is not None]:
                running.remove(job)
                told.update()
                _tell(job, told)


def _started(job: _Job) -> _Job:
    job.folder.mkdir(parents=True, exist_ok=True)
    with open(job.folder / "log.txt", "ab") as log:
        command = [sys.executable, "-m", "collapselab", *job.command]
        job.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    job.begun = time.monotonic()
    return job


def _tell(job: _Job, told: "tqdm[Any]") -> None:
    seconds = time.monotonic() - job.begun
    line = f"{told.n}/{told.total}  {job.point.name}  {_status(job.folder)} after {seconds:.0f} s"
    if told.disable:
        told.n += 1
        print(f"{told.n}{line[line.index('/') :]}", file=sys.stderr, flush=True)
    else:
        told.write(line, file=sys.stderr)


def _status(folder: Path) -> str:
    return RunFolder(folder).read().status if RunFolder(folder).exists() else "not begun"


def _answer(jobs: Sequence[_Job], out: Path, *, over: list[str]) -> Answer:
    rows = [_row(job) for job in jobs]
    failed = [job for job in jobs if _status(job.folder) != "done"]
    done = [str(job.folder) for job in jobs if job not in failed]
    text = [columns(_table(jobs, rows, over))]
    page = None
    if len(done) > 1:
        from collapselab.report import write_comparison

        page = str(write_comparison(done, str(out / "comparison.html")))
        text += ["", page]
    if failed:
        reasons = "; ".join(f"{job.point.name}: {_reason(job.folder)}" for job in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise CollapselabError(
            f"{len(failed)} of {len(jobs)} runs failed, the others are kept in {out}: {reasons}{more}"
        )
    return Answer({"folder": str(out), "runs": rows, "page": page}, "\n".join(text))


def _row(job: _Job) -> dict[str, Any]:
    described = {"folder": str(job.folder), "settings": dict(job.point.settings)}
    if not RunFolder(job.folder).exists():
        return {**described, "status": "not begun", "verdict": None, "last": {}}
    run = RunFolder(job.folder).read()
    verdict = None if run.verdict is None else run.verdict.state
    last = last_documents(RunFolder(job.folder), run)
    return {**described, "status": run.status, "verdict": verdict, "last": last}


def _table(jobs: Sequence[_Job], rows: Sequence[Mapping[str, Any]], over: Sequence[str]) -> list[list[str]]:
    """A line a run; of several arms a run shows its claim alone."""
    table = [[*over, "claim", *ENDS]]
    for job, row in zip(jobs, rows, strict=True):
        cells = ends(last_rows(RunFolder(job.folder))) if RunFolder(job.folder).exists() else ["-"] * len(ENDS)
        table.append([*(str(row["settings"][key]) for key in over), row["verdict"] or row["status"], *cells])
    return table


def _reason(folder: Path) -> str:
    run = RunFolder(folder).read() if RunFolder(folder).exists() else None
    if run is not None and run.error is not None:
        return run.error
    try:
        lines = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "no reason was given"
