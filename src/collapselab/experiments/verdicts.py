"""What several recipes conclude from their rows, and how they find the rows that they conclude from."""

import math
from collections.abc import Sequence

from collapselab.core import extras
from collapselab.core.errors import UndefinedMetric
from collapselab.records.phase import terminal_phase
from collapselab.records.schema import Observation, Verdict

# How far NC1 must fall after the training error has vanished for the claim to hold.
FALL = 10.0

# The keys that stand for NC2, NC3 and NC4 in the figures beside the verdict.
NC2, NC3, NC4 = "nc2_max_angle_means", "nc3_duality", "nc4_disagreement"

FALL_CLAIM = (
    "Trained on past zero training error, the within-class variability of the training features keeps falling:"
    " nc1_pinv ends at a tenth or less of its value at the first measurement without training error."
)
"""What `fall_after_zero_error` decides."""


def last_row(observations: Sequence[Observation], *, split: str, arm: str = "") -> Observation:
    """What was measured last of the features that the classifier sees.

    Args:
        observations: Rows of a series, some of them of this split and arm.
        split: Which split.
        arm: Name of the arm; empty in a run of one training.

    Returns:
        The row of the highest step.
    """
    rows = [row for row in observations if row.arm == arm and row.split == split and not row.layer]
    return max(rows, key=lambda row: row.step)


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % confidence interval by Student's t.

    Args:
        values: At least two numbers.

    Returns:
        Mean and half width.
    """
    stats = extras.require("scipy.stats", extra="train", purpose="a confidence interval")
    n, mean = len(values), sum(values) / len(values)
    sd = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    return mean, float(stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n)


def fall_after_zero_error(observations: Sequence[Observation], *, metric: str = "nc1_pinv") -> Verdict:
    """Compare a metric at the first measurement without training error with its value at the end.

    Args:
        observations: Rows of a series.
        metric: Key of a metric that is 0 at collapse.

    Returns:
        ``holds`` if it fell at least `FALL`-fold; ``inconclusive`` if the error never vanished, if fewer than two
        measurements came after that, or if the metric was undefined.
    """
    seen_by_head = (row for row in observations if row.split == "train" and not row.layer)
    rows = sorted(seen_by_head, key=lambda row: row.step)
    phase = terminal_phase(rows)
    figures: dict[str, float | int | str | None] = {
        "first_epoch_at_zero_error": phase.first_zero,
        "last_epoch_above_zero_error": phase.last_above,
    }
    if phase.first_zero is None:
        lowest = min((row.error for row in rows), default=None)
        figures["lowest_training_error"] = lowest
        return Verdict(state="inconclusive", statement="The training error never reached zero.", figures=figures)
    later = [row for row in rows if row.epoch >= phase.first_zero]
    if len(later) < 3:
        came = "No measurement" if len(later) == 1 else "Only 1 measurement"
        few = f"{came} came after the training error vanished; at least 2 are needed."
        return Verdict(state="inconclusive", statement=few, figures=figures)
    first, last = later[0].result, later[-1].result
    try:
        start, end = first[metric], last[metric]
    except UndefinedMetric as undefined:
        return Verdict(state="inconclusive", statement=f"The fall has no value: {undefined}.", figures=figures)
    fall = start / end if end > 0 else None
    figures |= {f"{metric}_at_first_zero_error": start, f"{metric}_at_end": end, f"{metric}_fall": fall}
    figures |= _beside(later)
    holds = fall is None or fall >= FALL
    times = "without bound" if fall is None else f"{fall:.3g}-fold"
    statement = (
        f"{metric} on the training set fell {times}, from {start:.3g} at epoch {later[0].epoch} (first measurement"
        f" without training error) to {end:.3g} at epoch {later[-1].epoch}."
    )
    return Verdict(state="holds" if holds else "fails", statement=statement, figures=figures)


def _beside(later: Sequence[Observation]) -> dict[str, float | int | str | None]:
    """What NC2 and NC3 did meanwhile, and the worst of NC4."""
    figures: dict[str, float | int | str | None] = {}
    for name in (NC2, NC3):
        for moment, row in (("at_first_zero_error", later[0]), ("at_end", later[-1])):
            figures[f"{name}_{moment}"] = _value(row, name)
    worst = [value for row in later if (value := _value(row, NC4)) is not None]
    figures[f"{NC4}_max"] = max(worst, default=None)
    return figures


def _value(row: Observation, name: str) -> float | None:
    found = row.result.measurements.get(name)
    return None if found is None else found.value
