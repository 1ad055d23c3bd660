"""The band at the top: how the run ended, what it says of its claim, and the four big numbers."""

import math
from collections.abc import Mapping
from typing import Any

from collapselab.records import Run
from collapselab.report.faces import Face
from collapselab.report.palette import split_dash
from collapselab.report.sections._section import Section
from collapselab.report.symbols import mathml
from collapselab.report.view import Curve, View
from collapselab.report.words import change, duration, listed, number, plain

_ENDS = {
    "running": "This run has not ended",
    "interrupted": "This run was interrupted",
    "failed": "This run failed",
}
_WAITING = {
    "running": "The claim is judged when the run has ended.",
    "interrupted": "The claim is judged when the run has been resumed and has ended.",
    "failed": "The run failed before the claim could be judged.",
    "done": "This claim was not judged.",
}
_STATES = {"holds": "The claim holds", "fails": "The claim fails", "inconclusive": "Not decided"}

# Figures of a verdict that stand open: more would push its picture off the first screen.
_MOST_FIGURES = 8

# Before the name of a figure: half the width of its confidence interval.
_HALF_WIDTH = "half_width_"

# Sparklines are drawn in a box of this many units.
_WIDTH, _HEIGHT = 120.0, 28.0


def headline(view: View) -> Section:
    """Make the band.

    Args:
        view: What to show.

    Returns:
        The section.
    """
    run = view.run
    words: dict[str, Any] = {
        "cards": [] if view.arms else [_card(view, face, name) for face, name in view.faces],
        "alarm": None if run is None else _alarm(run),
        "verdict": None if run is None else _verdict(run),
        "facts": _facts(view),
        "warnings": _warnings(view),
        "measured": bool(view.latest),
    }
    return Section("summary", "Summary", "Summary", "headline.html.j2", words)


def _alarm(run: Run) -> dict[str, str] | None:
    """What a reader must know before any number, if the run did not end well."""
    if run.status == "done":
        return None
    done = f"{run.epochs_done:,} of {run.epochs:,} epochs are done; everything below describes the part that was kept."
    return {"status": run.status, "title": _ENDS[run.status], "text": done, "error": run.error or ""}


def _verdict(run: Run) -> dict[str, Any]:
    claim = {"sentence": run.claim.sentence, "source": run.claim.source}
    if run.verdict is None:
        waiting = _WAITING[run.status]
        return {
            "claim": claim,
            "state": "none",
            "word": "No verdict",
            "statement": waiting,
            "figures": [],
            "folded": False,
        }
    found = run.verdict
    said = {"state": found.state, "word": _STATES[found.state], "statement": found.statement}
    figures = _figures(found.figures)
    return {"claim": claim, **said, "figures": figures, "folded": len(figures) > _MOST_FIGURES}


def _figures(figures: Mapping[str, float | int | str | None]) -> list[tuple[str, str]]:
    """Figures in words; a mean and half the width of its interval are one."""
    widths = {f"{_HALF_WIDTH}{name}" for name in figures} & figures.keys()
    found = []
    for name, value in figures.items():
        half = figures.get(f"{_HALF_WIDTH}{name}")
        if name not in widths:
            found.append((name, _figure(value) if half is None else f"{_figure(value)} ± {_figure(half)}"))
    return found


def _figure(value: float | int | str | None) -> str:
    return number(value) if isinstance(value, float) else plain(value)


def _card(view: View, face: Face, name: str) -> dict[str, Any]:
    declared = view.declarations.get(name)
    symbol = declared.symbol if declared is not None else name
    curves = view.curves(name)
    return {
        "face": face,
        "metric": name,
        "label": declared.label if declared is not None else name,
        "symbol": symbol,
        "mathml": mathml(symbol),
        "target": None if declared is None else declared.at_collapse,
        "values": [_value(view, name, split) for split in view.splits],
        "spark": [{"split": c.split, "points": points, "dash": split_dash(c.split)} for c, points in _sparks(curves)],
    }


