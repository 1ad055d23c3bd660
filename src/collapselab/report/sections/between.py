"""Matrices over pairs of classes that a run kept, as heat-maps that one slider moves through training."""

from typing import Any

import numpy as np

from collapselab.records import Declaration
from collapselab.records.numbers import MATRIX
from collapselab.report.matrix_figures import (
    Range,
    class_names,
    colour_ranges,
    matrix_heat,
    matrix_names,
    packed_matrix,
    said_of_matrix,
    shown,
)
from collapselab.report.sections._section import Panel, Section
from collapselab.report.symbols import without_marks
from collapselab.report.view import Snapshot, View
from collapselab.report.words import number

# What the matrices of one training may weigh in the page. Beyond, moments are left out evenly.
_MOST_BYTES = 1_200_000


def between(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None where no matrix was kept.
    """
    names = [] if view.run is None or view.arms else matrix_names(view.snapshots, view.declarations)
    if not names:
        return None
    kept = _within_budget(view, names)
    panels, frames = {}, [{"when": one.when, "note": "", "matrices": {}} for one in kept]
    for name in names:
        panels[slug_of(name)] = _drawn(view, name, kept, frames)
    words = {
        "frames": len(frames),
        "when": frames[-1]["when"],
        "note": frames[-1]["note"],
        "titles": {slug_of(name): _heading(view.declarations[name].label) for name in names},
    }
    size = {slug_of(name): len(_matrices(kept, name)[-1][1]) for name in names}
    data = {"frames": frames, "sizes": size}
    return Section(
        "between", "From class to class", "Between classes", "between.html.j2", words, panels, data={"matrices": data}
    )


def _heading(label: str) -> str:
    return label[:1].upper() + label[1:]


def slug_of(name: str) -> str:
    """The anchor of a matrix.

    Args:
        name: Name of its declaration.

    Returns:
        A word for the page.
    """
    return f"matrix-{name.replace('_', '-')}"


def _matrices(kept: list[Snapshot], name: str) -> list[tuple[int, np.ndarray]]:
    there = {id(one) for one in shown(kept, name)}
    return [(at, one.arrays[f"{MATRIX}{name}"]) for at, one in enumerate(kept) if id(one) in there]


def _drawn(view: View, name: str, kept: list[Snapshot], frames: list[dict[str, Any]]) -> Panel:
    """The figure of the last moment; every moment's numbers go into the frames."""
    declared, found = view.declarations[name], _matrices(kept, name)
    ranges = colour_ranges([matrix for _, matrix in found], declared)
    alone = len(matrix_names(kept, view.declarations)) == 1
    for (at, matrix), ends in zip(found, ranges, strict=True):
        said = said_of_matrix(matrix)
        frames[at]["matrices"][slug_of(name)] = packed_matrix(matrix) | {"ends": list(ends)}
        frames[at]["note"] = said if alone else ""
    (at, last), ends = found[-1], ranges[-1]
    seen = next(iter(view.latest.values())).conditions.classes if view.latest else ()
    figure = matrix_heat(last, declared, names=class_names(kept[at], len(last), seen), ends=ends)
    label = f"Heat-map over classes of {declared.label} at {kept[at].when}: {said_of_matrix(last)}."
    return Panel(figure, label, _caption(declared, ranges), "square")


def _caption(declared: Declaration, ranges: list[Range]) -> str:
    both = ranges[-1][0] < 0 < ranges[-1][1]
    colours = f"The neutral colour is {'0' if both else number(ranges[-1][0])}."
    if len(set(ranges)) > 1:
        colours += " Numbers change by a large factor over training: colours have a range of their own at each moment."
    return f"{without_marks(declared.summary)} {colours}"


def _within_budget(view: View, names: list[str]) -> list[Snapshot]:
    """Moments that hold a matrix; first and last stay where not all fit."""
    there = [s for s in view.snapshots if any(f"{MATRIX}{name}" in s.arrays for name in names)]
    weight = sum(s.arrays[f"{MATRIX}{n}"].size * 8 // 3 for s in there for n in names if f"{MATRIX}{n}" in s.arrays)
    budget = _MOST_BYTES if view.arm is None else _MOST_BYTES // 2  # a page shows several arms
    most = max(2, int(len(there) * min(1.0, budget / max(weight, 1))))
    keep = np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).round().astype(int))
    return [there[at] for at in keep]
