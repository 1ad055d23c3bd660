"""`collapselab sweep`: one recipe under every combination of some settings, several runs at once."""

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from collapselab.cli._answer import Answer
from collapselab.cli._jobs import Job, ended_together, reason_of, status_of, work
from collapselab.cli._parsing import parsed, parser_of
from collapselab.cli._runs import ENDS, ends, last_documents, last_rows, next_free
from collapselab.cli._table import columns
from collapselab.core.errors import CollapselabError, InputError, Interrupted
from collapselab.records import RunFolder

if TYPE_CHECKING:
    from collapselab.experiments.grid import Point

_OWN = ("--over", "--jobs", "--out", "--overwrite")
"""Flags of the sweep itself; all others go to the recipe."""


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
    out = Path(asked.out) if asked.out is not None else next_free(f"{recipe}-sweep")
    jobs = [_job(recipe, point, out / point.name, flags) for point in points]
    waiting = _checked(jobs, recipe, flags, overwrite=asked.overwrite)
    again = shlex.join(["collapselab", "sweep", recipe, *flags, *(f"--over={one}" for one in asked.over)])
    with ended_together(jobs) as stopping:
        work(waiting, total=len(jobs), at_once=_at_once(asked.jobs, flags, len(waiting)), stopping=stopping)
    if stopping.is_set():
        done = sum(status_of(job.folder) == "done" for job in jobs)
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


def _job(recipe: str, point: "Point", folder: Path, flags: Sequence[str]) -> Job:
    from collapselab.experiments.grid import as_text

    settings = [f"--{key}={as_text(value)}" for key, value in point.settings.items()]
    return Job(point, folder, ["run", recipe, *flags, *settings, f"--out={folder}"])


def _checked(jobs: Sequence[Job], recipe: str, flags: Sequence[str], *, overwrite: bool) -> list[Job]:
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
            # One that was refused before it measured anything makes way for the corrected one.
            if run.status != "failed" or RunFolder(job.folder).observations():
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


def _answer(jobs: Sequence[Job], out: Path, *, over: list[str]) -> Answer:
    rows = [_row(job) for job in jobs]
    failed = [job for job in jobs if status_of(job.folder) != "done"]
    done = [str(job.folder) for job in jobs if job not in failed]
    text = [columns(_table(jobs, rows, over))]
    page = None
    if len(done) > 1:
        from collapselab.report import write_comparison

        page = str(write_comparison(done, str(out / "comparison.html")))
        text += ["", page]
    if failed:
        reasons = "; ".join(f"{job.point.name}: {reason_of(job.folder)}" for job in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise CollapselabError(
            f"{len(failed)} of {len(jobs)} runs failed, the others are kept in {out}: {reasons}{more}"
        )
    return Answer({"folder": str(out), "runs": rows, "page": page}, "\n".join(text))


def _row(job: Job) -> dict[str, Any]:
    described = {"folder": str(job.folder), "settings": dict(job.point.settings)}
    if not RunFolder(job.folder).exists():
        return {**described, "status": "not begun", "verdict": None, "last": {}}
    run = RunFolder(job.folder).read()
    verdict = None if run.verdict is None else run.verdict.state
    last = last_documents(RunFolder(job.folder), run)
    return {**described, "status": run.status, "verdict": verdict, "last": last}


def _table(jobs: Sequence[Job], rows: Sequence[Mapping[str, Any]], over: Sequence[str]) -> list[list[str]]:
    """A line a run; of several arms a run shows its claim alone."""
    table = [[*over, "claim", *ENDS]]
    for job, row in zip(jobs, rows, strict=True):
        cells = ends(last_rows(RunFolder(job.folder))) if RunFolder(job.folder).exists() else ["-"] * len(ENDS)
        table.append([*(str(row["settings"][key]) for key in over), row["verdict"] or row["status"], *cells])
    return table
