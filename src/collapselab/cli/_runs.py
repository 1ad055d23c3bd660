"""Run folders as several verbs look at them."""

from typing import Any

from collapselab.records import Observation, RunFolder

NC = (
    ("NC1", "nc1_pinv"),
    ("NC2", "nc2_max_angle_means"),
    ("NC3", "nc3_duality"),
    ("NC4", "nc4_disagreement"),
)
"""The four faces of collapse and the metric that stands for each where there is room for one."""


def last_rows(folder: RunFolder) -> dict[str, Observation]:
    """The last thing measured on each split at the classifier; in a run with several arms, of the last arm.

    Args:
        folder: A run folder.

    Returns:
        Split to row.
    """
    return {row.split: row for row in folder.observations() if not row.layer}


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
