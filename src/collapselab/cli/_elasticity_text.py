"""What `collapselab elasticity` prints."""

from typing import Any

from collapselab.cli._table import columns, number
from collapselab.records.elasticity import Elasticity

# Classes that get a line of their own.
_MOST_LINES = 30


def elasticity_text(record: Elasticity) -> str:
    """A record of elasticity for people.

    Args:
        record: What was measured.

    Returns:
        Lines: what of, means, class by class, and what has no value.
    """
    return "\n\n".join(
        block for block in (_head(record), _means(record), _classes(record), _undefined(record)) if block
    )


def _head(record: Elasticity) -> str:
    most, least = max(record.counts), min(record.counts)
    each = f"{most}" if most == least else f"{least} to {most}"
    arm = f", arm {record.arm}" if record.arm else ""
    split = f", split {record.split}" if record.split else ""
    return "\n".join(
        [
            f"{record.model}{arm}: weights {record.weights}, {record.num_parameters:,} parameters",
            f"{record.data}{split}: {each} samples of each of {len(record.classes)} classes, seed {record.seed}",
            *record.notes,
        ]
    )


def _means(record: Elasticity) -> str:
    rows: list[tuple[str, ...]] = [("", "within", "between", "gap", "")]
    for name, one in record.similarities.items():
        if one.undefined is None:
            unit = record.declarations[name].unit
            rows.append((name, *(number(x) for x in (one.intra, one.inter, one.gap)), "" if unit == "1" else unit))
    return columns(rows) if len(rows) > 1 else ""


def _classes(record: Elasticity) -> str:
    """What a step on samples of each class does."""
    name, one = next(((n, one) for n, one in record.similarities.items() if one.undefined is None), ("", None))
    if one is None:
        return ""
    rows: list[tuple[str, ...]] = [(name, "own", "others", "most of others")]
    found: list[Any] = one.rows(record.classes)
    for row in found[:_MOST_LINES]:
        most = f"{number(row.to_nearest)} (class {row.nearest})"
        rows.append((f"class {row.label}", number(row.own), number(row.others), most))
    more = f"\n... and {len(found) - _MOST_LINES} more classes" if len(found) > _MOST_LINES else ""
    return columns(rows) + more


def _undefined(record: Elasticity) -> str:
    lines = [f"  {name}: {one.undefined}" for name, one in record.similarities.items() if one.undefined is not None]
    return "\n".join(["no value", *lines]) if lines else ""
