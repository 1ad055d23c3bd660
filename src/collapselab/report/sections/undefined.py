"""Everything that has no value, with the reason."""

from typing import Any

from collapselab.report.sections._section import Section
from collapselab.report.view import View
from collapselab.report.words import listed


def undefined(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None if nothing was measured.
    """
    if not view.latest:
        return None
    entries = _merged(view) if view.arms else [*_now(view), *_earlier(view)]
    words = {"entries": _together(entries)}
    return Section("undefined", "What is undefined, and why", "Undefined", "undefined.html.j2", words)


def _together(entries: list[dict[str, str]]) -> list[dict[str, Any]]:
    """One line for all metrics that lack the same thing in the same place."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for entry in entries:
        found.setdefault((entry["where"], entry["reason"]), []).append((entry["label"], entry["name"]))
    return [{"metrics": metrics, "where": where, "reason": reason} for (where, reason), metrics in found.items()]


def _merged(view: View) -> list[dict[str, str]]:
    """What the arms left open, those with the same metric, reason and place together."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for arm in view.arms:
        for entry in (*_now(arm), *_earlier(arm)):
            key = entry["name"], entry["label"], entry["reason"], entry["where"]
            found.setdefault(key, []).append(arm.title)
    return [
        {"name": name, "label": label, "reason": reason, "where": f"{where}; {_arms(arms, len(view.arms))}"}
        for (name, label, reason, where), arms in found.items()
    ]


def _arms(titles: list[str], total: int) -> str:
    return "all arms" if len(titles) == total else listed(titles, 6)


def _label(view: View, name: str) -> str:
    declared = view.declarations.get(name)
    return name if declared is None else declared.label


def _now(view: View) -> list[dict[str, str]]:
    """What the last measurement left open, the splits with the same reason together."""
    found: dict[tuple[str, str], list[str]] = {}
    for split, measured in view.latest.items():
        for name, measurement in {**measured.measurements, **measured.per_class}.items():
            if measurement.undefined is not None:
                found.setdefault((name, measurement.undefined), []).append(split)
    return [
        {"name": name, "label": _label(view, name), "reason": reason, "where": f"{' and '.join(splits)}, last measured"}
        for (name, reason), splits in found.items()
    ]


def _earlier(view: View) -> list[dict[str, str]]:
    """Gaps in curves that end well, one line for each metric, split and reason."""
    gaps: dict[tuple[str, str, str], list[int]] = {}
    for row in view.rows:
        for name, measurement in row.result.measurements.items():
            last = view.latest[row.split].measurements.get(name)
            if measurement.undefined is not None and last is not None and last.undefined is None:
                gaps.setdefault((name, row.split, measurement.undefined), []).append(view.time_of(row))
    return [
        {"name": name, "label": _label(view, name), "reason": reason, "where": f"{split}, {_moments(view, moments)}"}
        for (name, split, reason), moments in gaps.items()
    ]


def _moments(view: View, moments: list[int]) -> str:
    if len(moments) == 1:
        return f"{view.unit} {moments[0]:,}"
    return f"{len(moments)} measurements between {view.unit}s {moments[0]:,} and {moments[-1]:,}"
