"""Figures over the classes in order of their size, largest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from collapselab.records.groups import ClassGroup
from collapselab.report.axes import value_scale
from collapselab.report.figures import Figure, axis, layout, target_marks
from collapselab.report.words import in_plot, number, significant

# Classes drawn of a line; more would not be told apart.
_MOST_POINTS = 400

# Up to so many classes each is marked on its line.
_MOST_MARKS = 60


@dataclass(frozen=True)
class Ranked:
    """A number for each class, in order of class size.

    Attributes:
        name: For the legend of the pointer.
        values: Largest class first.
        classes: Words for each class, such as its label and size.
        colour: Role.
        dash: Of the line.
        sign: Written at its end.
    """

    name: str
    values: Sequence[float]
    classes: Sequence[str]
    colour: str
    dash: str = "solid"
    sign: str = ""


def rank_figure(
    lines: Sequence[Ranked],
    *,
    title: str,
    groups: Sequence[ClassGroup] = (),
    target: float | None = None,
    target_name: str = "at collapse",
) -> Figure:
    """Numbers of classes over the rank of their size.

    Args:
        lines: At least one, with at least one class.
        title: Name of the vertical axis.
        groups: Of each class, largest first: their borders are drawn.
        target: Value to read the numbers against, drawn as a line.
        target_name: What it is.

    Returns:
        A figure.
    """
    scale = value_scale([value for line in lines for value in line.values], target)
    shapes, notes = target_marks(scale, target, target_name)
    borders, names = _borders(groups)
    longest = max(len(line.values) for line in lines)
    return {
        "data": [_trace(line, [significant(scale.place(value)) for value in line.values]) for line in lines],
        "layout": layout(
            margin={"l": 58, "r": 14 + 9 * max(len(line.sign) for line in lines), "t": 24, "b": 44},
            xaxis=axis(
                title={"text": "class, largest first"}, range=[0.5, longest + 0.5], tickformat="d", dtick=_step(longest)
            )
            | {"tick0": 0 if _step(longest) > 1 else 1},
            yaxis=axis(title={"text": title}, **scale.axis),
            shapes=[*borders, *shapes],
            annotations=[*names, *notes],
        ),
    }


def _step(longest: int) -> int:
    """Ranks from one tick to the next."""
    return next(step * 10**power for power in range(9) for step in (1, 2, 5) if longest <= 10 * step * 10**power)


def _trace(line: Ranked, places: Sequence[float]) -> dict[str, Any]:
    total = len(line.values)
    shown: list[int] = np.unique(np.linspace(0, total - 1, min(total, _MOST_POINTS)).round().astype(int)).tolist()
    mode = "lines+markers" if total <= _MOST_MARKS else "lines"
    return {
        "type": "scatter",
        "mode": f"{mode}+text" if line.sign else mode,
        "name": in_plot(line.name),
        "x": [at + 1 for at in shown],
        "y": [places[at] for at in shown],
        "text": [""] * (len(shown) - 1) + [line.sign],
        "textposition": "middle right",
        "textfont": {"size": 12, "color": line.colour},
        "hovertext": [f"{in_plot(line.classes[at])}: {number(line.values[at], 4)}" for at in shown],
        "hovertemplate": "%{hovertext}<extra>%{fullData.name}</extra>",
        "cliponaxis": False,
        "line": {"color": line.colour, "dash": line.dash, "width": 2},
        "marker": {
            "color": line.colour,
            "size": 6,
            "symbol": "circle" if line.dash == "solid" else "circle-open",
        },
    }


def _borders(groups: Sequence[ClassGroup]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A line where a group ends, and its name above."""
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    start = 0
    for group, members in groupby(groups):
        stop = start + len(list(members))
        note = {"xref": "x", "yref": "paper", "x": (start + stop + 1) / 2, "y": 1, "yanchor": "bottom"}
        notes.append(note | {"text": group, "showarrow": False, "font": {"size": 12, "color": "@muted"}})
        if start > 0:
            where = {"x0": start + 0.5, "x1": start + 0.5, "y0": 0, "y1": 1}
            line = {"color": "@mark", "width": 1.2, "dash": "dot"}
            shapes.append({"type": "line", "xref": "x", "yref": "paper", "line": line} | where)
        start = stop
    return shapes, notes
