"""Every metric of the record in one table, with its symbol, target, unit and source."""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from collapselab.core.cite import references
from collapselab.core.errors import UnknownName
from collapselab.records import Measurement
from collapselab.records.families import family_title
from collapselab.report.arms import Group, groups_of, legend_of
from collapselab.report.sections._section import Section
from collapselab.report.symbols import mathml
from collapselab.report.view import View
from collapselab.report.words import number

FOLDED = 3
"""So many metrics without any value, for the same reason, take one row together."""

# A family without any value takes one row if the reasons are at most so many.
_REASONS = 2


def table(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None if nothing was measured.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for name in view.ordered_metrics:
        declared = view.declarations.get(name)
        family = declared.family if declared is not None else "other"
        groups.setdefault(family, []).append(_row(view, name))
    if not groups:
        return None
    named = [(family_title(family), rows, _shared_reason(rows)) for family, rows in groups.items()]
    keys = dict.fromkeys(row["source"] for rows in groups.values() for row in rows if row["source"])
    words = {
        "splits": [head for head, _ in _columns(view)],
        "groups": named,
        "arms": legend_of(view),
        "sources": [(key, source_line(key)) for key in keys],
    }
    return Section("metrics", "All metrics", "Metrics", "table.html.j2", words)


def _shared_reason(rows: Sequence[dict[str, Any]]) -> str | None:
    """Why a whole family has no value anywhere: one row then says it for all."""
    cells = [cell for row in rows for cell in row["cells"]]
    if len(rows) < FOLDED or not all(cell["undefined"] for cell in cells):
        return None
    reasons = dict.fromkeys(cell["exact"] for cell in cells)
    return "; ".join(reasons) if len(reasons) <= _REASONS else None


def _row(view: View, name: str) -> dict[str, Any]:
    declared = view.declarations.get(name)
    symbol = "" if declared is None else declared.symbol
    return {
        "name": name,
        "label": name if declared is None else declared.label,
        "summary": "" if declared is None else declared.summary,
        "symbol": symbol,
        "mathml": mathml(symbol) if symbol else None,
        "cells": [cell(name) for _, cell in _columns(view)],
        "target": number(None if declared is None else declared.at_collapse),
        "unit": "" if declared is None else declared.unit,
        "source": "" if declared is None else declared.source,
        "short": "" if declared is None else source_name(declared.source),
    }


def _columns(view: View) -> list[tuple[str, Callable[[str], dict[str, Any]]]]:
    """Heading and cell of each column: a split; in a run with arms, an arm or a group and a split."""
    if not view.arms:
        return [(split, partial(_own_cell, view, split)) for split in view.splits]
    return [
        (f"{group.sign} {split}", partial(_group_cell, group, split))
        for group in groups_of(view)
        for split in view.splits
    ]


def _own_cell(view: View, split: str, name: str) -> dict[str, Any]:
    return metric_cell(view.measured(name, split))


def _group_cell(group: Group, split: str, name: str) -> dict[str, Any]:
    """The value of an arm, or the mean over a group."""
    found = [arm.measured(name, split) for arm in group.members if split in arm.latest]
    values = [one.value for one in found if one is not None and one.value is not None]
    if len(group.members) == 1 or not values:
        return metric_cell(found[0] if found else None)
    mean = statistics.fmean(values)
    return {"text": number(mean, 4), "exact": f"mean of {len(values)}: {mean!r}", "undefined": False}


def metric_cell(found: Measurement | None) -> dict[str, Any]:
    """A cell of a table of values.

    Args:
        found: The measurement; None if this metric was not measured there.

    Returns:
        ``text``, ``exact`` (the whole number, or the reason) and whether it is ``undefined``.
    """
    if found is None:
        return {"text": "not measured", "exact": "", "undefined": False}
    if found.value is None:
        return {"text": "undefined", "exact": found.undefined, "undefined": True}
    return {"text": number(found.value, 4), "exact": repr(found.value), "undefined": False}


def source_name(key: str) -> str:
    """A source in a few words.

    Args:
        key: Its key.

    Returns:
        Names and year, or the key itself if this version does not know it.
    """
    try:
        return references()[key].short
    except UnknownName:
        return key


def source_line(key: str) -> str:
    """A source in one line.

    Args:
        key: Its key.

    Returns:
        Names, year, title and place, or the key itself if this version does not know it.
    """
    try:
        return references()[key].line
    except UnknownName:
        return key
