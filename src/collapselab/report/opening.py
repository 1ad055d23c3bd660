"""Run folders and single measurements, read into views."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from collapselab.records import Measurements, Moment, Observation, RunFolder
from collapselab.records.prediction import read_prediction
from collapselab.report.view import Snapshot, View, unit_of

_SPLITS = ("train", "test")

# Frames of the animated figures: more would neither be seen nor fit the page.
MOST_FRAMES = 60


def ordered_splits(names: Sequence[str]) -> list[str]:
    """Splits in the order of a report.

    Args:
        names: Names, perhaps repeated.

    Returns:
        Each once: train, test, then the others as they came.
    """
    seen = dict.fromkeys(names)
    return [*(split for split in _SPLITS if split in seen), *(split for split in seen if split not in _SPLITS)]


def open_run(folder: str | os.PathLike[str], *, key: str = "run-1") -> View:
    """Read a run folder.

    Args:
        folder: Where it is.
        key: Prefix of the section's anchors.

    Returns:
        What a page shows of it.
    """
    store = RunFolder(folder)
    run = store.read()
    rows = store.observations()
    unit = unit_of(rows)
    whole = View(key=key, title=run.title, folder=Path(folder).resolve().name, run=run, rows=(), latest={}, unit=unit)
    if not run.arms:
        file = store.prediction_file
        predicted = read_prediction(file) if file.is_file() else None
        return dataclasses.replace(whole, prediction=predicted, **_kept(store, rows, ""))
    arms = tuple(
        dataclasses.replace(whole, key=f"{key}-arm-{at}", title=arm.title, arm=arm, **_kept(store, rows, arm.name))
        for at, arm in enumerate(run.arms, start=1)
    )
    measured = tuple(arm for arm in arms if arm.rows)
    outer = tuple(row for row in rows if not row.layer)
    inner = tuple(row for row in rows if row.layer)
    return dataclasses.replace(
        whole, rows=outer, inner=inner, latest=measured[0].latest if measured else {}, arms=measured
    )


def _kept(store: RunFolder, rows: Sequence[Observation], arm: str) -> dict[str, Any]:
    """What belongs to one training."""
    own = [row for row in rows if row.arm == arm]
    outer = [row for row in own if not row.layer]
    moments = _spread(store.snapshots(arm), MOST_FRAMES)
    return {
        "rows": tuple(outer),
        "inner": tuple(row for row in own if row.layer),
        "latest": {
            split: [row.result for row in outer if row.split == split][-1]
            for split in ordered_splits([row.split for row in outer])
        },
        "snapshots": tuple(
            Snapshot(m.epoch, store.read_snapshot(m.epoch, step=m.step, arm=arm), m.step) for m in moments
        ),
    }


def view_of(measurements: Measurements, *, title: str) -> View:
    """A single measurement, without a run around it.

    Args:
        measurements: The record.
        title: Heading.

    Returns:
        What a page shows of it.
    """
    return View(key="run-1", title=title, latest={measurements.conditions.split or "measured": measurements})


def _spread(moments: Sequence[Moment], most: int) -> list[Moment]:
    """At most so many moments, first and last among them, evenly spread over the list."""
    if len(moments) <= most:
        return list(moments)
    return [moments[i] for i in np.unique(np.linspace(0, len(moments) - 1, most).round().astype(int))]
