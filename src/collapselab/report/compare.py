"""Several runs on one page: their series on the same axes, their last values, and where their configurations differ."""

from collections.abc import Sequence
from typing import Any

from collapselab.records.flat import flattened
from collapselab.report.arms import sign_of
from collapselab.report.faces import FACES, Face
from collapselab.report.figures import Line, series
from collapselab.report.page import Drawings, page
from collapselab.report.palette import series_colour, split_dash
from collapselab.report.sections import Choice, Panel
from collapselab.report.sections.table import FOLDED, metric_cell
from collapselab.report.symbols import without_marks
from collapselab.report.view import Curve, View
from collapselab.report.words import in_plot, number, plain, wrapped

_COLUMNS = (
    ("loss", "loss", "Loss, on the whole split in eval mode."),
    ("error", "error (fraction)", "Error: the fraction of samples that the classifier gets wrong."),
)


def comparison_page(views: Sequence[View]) -> str:
    """Compare runs; one that has several arms stands there with each of them.

    Args:
        views: At least two runs.

    Returns:
        HTML.
    """
    views = [part for view in views for part in (view.arms or (view,))]
    names = run_names(views)
    panels = {"collapse": _collapse(views, names), "training": _training(views, names)}
    options = _options(views, names)
    choice = Choice("Metric", options, next(iter(options))) if options else None
    drawings = Drawings()
    for group in panels.values():
        for slug, panel in group.items():
            drawings.add(slug, panel)
    for name, (_, panel) in options.items():
        drawings.add(f"any-{name}", panel)
    words = {
        "runs": [_run(view, name, at) for at, (view, name) in enumerate(zip(views, names, strict=True))],
        "panels": panels,
        "choice": choice,
        "values": _values(views, names),
        "differences": differences(views),
    }
    return page("comparison.html.j2", drawings, title=f"{len(views)} runs compared", kind="comparison", **words)


def run_names(views: Sequence[View]) -> list[str]:
    """Names that tell the runs apart.

    Args:
        views: The runs.

    Returns:
        Folder names, with a number where two are alike.
    """
    folders = [_name(view) for view in views]
    return [
        folder if folders.count(folder) == 1 else f"{folder} #{folders[: at + 1].count(folder)}"
        for at, folder in enumerate(folders)
    ]


def _name(view: View) -> str:
    name = view.folder or view.title
    return name if view.arm is None else f"{name}: {view.arm.title}"


def _run(view: View, name: str, at: int) -> dict[str, Any]:
    run = view.run
    if run is None:
        raise TypeError("only runs can be compared")
    phase, verdict = view.phase, run.verdict
    return {
        "role": series_colour(at)[1:],
        "sign": sign_of(at),
        "name": name,
        "status": run.status,
        "error": run.error,
        "epochs": _epochs(view),
        "first_zero": "not reached" if phase.first_zero is None else f"{phase.first_zero:,}",
        "last_above": "never" if phase.last_above is None else f"{phase.last_above:,}",
        "claim": run.claim.sentence,
        "verdict": "no verdict" if verdict is None else f"{verdict.state}: {verdict.statement}",
    }


def _epochs(view: View) -> str:
    if view.arm is None and view.run is not None:
        return f"{view.run.epochs_done:,} of {view.run.epochs:,}"
    return f"{view.rows[-1].epoch:,}"


def _lines(found: Sequence[list[Curve]], names: Sequence[str]) -> list[Line]:
    return [
        Line(
            curve,
            in_plot(f"{sign_of(at)} {name}, {curve.split}"),
            series_colour(at),
            split_dash(curve.split),
            sign_of(at),
        )
        for at, (curves, name) in enumerate(zip(found, names, strict=True))
        for curve in curves
    ]


def _ends(lines: Sequence[Line]) -> str:
    return "; ".join(f"{line.name} ends at {number(line.curve.values[-1])}" for line in lines)


def _common_metric(views: Sequence[View], face: Face) -> str | None:
    """The metric of a face that most runs have, so that all are drawn on one formula."""
    found = [name for view in views if (name := view.face_metric(face)) is not None]
    return max(found, key=found.count) if found else None


