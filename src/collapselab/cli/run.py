"""`collapselab run`: run an experiment and keep it in a folder."""

import contextlib
import dataclasses
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from collapselab.cli._answer import Answer, Told
from collapselab.cli._parsing import parsed, parser_of
from collapselab.cli._progress import progress
from collapselab.cli._recipe import Flags, place_asked
from collapselab.cli._runs import ENDS, HOME, ends, last_documents, last_rows, next_free, numbered
from collapselab.cli._table import columns, paragraph
from collapselab.core.errors import InputError, Interrupted
from collapselab.records import Run, RunFolder, command_line

if TYPE_CHECKING:
    from collapselab.experiments import Experiment, Recipe

_VERDICT = {"holds": "It holds here", "fails": "It fails here", "inconclusive": "Not decided here"}


@dataclass(frozen=True)
class _Asked:
    """What to run and where.

    Attributes:
        recipe: The configured recipe.
        folder: The run folder.
        resume: Whether to go on with the run that is there.
        options: What `run_experiment` takes besides.
    """

    recipe: Any
    folder: Path
    resume: bool
    options: dict[str, Any]


def answer(arguments: list[str]) -> Answer:
    """Run an experiment.

    Args:
        arguments: What came after the verb.

    Returns:
        The verdict, and where the run is.

    Raises:
        Interrupted: After Ctrl-C or a request to terminate; the message says how to go on.
    """
    from collapselab.experiments import REGISTRY, run_experiment

    if not arguments or arguments[0] in ("-h", "--help"):
        return _overview(arguments, list(REGISTRY))
    entry, folder = _named(arguments[0], REGISTRY)
    asked = _asked(entry, arguments[1:], folder)
    try:
        with _terminated_like_interrupted(), progress(sys.stderr) as listener:
            run = run_experiment(
                asked.recipe,
                asked.folder,
                resume=asked.resume,
                listener=listener,
                command=command_line(),
                **asked.options,
            )
    except (Interrupted, KeyboardInterrupt) as error:
        raise Interrupted(_how_to_go_on(asked.folder)) from error
    last = last_documents(RunFolder(asked.folder), run)
    document = {"folder": str(asked.folder), "run": run.model_dump(mode="json"), "last": last}
    return Answer(document, _text(run, asked.folder))


def _overview(arguments: list[str], recipes: list[str]) -> Answer:
    if not arguments:
        raise InputError(f"RECIPE must be given, got nothing; known: {', '.join(recipes)} (see collapselab run --help)")
    parser = parser_of("run", "Run an experiment and keep it in a folder.")
    parser.add_argument("recipe", type=str, metavar="RECIPE", help=f"{', '.join(recipes)}; or a run folder to resume")
    parser.usage = "collapselab run RECIPE ...\n\ncollapselab run RECIPE --help shows the flags of a recipe."
    parsed(parser, ["--help"])
    raise Told(Answer({}, ""))  # not reached: the parser tells what was asked


def _named(name: str, registry: Any) -> "tuple[Experiment, Path | None]":
    """A recipe, or that of a run folder with the folder."""
    if name.startswith("-"):
        raise InputError(f"RECIPE must come before the flags, got {name} (see collapselab run --help)")
    if name in registry or not RunFolder(name).exists():
        return registry[name], None
    return registry[RunFolder(name).read().name], Path(name)


def _asked(entry: "Experiment", arguments: list[str], folder: Path | None) -> _Asked:
    asked, resume = place_asked(arguments)
    if asked is not None and folder is not None:
        raise InputError(f"--out: the run folder was given already, {folder}, got {asked}")
    out = folder if asked is None else Path(asked)
    if resume and out is None:
        raise InputError(f"--resume needs --out RUN, got none{_latest(entry.name)}")
    # Flags that are not given are those of the run; one that is given and differs is refused further down.
    stored = _stored(out, entry) if resume and out is not None else None
    first, recipe = Flags(entry, lambda: _parser(entry)).parse(arguments, stored=stored)
    options = {name: first[name] for name in ("overwrite", "device", "threads", "devices", "strategy")}
    return _Asked(recipe, next_free(entry.name) if out is None else out, first.resume, options)


def recipe_asked(entry: "Experiment", arguments: list[str]) -> "Recipe":
    """The recipe that some flags make.

    Args:
        entry: Its declaration.
        arguments: What comes after its name.

    Returns:
        The recipe.
    """
    return Flags(entry, lambda: _parser(entry)).parse(arguments)[1]


def _parser(entry: "Experiment") -> ArgumentParser:
    parser = parser_of(
        "train" if entry.name == "train" else f"run {entry.name}", f"{entry.title}. Claim: {entry.claim}"
    )
    parser.add_argument(
        "--config", action="config", help="a YAML file of any of these flags, or a run folder; flags win"
    )
    parser.add_argument(
        "--out", type=str, metavar="FOLDER", help=f"the run folder; the next free {HOME}/{entry.name}-N if not given"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder, to the same bits")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--devices", type=int, metavar="N", help="processes, each on a device of its own; 1 if not given"
    )
    parser.add_argument("--strategy", type=str, default="auto", help="how processes work together: auto or ddp")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of one operation; 1 if not given")
    return parser


def _stored(folder: Path, entry: "Experiment") -> dict[str, Any]:
    run = RunFolder(folder).read()
    if run.name != entry.name:
        raise InputError(f"{folder} holds a run of {run.name}, got a request to go on with {entry.name}")
    known = {field.name for field in dataclasses.fields(entry.cls)}
    return {name: value for name, value in run.config.items() if name in known}


def _latest(name: str) -> str:
    taken = numbered(name)
    return f"; the latest is {HOME}/{name}-{max(taken)}" if taken else ""


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """A scheduler's request to end is a Ctrl-C: the step comes to its end and the run can go on later."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _how_to_go_on(folder: Path) -> str:
    run = RunFolder(folder).read()
    again = shlex.join(["collapselab", "run", run.name, "--out", str(folder), "--resume"])
    return f"stopped after epoch {run.epochs_done} of {run.epochs}, all of it is kept; to go on: {again}"


def _text(run: Run, folder: Path) -> str:
    epochs = "1 epoch" if run.epochs_done == 1 else f"{run.epochs_done} epochs"
    lines = [f"{run.title}: {run.status}, {epochs} in {run.seconds:.0f} s"]
    if run.arms:
        rows = [[arm.title, *ends(last_rows(RunFolder(folder), arm.name))] for arm in run.arms]
        lines += ["", columns([["", *ENDS], *rows])]
    lines += ["", paragraph(f"Claim: {run.claim.sentence}")]
    if run.verdict is not None:
        lines.append(paragraph(f"{_VERDICT[run.verdict.state]}: {run.verdict.statement}"))
    shown = shlex.quote(str(folder))
    return "\n".join([*lines, "", f"kept in {folder}", f"look at it: collapselab report {shown}"])
