"""What each arm of a run ended with, and by how much that differs from the first."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from collapselab.report.arms import Group, groups_of, legend_of, settings_of, varying
from collapselab.report.sections._section import Section
from collapselab.report.view import View
from collapselab.report.words import change, number, plain

Value = Callable[[View], float | None]


def arms(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None for a run of one training.
    """
    if not view.arms:
        return None
    groups, columns = groups_of(view), _columns(view)
    repeated = any(group.repeats and len(group.members) > 1 for group in groups)
    rows = [group for group in groups] if repeated else [_alone(g, at) for g in groups for at in range(len(g.members))]
    words: dict[str, Any] = {
        "heads": [head for head, _, _ in columns],
        "rows": [_row(group, rows[0], columns) for group in rows],
        "repeated": repeated,
        "first": rows[0].sign,
        "settings": varying(view.arms),
        "each": [
            _each(member, sign, group, columns, varying(view.arms))
            for group in groups
            for member, sign in zip(group.members, group.signs, strict=True)
        ],
        "missing": _missing(view),
        "legend": legend_of(view),
    }
    return Section("arms", "Arm by arm", "Arms", "arms.html.j2", words)


def _alone(group: Group, at: int) -> Group:
    member = group.members[at]
    return Group(member.title, group.signs[at], group.colour, (member,), False)


def _columns(view: View) -> list[tuple[str, Value, bool]]:
    """Heading, what is in the column, and whether factors say more than differences there."""
    found: list[tuple[str, Value, bool]] = [(f"{split} error", _error(split), False) for split in view.splits]
    for split in view.splits:
        found += [(f"{face.code} {split}", _metric(name, split), face.code != "NC4") for face, name in view.faces]
    return found


def _error(split: str) -> Value:
    return lambda arm: next((row.error for row in reversed(arm.rows) if row.split == split), None)


def _metric(name: str, split: str) -> Value:
    def value(arm: View) -> float | None:
        measured = arm.measured(name, split) if split in arm.latest else None
        return None if measured is None else measured.value

    return value


def _row(group: Group, first: Group, columns: Sequence[tuple[str, Value, bool]]) -> dict[str, Any]:
    cells = []
    for _, value, factors in columns:
        own, other = _known(value, group), _known(value, first)
        cells.append({"text": _spread(own), "beside": "" if group is first else _beside(own, other, factors=factors)})
    members = len(group.members)
    return {"role": group.colour[1:], "sign": group.sign, "title": group.title, "members": members, "cells": cells}


def _known(value: Value, group: Group) -> list[float]:
    return [found for member in group.members if (found := value(member)) is not None]


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return number(values[0] if values else None)
    return f"{number(statistics.fmean(values))} ± {number(statistics.stdev(values), 2)}"


def _beside(own: Sequence[float], other: Sequence[float], *, factors: bool) -> str:
    """By how much the mean differs from that of the first arm."""
    if not own or not other:
        return ""
    before, after = statistics.fmean(other), statistics.fmean(own)
    if factors and before > 0 and after > 0:
        return change(before, after)
    return "the same" if before == after else f"{'+' if after > before else ''}{number(after - before)}"


def _each(
    member: View, sign: str, group: Group, columns: Sequence[tuple[str, Value, bool]], names: Sequence[str]
) -> dict[str, Any]:
    phase = member.phase
    settings = settings_of(member)
    return {
        "role": group.colour[1:],
        "sign": sign,
        "title": member.title,
        "settings": [plain(settings[name]) if name in settings else "–" for name in names],
        "epochs": f"{member.rows[-1].epoch:,}",
        "first_zero": "not reached" if phase.first_zero is None else f"{member.unit} {phase.first_zero:,}",
        "cells": [number(value(member), 4) for _, value, _ in columns],
    }


def _missing(view: View) -> list[str]:
    """Arms that have not begun."""
    there = {arm.arm.name for arm in view.arms if arm.arm is not None}
    return [] if view.run is None else [arm.title for arm in view.run.arms if arm.name not in there]