def _value(view: View, name: str, split: str) -> dict[str, Any]:
    """The last number of a split and how it came there from the first."""
    found = view.measured(name, split)
    if found is None:
        return {"split": split, "text": "–", "unit": "", "undefined": "not measured", "change": ""}
    if found.value is None:
        return {"split": split, "text": "undefined", "unit": "", "undefined": found.undefined, "change": ""}
    curve = next((c for c in view.curves(name) if c.split == split), None)
    said = "" if curve is None else _changes(curve, view.phase.first_zero if split == "train" else None)
    unit = "" if found.unit in (None, "1") else found.unit
    return {"split": split, "text": number(found.value), "unit": unit, "undefined": None, "change": said}


def _changes(curve: Curve, zero_error: int | None) -> str:
    """From the first value to the last, and from zero training error on: what only the terminal phase did."""
    if len(curve.values) < 2:
        return ""
    last = curve.values[-1]
    said = f"{number(curve.values[0])} at {curve.unit} {curve.moments[0]:,}: {change(curve.values[0], last)}"
    if zero_error in curve.moments[1:-1]:
        said += f"; since zero training error {change(curve.values[curve.moments.index(zero_error)], last)}"
    return said


def _sparks(curves: list[Curve]) -> list[tuple[Curve, str]]:
    """Points of tiny curves on the axes of the large ones, without script: they are there before anything is drawn."""
    drawn = [curve for curve in curves if len(curve.values) > 1]
    if not drawn:
        return []
    positive = [v for c in drawn for v in c.values if v > 0]
    floor = min(positive, default=1.0) / 3
    heights = [[math.log10(max(v, floor)) for v in c.values] for c in drawn]
    low, high = min(map(min, heights)), max(map(max, heights))
    last = math.log10(max(c.moments[-1] for c in drawn) + 1) or 1.0
    found = []
    for curve, ys in zip(drawn, heights, strict=True):
        xs = [math.log10(epoch + 1) / last * _WIDTH for epoch in curve.moments]
        placed = ((x, _HEIGHT - (y - low) / ((high - low) or 1.0) * _HEIGHT) for x, y in zip(xs, ys, strict=True))
        found.append((curve, " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)))
    return found


def _facts(view: View) -> list[tuple[str, str]]:
    """The few things one asks first."""
    facts = []
    if view.run is not None:
        facts.append(("epochs", f"{view.run.epochs_done:,} of {view.run.epochs:,}"))
        facts.append(("time", duration(view.run.seconds)))
        if view.run.provenance.seed is not None:
            facts.append(("seed", str(view.run.provenance.seed)))
    if view.run is not None and view.run.arms:
        facts.append(("arms", str(len(view.run.arms))))
    for split, measured in view.latest.items():
        how = measured.conditions
        if len({_size(arm, split) for arm in view.arms}) > 1:
            facts.append((split, "differs from arm to arm"))
            continue
        row = [] if view.arms else [row for row in view.rows if row.split == split][-1:]
        error = f", error {number(row[0].error)}" if row else ""
        facts.append((split, f"{how.num_samples:,} samples, {len(how.classes)} classes{error}"))
    return facts


def _size(arm: View, split: str) -> int | None:
    return arm.latest[split].conditions.num_samples if split in arm.latest else None


def _warnings(view: View) -> list[str]:
    """Warnings of the record, each once, with the splits it holds for, and the arms where not for all."""
    where: dict[str, list[str]] = {}
    for split in view.splits:
        found: dict[str, list[str]] = {}
        for arm in view.arms or (view,):
            for warning in arm.latest[split].conditions.warnings if split in arm.latest else ():
                found.setdefault(warning, []).append(arm.title)
        for warning, arms in found.items():
            every = len(arms) == len(view.arms or (view,))
            where.setdefault(warning, []).append(split if every else f"{split} of {listed(arms, 6)}")
    notes = list(view.run.notes) if view.run is not None else []
    return [*notes, *(f"{text} ({listed(splits)})" for text, splits in where.items())]
