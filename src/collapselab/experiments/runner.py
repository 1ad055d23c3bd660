"""Runs a recipe and turns its events into a run folder that can be read and resumed whatever happens.

The order of writes is the whole idea; ``docs/decisions`` says why it is enough.
"""

import contextlib
import os

import torch

from collapselab.core.errors import InputError
from collapselab.experiments._spec import Recipe
from collapselab.experiments.config import config_of, declared, recipe_of, require_same
from collapselab.experiments.events import Finished, Listener
from collapselab.experiments.session import Session
from collapselab.records.provenance import provenance
from collapselab.records.schema import Claim, Run
from collapselab.records.store import RunFolder
from collapselab.training.environment import DEFAULT_THREADS, computing, find_device
from collapselab.training.processes import require_devices


def run_experiment(
    experiment: Recipe,
    folder: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    threads: int | None = None,
    devices: int | None = None,
    strategy: str = "auto",
    listener: Listener | None = None,
    command: tuple[str, ...] = (),
) -> Run:
    """Run an experiment into a folder.

    Args:
        experiment: A recipe.
        folder: The run folder; made if it is not there.
        resume: Go on with the run that the folder holds; nothing happens if it is done.
        overwrite: Replace the run that the folder holds; not needed for one that failed before it measured anything.
        device: ``cpu``, ``cuda``, ``mps``; ``auto`` for where the run was, or where the recipe runs best.
        threads: Threads of one operation; by default as the run had, or 1: small networks are faster so, and give the
            same bits on any number of cores.
        devices: On how many devices of that kind, each with a process of its own; by default as the run had, or 1. The
            batch size is that of all together. A script must guard this call by ``if __name__ == "__main__":``.
        strategy: How processes work together: ``auto`` or ``ddp``, every process holding the whole network.
        listener: Hears `Started`, `EpochDone`, `Observed` and `Finished`.
        command: Verb and flags for the record.

    Returns:
        The record of the finished run.

    Raises:
        InputError: If the folder holds a run and neither `resume` nor `overwrite` is set, or cannot be gone on with.
        Interrupted: After Ctrl-C; what was done is kept.
    """
    if resume and overwrite:
        raise InputError("resume and overwrite exclude each other: pass one of them")
    place = RunFolder(folder)
    if not resume:
        where = find_device(declared(experiment).device if device == "auto" else device)
        count = DEFAULT_THREADS if threads is None else threads
        with computing(threads=count, device=where), place.locked():
            several = 1 if devices is None else require_devices(where, devices, strategy)
            surroundings = {"threads": count, "device": where, "devices": several}
            run = _begun(place, experiment, overwrite=overwrite, command=command, **surroundings)
            return Session(place, run, listener).work(experiment, where, devices=several, strategy=strategy)
    place.read()  # a folder that is not there must not be made
    with place.locked():
        run = _checked(place.read(), experiment)
        if run.status == "done":
            if listener is not None:
                listener(Finished(run))
            return run
        before = run.provenance
        where = find_device((before.device or declared(experiment).device) if device == "auto" else device)
        count = before.threads or DEFAULT_THREADS if threads is None else threads
        with computing(threads=count, device=where):
            several = require_devices(where, (before.devices or 1) if devices is None else devices, strategy)
            run = _gone_on(run, threads=count, device=where, devices=several)
            return Session(place, run, listener).work(experiment, where, devices=several, strategy=strategy)


def resume_experiment(
    folder: str | os.PathLike[str],
    *,
    device: str = "auto",
    threads: int | None = None,
    devices: int | None = None,
    strategy: str = "auto",
    listener: Listener | None = None,
) -> Run:
    """Go on with a run under the configuration that its record holds.

    Args:
        folder: The run folder.
        device: See `run_experiment`.
        threads: See `run_experiment`.
        devices: See `run_experiment`.
        strategy: See `run_experiment`.
        listener: See `run_experiment`.

    Returns:
        The record of the finished run.
    """
    recipe = recipe_of(RunFolder(folder).read())
    where = {"device": device, "threads": threads, "devices": devices, "strategy": strategy}
    return run_experiment(recipe, folder, resume=True, listener=listener, **where)


def _begun(
    place: RunFolder,
    experiment: Recipe,
    *,
    overwrite: bool,
    threads: int,
    device: torch.device,
    devices: int,
    command: tuple[str, ...],
) -> Run:
    """A new record in a folder that holds nothing of an earlier run."""
    earlier = _earlier(place, overwrite=overwrite)
    # At no moment do rows of the earlier run lie beside the record of the new one.
    place.checkpoint_file.unlink(missing_ok=True)
    if earlier is not None:
        place.write(earlier.model_copy(update={"status": "interrupted", "epochs_done": 0, "verdict": None}))
    place.clear()
    entry = declared(experiment)
    run = Run(
        name=entry.name,
        title=entry.title,
        status="running",
        claim=Claim(sentence=entry.claim, source=entry.source),
        config=config_of(experiment),
        epochs=experiment.epochs,
        sessions=1,
        provenance=provenance(
            threads=threads,
            device=str(device),
            devices=devices,
            dtype="float32",
            seed=experiment.seed,
            command=command,
        ),
        notes=entry.notes,
        chart=entry.chart_of(experiment),
    )
    place.write(run)
    return run


def _earlier(place: RunFolder, *, overwrite: bool) -> Run | None:
    """The record that is to be replaced, if there is one that can be read."""
    if overwrite:
        with contextlib.suppress(InputError):
            return place.read()
        return None
    if place.exists():
        with contextlib.suppress(InputError):
            before = place.read()
            if before.status == "failed" and not place.observations():  # it was refused, and nothing would be lost
                return before
        raise InputError(f"{place.path} holds a run already: use --resume to go on with it, --overwrite to replace it")
    foreign = next((file.name for file in (place.checkpoint_file, place.series_file) if file.exists()), None)
    if foreign is not None:
        raise InputError(f"{place.path} holds {foreign} but no run.json: choose another folder, or use --overwrite")
    return None


def _checked(run: Run, experiment: Recipe) -> Run:
    require_same(config_of(experiment), run, declared(experiment).name)
    return run


def _gone_on(run: Run, *, threads: int, device: torch.device, devices: int) -> Run:
    """The record of a run that is taken up again, with a note where its surroundings have changed."""
    before = run.provenance
    now = provenance(threads=threads, device=str(device), devices=devices)
    changed = [
        f"{what} was {old}, now {new}"
        for what, old, new in (
            ("device", before.device, now.device),
            ("devices", before.devices or 1, now.devices),
            ("threads", before.threads, now.threads),
            ("collapselab", before.collapselab, now.collapselab),
            ("torch", before.packages.get("torch"), now.packages.get("torch")),
        )
        if old != new
    ]
    notes = run.notes
    if changed:
        notes = (*notes, f"Resumed after epoch {run.epochs_done} under other conditions: {'; '.join(changed)}.")
    return run.model_copy(update={"status": "running", "error": None, "sessions": run.sessions + 1, "notes": notes})