def _collapse(views: Sequence[View], names: Sequence[str]) -> dict[str, Panel]:
    panels = {}
    for face in FACES:
        name = _common_metric(views, face)
        panel = None if name is None else _metric_panel(views, names, name)
        if panel is not None:
            caption = f"{face.code}, {face.name}. {face.sentence} Drawn: {name}."
            panels[face.code.lower()] = Panel(panel.figure, f"{face.code}. {panel.label}", caption)
    return panels


def _metric_panel(views: Sequence[View], names: Sequence[str], name: str) -> Panel | None:
    lines = _lines([view.curves(name) for view in views], names)
    if not lines:
        return None
    declared = next(view.declarations[name] for view in views if name in view.declarations)
    targets = {view.declarations[name].at_collapse for view in views if name in view.declarations}
    target = (
        declared.at_collapse if len(targets) == 1 else None
    )  # runs with other numbers of classes have other targets
    figure = series(lines, title=wrapped(declared.label), target=target)
    return Panel(figure, f"{declared.label} over epochs: {_ends(lines)}.", without_marks(declared.summary))


def _training(views: Sequence[View], names: Sequence[str]) -> dict[str, Panel]:
    panels = {}
    for name, title, caption in _COLUMNS:
        lines = _lines([view.column(name) for view in views], names)
        if lines:
            panels[name] = Panel(series(lines, title=title), f"{title} over epochs: {_ends(lines)}.", caption)
    return panels


def _options(views: Sequence[View], names: Sequence[str]) -> dict[str, tuple[str, Panel]]:
    options = {}
    for name in dict.fromkeys(name for view in views for name in view.ordered_metrics):
        panel = _metric_panel(views, names, name)
        if panel is not None:
            declared = next(view.declarations[name] for view in views if name in view.declarations)
            options[name] = (f"{declared.label} ({name})", panel)
    return options


def _values(views: Sequence[View], names: Sequence[str]) -> dict[str, Any]:
    heads = [(name, view.splits) for view, name in zip(views, names, strict=True) if view.splits]
    rows = []
    for name in dict.fromkeys(name for view in views for name in view.ordered_metrics):
        declared = next((view.declarations[name] for view in views if name in view.declarations), None)
        targets = {view.declarations[name].at_collapse for view in views if name in view.declarations}
        cells = [metric_cell(view.measured(name, split)) for view in views for split in view.splits]
        target = number(targets.pop()) if len(targets) == 1 else "differs"
        rows.append(
            {"name": name, "label": name if declared is None else declared.label, "target": target, "cells": cells}
        )
    shown, nowhere = _nowhere(rows)
    return {"heads": heads, "rows": shown, "nowhere": nowhere}


def _nowhere(rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """The rows to show, and names of metrics that have no value anywhere for a reason that several share."""
    found: dict[str, list[str]] = {}
    for row in rows:
        reasons = {cell["exact"] if cell["undefined"] else "" for cell in row["cells"]}
        if len(reasons) == 1 and "" not in reasons:
            found.setdefault(reasons.pop(), []).append(row["name"])
    nowhere = {reason: names for reason, names in found.items() if len(names) >= FOLDED}
    gone = {name for names in nowhere.values() for name in names}
    return [row for row in rows if row["name"] not in gone], nowhere


def differences(views: Sequence[View]) -> dict[str, Any]:
    """Configuration fields that are not the same everywhere.

    Args:
        views: The runs.

    Returns:
        Rows of field and texts, and a sentence on the fields that agree.
    """
    configs = [_config(view) for view in views]
    fields = list(dict.fromkeys(name for config in configs for name in config))
    absent = object()
    differing = [name for name in fields if any(c.get(name, absent) != configs[0].get(name, absent) for c in configs)]
    rows = [(name, [plain(c[name]) if name in c else "no such field" for c in configs]) for name in differing]
    same = len(fields) - len(differing)
    if not differing:
        return {"rows": [], "sentence": f"All {same} configuration fields are the same in these runs."}
    return {"rows": rows, "sentence": f"{same} other fields are the same in all runs."}


def _config(view: View) -> dict[str, Any]:
    """Settings by dotted name, with what distinguishes the arm."""
    if view.run is None:
        return {}
    of_arm = {} if view.arm is None else {f"arm: {name}": value for name, value in view.arm.settings.items()}
    return {"recipe": view.run.name} | flattened(view.run.config) | of_arm
