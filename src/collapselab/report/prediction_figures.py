"""Figures of a prediction: its Gram matrices, the answer along decay, and courses of a run beside the limit."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from collapselab.records.prediction import Blocks, MeasuredCourse, Sweep
from collapselab.report.axes import value_scale
from collapselab.report.figures import Figure, Line, axis, layout, series, split_lines
from collapselab.report.view import Curve, Unit
from collapselab.report.words import number, significant, wrapped

MOST_DENSE = 60
"""Classes up to which a matrix is shown whole."""

_SHOWN = 24
_GAPS = 30

# Groups between which borders are drawn, and the part of all classes from which a group's name has room above it.
_MOST_BORDERS, _NAMED = 12, 0.3


def matrix_map(matrix: Blocks, *, unit: str, across: str = "class", groups: Sequence[str] = ()) -> Figure:
    """Heat-map of a matrix over classes; the neutral colour is zero.

    Args:
        matrix: Its blocks; of more than `MOST_DENSE` classes some of each group stand for all.
        unit: Name of the colour axis.
        across: What rows and columns are.
        groups: Names of the groups, written above; borders are drawn wherever there are a few groups.

    Returns:
        A figure.
    """
    shown = representatives(matrix)
    names = _names(matrix, shown)
    rows = [[_entry(matrix, one, other) for other in shown] for one in shown]
    reach = max((abs(x) for row in rows for x in row), default=0.0) or 1.0
    heat: dict[str, Any] = {
        "type": "heatmap",
        "z": [[significant(x, 4) for x in row] for row in rows],
        "x": names,
        "y": names,
        "zmin": -reach,
        "zmax": reach,
        "colorscale": [[0, "@low"], [0.5, "@middle"], [1, "@high"]],
        "hovertemplate": "classes %{y} and %{x}: %{z:.4g}<extra></extra>",
        "xgap": 1 if len(shown) <= _GAPS else 0,
        "ygap": 1 if len(shown) <= _GAPS else 0,
        "colorbar": {"thickness": 10, "outlinewidth": 0, "title": {"text": unit, "side": "right"}},
    }
    whole = matrix.size <= MOST_DENSE
    ticks = {"type": "category", "showgrid": False, "ticks": "", "showline": False, "tickangle": 0, "nticks": 11}
    ticks |= {"showticklabels": whole, "title": {"text": across if whole else "some classes"}}
    marks, notes = _borders([g for g, _ in shown], groups)
    return {
        "data": [heat],
        "layout": layout(
            margin={"l": 58, "r": 14, "t": 26 if notes else 14, "b": 44},
            xaxis=axis(**ticks),
            yaxis=axis(autorange="reversed", **ticks),
            shapes=marks,
            annotations=notes,
        ),
    }


def _borders(of: Sequence[int], names: Sequence[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Lines between groups, and their names above those that are wide enough."""
    sizes = [len(list(same)) for _, same in itertools.groupby(of)]
    if not 1 < len(sizes) <= _MOST_BORDERS or len(sizes) == len(of):
        return [], []
    marks: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    whole, start = {"type": "line", "line": {"color": "@ink", "width": 1.4}}, 0
    for at, size in enumerate(sizes):
        place = start - 0.5
        if start > 0:
            down = {"xref": "x", "x0": place, "x1": place, "yref": "paper", "y0": 0, "y1": 1}
            along = {"yref": "y", "y0": place, "y1": place, "xref": "paper", "x0": 0, "x1": 1}
            marks += [whole | down, whole | along]
        if at < len(names) and size >= _NAMED * len(of):
            note = {"x": place + size / 2, "y": 1, "xref": "x", "yref": "paper", "yanchor": "bottom"}
            notes.append(note | {"text": names[at], "showarrow": False, "font": {"size": 12, "color": "@muted"}})
        start += size
    return marks, notes


