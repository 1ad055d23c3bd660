"""Everything that has no value, with the reason."""

from collapselab.report.sections._section import Section
from collapselab.report.view import View


def undefined(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None if nothing was measured.
    """
    if not view.latest:
        return None
    entries = [*_now(view), *_earlier(view)]
    return Section("undefined", "What is undefined, and why", "Undefined", "undefined.html.j2", {"entries": entries})


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
                gaps.setdefault((name, row.split, measurement.undefined), []).append(row.epoch)
    return [
        {"name": name, "label": _label(view, name), "reason": reason, "where": f"{split}, {_epochs(epochs)}"}
        for (name, split, reason), epochs in gaps.items()
    ]


def _epochs(epochs: list[int]) -> str:
    if len(epochs) == 1:
        return f"epoch {epochs[0]:,}"
    return f"{len(epochs)} measurements between epochs {epochs[0]:,} and {epochs[-1]:,}"
