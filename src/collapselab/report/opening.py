"""Run folders and single measurements, read into views."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from collapselab.records import Measurements, RunFolder
from collapselab.report.view import Snapshot, View

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
    rows = tuple(store.observations())
    epochs = _spread(store.snapshot_epochs(), MOST_FRAMES)
    return View(
        key=key,
        title=run.title,
        folder=Path(folder).resolve().name,
        run=run,
        rows=rows,
        latest={
            split: [r.result for r in rows if r.split == split][-1] for split in ordered_splits([r.split for r in rows])
        },
        snapshots=tuple(Snapshot(epoch, store.read_snapshot(epoch)) for epoch in epochs),
    )


def view_of(measurements: Measurements, *, title: str) -> View:
    """A single measurement, without a run around it.

    Args:
        measurements: The record.
        title: Heading.

    Returns:
        What a page shows of it.
    """
    return View(key="run-1", title=title, latest={measurements.conditions.split or "measured": measurements})


def _spread(epochs: Sequence[int], most: int) -> list[int]:
    """At most so many epochs, first and last among them, evenly spread over the list."""
    if len(epochs) <= most:
        return list(epochs)
    return [epochs[i] for i in np.unique(np.linspace(0, len(epochs) - 1, most).round().astype(int))]