def representatives(matrix: Blocks) -> list[tuple[int, int]]:
    """Classes that are drawn.

    Args:
        matrix: Blocks over classes.

    Returns:
        Group and place in it, of each; all classes where they are few.
    """
    groups = len(matrix.sizes)
    most = matrix.size if matrix.size <= MOST_DENSE else max(2, _SHOWN // groups)
    return [(g, at) for g, size in enumerate(matrix.sizes[:MOST_DENSE]) for at in range(min(size, most))]


def _names(matrix: Blocks, shown: Sequence[tuple[int, int]]) -> list[str]:
    if matrix.size <= MOST_DENSE:
        return [str(i) for i in range(matrix.size)]
    many = len(matrix.sizes) > 1
    return [f"{at + 1} of group {g + 1}" if many else str(at + 1) for g, at in shown]


def _entry(matrix: Blocks, one: tuple[int, int], other: tuple[int, int]) -> float:
    return matrix.own[one[0]] if one == other else matrix.between[one[0]][other[0]]


def sweep_figure(sweep: Sweep, values: Sequence[float], *, title: str) -> Figure:
    """A number as all decays are multiplied by one factor, with this problem and the threshold marked.

    Args:
        sweep: The factors.
        values: The number at each.
        title: Name of the vertical axis.

    Returns:
        A figure.
    """
    here = values[sweep.factor.index(1.0)] if 1.0 in sweep.factor else None
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": title,
        "x": [significant(x) for x in sweep.factor],
        "y": [significant(y) for y in values],
        "line": {"color": "@train", "width": 2.2},
        "hovertemplate": "decay × %{x:.3g}: %{y:.4g}<extra></extra>",
    }
    point = {
        "type": "scatter",
        "mode": "markers",
        "name": "this problem",
        "x": [1],
        "y": [here],
        "marker": {"color": "@test", "size": 11, "symbol": "diamond", "line": {"color": "@paper", "width": 1.5}},
        "hovertemplate": "this problem: %{y:.4g}<extra></extra>",
    }
    shapes, notes = _threshold(sweep)
    low, high = math.log10(sweep.factor[0]), math.log10(sweep.factor[-1])
    scale = value_scale(values, None, linear=True)
    across = {"type": "log", "range": [low, high], "dtick": 1, "exponentformat": "power"}
    return {
        "data": [line, *([point] if here is not None else [])],
        "layout": layout(
            xaxis=axis(title={"text": "all decays, times"}, **across),
            yaxis=axis(title={"text": title}, **scale.axis),
            shapes=shapes,
            annotations=notes,
        ),
    }


def _threshold(sweep: Sweep) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A line where the answer vanishes, and a shade beyond."""
    if sweep.vanishes_at is None:
        return [], []
    at, end = sweep.vanishes_at, sweep.factor[-1]
    across = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    line = {"color": "@mark", "width": 1.4, "dash": "dash"}
    note = {
        "x": math.log10(at),
        "y": 0.98,
        "xref": "x",
        "yref": "paper",
        "xanchor": "right",
        "yanchor": "top",
        "xshift": -4,
        "text": f"zero from × {number(at)} on",
        "showarrow": False,
        "bgcolor": "@paper",
        "font": {"size": 12, "color": "@muted"},
    }
    shade = across | {"type": "rect", "x0": at, "x1": end, "fillcolor": "@grid", "opacity": 0.7, "line": {"width": 0}}
    return [shade, across | {"type": "line", "x0": at, "x1": at, "line": line}], [note]


def course_figure(
    course: MeasuredCourse, expected: float, *, split: str, unit: Unit, title: str, linear: bool = False
) -> Figure | None:
    """What a run measured over time, and the predicted limit.

    Args:
        course: What came.
        expected: The prediction.
        split: Which data.
        unit: What time is counted in.
        title: Name of the vertical axis.
        linear: Ask for a linear vertical axis, as suits what may be negative.

    Returns:
        A figure; None where nothing was ever measured.
    """
    if not course.values:
        return None
    lines: list[Line] = split_lines([Curve(split, course.moments, course.values, unit)])
    return series(lines, title=wrapped(title), target=expected, target_name="predicted", linear=linear)
