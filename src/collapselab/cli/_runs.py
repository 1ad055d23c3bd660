"""Run folders as several verbs look at them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collapselab.cli._table import number
from collapselab.records import Observation, Run, RunFolder

HOME = Path("runs")
"""Where runs go that were not told where to."""

NC = (
    ("NC1", "nc1_pinv"),
    ("NC2", "nc2_max_angle_means"),
    ("NC3", "nc3_duality"),
    ("NC4", "nc4_disagreement"),
)
"""The four faces of collapse and the metric that stands for each where there is room for one."""


def numbered(name: str) -> list[int]:
    """Numbers N of the folders ``runs/name-N`` that are there.

    Args:
        name: Of a recipe, or what a folder of several runs is called.

    Returns:
        In no order.
    """
    stems = (path.name.removeprefix(f"{name}-") for path in HOME.glob(f"{name}-*"))
    return [int(stem) for stem in stems if stem.isdecimal()]


def next_free(name: str) -> Path:
    """The next folder ``runs/name-N`` after those that are there.

    Args:
        name: See `numbered`.

    Returns:
        Its path; nothing is made.
    """
    return HOME / f"{name}-{max(numbered(name), default=0) + 1}"


def last_rows(folder: RunFolder, arm: str = "") -> dict[str, Observation]:
    """The last thing measured on each split at the classifier.

    Args:
        folder: A run folder.
        arm: Name of the arm; empty in a run of one training.

    Returns:
        Split to row.
    """
    return {row.split: row for row in folder.observations() if not row.layer and row.arm == arm}


def last_documents(folder: RunFolder, run: Run) -> dict[str, Any]:
    """The last rows of a run as plain data.

    Args:
        folder: A run folder.
        run: Its record.

    Returns:
        Split to row; in a run of several arms, name of the arm to those.
    """
    if not run.arms:
        return {split: row_document(row) for split, row in last_rows(folder).items()}
    ends = {arm.name: last_rows(folder, arm.name) for arm in run.arms}
    return {name: {split: row_document(row) for split, row in last.items()} for name, last in ends.items() if last}


ENDS = ("train error", "test error", *(code for code, _ in NC))
"""Headings of `ends`."""


def ends(last: Mapping[str, Observation]) -> list[str]:
    """Errors and NC1 to NC4 at the end, for a line of a table.

    Args:
        last: Split to row.

    Returns:
        A cell for each of `ENDS`.
    """
    train, test = last.get("train"), last.get("test")
    return [*("-" if row is None else number(row.error) for row in (train, test)), *(_cell(train, n) for _, n in NC)]


def _cell(row: Observation | None, name: str) -> str:
    found = None if row is None else row.result.measurements.get(name)
    if found is None:
        return "-"
    return "undefined" if found.value is None else number(found.value)


def row_document(row: Observation) -> dict[str, Any]:
    """A row without what the record of the run says already.

    Args:
        row: One row of the series.

    Returns:
        Plain data.
    """
    kept = row.model_dump(mode="json", include={"epoch", "step", "loss", "error", "learning_rate"})
    result = row.result.model_dump(mode="json", include={"measurements", "per_class"})
    return kept | result
