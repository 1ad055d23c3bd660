"""Series to plotly figures: plain dictionaries whose colours are roles (`palette.themed` turns roles into colours)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from collapselab.records.phase import TerminalPhase
from collapselab.report.axes import Scale, epoch_axis, epoch_place, value_scale
from collapselab.report.palette import split_colour, split_dash
from collapselab.report.view import Curve
from collapselab.report.words import number, significant

Figure = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """A curve and how it is drawn; `sign` is written at its end, where colours alone would tell curves apart.

    A faint one is one of many of its kind.
    """

    curve: Curve
    name: str
    colour: str
    dash: str
    sign: str = ""
    faint: bool = False


def split_lines(curves: Iterable[Curve]) -> list[Line]:
    """The curves of one run: colour and dash say the split.

    Args:
        curves: One a split.

    Returns:
        Lines.
    """
    return [Line(curve, curve.split, split_colour(curve.split), split_dash(curve.split)) for curve in curves]


def layout(**changes: Any) -> dict[str, Any]:
    """What all figures have in common.

    Args:
        changes: Entries to add or replace.

    Returns:
        A plotly layout.
    """
    common = {
        "margin": {"l": 58, "r": 14, "t": 14, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "@ink"},
        "hoverlabel": {"bgcolor": "@surface", "bordercolor": "@line", "font": {"color": "@ink"}},
        "showlegend": False,
        "dragmode": False,  # a finger that scrolls the page must not zoom the figure
        "hovermode": "closest",
    }
    return common | changes


def axis(**given: Any) -> dict[str, Any]:
    """An axis in the page's colours.

    Args:
        given: Entries of this axis.

    Returns:
        A plotly axis.
    """
    quiet = {
        "gridcolor": "@grid",
        "linecolor": "@line",
        "tickcolor": "@line",
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "fixedrange": True,
        "automargin": True,
    }
    return quiet | given


def series(
    lines: Sequence[Line],
    *,
    title: str,
    target: float | None = None,
    phase: TerminalPhase | None = None,
    linear: bool = False,
    name_marks: bool = True,
    target_name: str = "at collapse",
) -> Figure:
    """Numbers over epochs.

    Args:
        lines: At least one curve with at least one point.
        title: Name of the vertical axis.
        target: Value at collapse, or another limit, drawn as a line.
        phase: Where the terminal phase begins, drawn as two vertical lines and a shade.
        linear: Ask for a linear vertical axis.
        name_marks: Write beside the vertical lines what they mark.
        target_name: What the target is.

    Returns:
        A figure.
    """
    scale = value_scale([value for line in lines for value in line.curve.values], target, linear=linear)
    last, unit = max(line.curve.moments[-1] for line in lines), lines[0].curve.unit
    shapes, notes = _phase_marks(phase, last)
    target_shapes, target_notes = target_marks(scale, target, target_name)
    return {
        "data": [_trace(line, scale) for line in lines],
        "layout": layout(
            xaxis=axis(**epoch_axis(last, unit)),
            yaxis=axis(title={"text": title}, **scale.axis),
            shapes=[*shapes, *target_shapes],
            annotations=[*(notes if name_marks else ()), *target_notes, *_signs(lines, scale)],
        ),
    }


def _trace(line: Line, scale: Scale) -> dict[str, Any]:
    curve = line.curve
    return {
        "type": "scatter",
        "mode": "lines" if line.faint and len(curve.values) > 1 else "lines+markers",
        "opacity": 0.35 if line.faint else 1,
        "name": line.name,
        "x": [epoch_place(epoch) for epoch in curve.moments],
        "y": [significant(scale.place(value)) for value in curve.values],
        "text": [f"{curve.unit} {at:,}: {number(v, 4)}" for at, v in zip(curve.moments, curve.values, strict=True)],
        "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
        "line": {"color": line.colour, "dash": line.dash, "width": 1 if line.faint else 2},
        "marker": {
            "color": line.colour,
            "size": 5 if len(curve.values) > 1 else 9,
            "symbol": "circle" if line.dash == "solid" else "circle-open",
        },
    }


def _signs(lines: Sequence[Line], scale: Scale) -> list[dict[str, Any]]:
    """The sign of each curve beside its last point."""
    signed = [line for line in lines if line.sign]
    return [
        {
            "x": math.log10(epoch_place(line.curve.moments[-1])),
            "y": math.log10(scale.place(line.curve.values[-1])) if scale.logarithmic else line.curve.values[-1],
            "text": line.sign,
            "font": {"size": 12, "color": line.colour},
            "showarrow": False,
            "xanchor": "left",
            "xshift": 5,
        }
        for line in signed
    ]


def _phase_marks(phase: TerminalPhase | None, last: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Both ends of the passage to zero error, and a shade over the epochs after the later one."""
    if phase is None or phase.first_zero is None:
        return [], []
    shapes, notes = [], []
    start = max(phase.first_zero, phase.last_above or 0)
    shade = {"type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "line": {"width": 0}, "layer": "below"}
    shapes.append(shade | {"x0": epoch_place(start), "x1": epoch_place(last) * 1.2, "fillcolor": "@phase"})
    later = phase.last_above is not None and phase.last_above > phase.first_zero
    marks = [(phase.first_zero, "dash", "first zero error", "right" if later else "left")]
    if phase.last_above is not None:
        marks.append((phase.last_above, "dot", "last above zero", "left" if later else "right"))
    for epoch, dash, text, side in marks:
        line = {"color": "@mark", "width": 1.2, "dash": dash}
        where = {"x0": epoch_place(epoch), "x1": epoch_place(epoch), "y0": 0, "y1": 1}
        shapes.append({"type": "line", "xref": "x", "yref": "paper", "line": line} | where)
        notes.append(_upright(epoch, f"{text} ({epoch:,})", side))
    return shapes, notes


def _upright(epoch: int, text: str, side: str) -> dict[str, Any]:
    """A note along a vertical line; on a logarithmic axis plotly wants the exponent."""
    return {
        "name": "phase",  # the page leaves these out where a figure is narrow
        "x": math.log10(epoch_place(epoch)),
        "y": 0.99,
        "xref": "x",
        "yref": "paper",
        "xanchor": side,
        "yanchor": "top",
        "text": text,
        "textangle": -90,
        "showarrow": False,
        "font": {"size": 11, "color": "@muted"},
    }


def target_marks(
    scale: Scale, target: float | None, name: str = "at collapse"
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A line at the value at collapse; on a logarithmic axis without a row for zeros, an arrow down."""
    if target is None:
        return [], []
    note = {
        "xref": "paper",
        "x": 0.01,
        "xanchor": "left",
        "showarrow": False,
        "bgcolor": "@paper",
        "font": {"size": 12, "color": "@target"},
    }
    if not scale.shows(target):
        far = "↓" if target < scale.lowest else "↑"
        place = {"y": 0.01, "yanchor": "bottom"} if far == "↓" else {"y": 0.99, "yanchor": "top"}
        return [], [note | place | {"yref": "paper", "text": f"{far} {name}: {number(target)}"}]
    y = scale.place(target)
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": y, "y1": y}
    line["line"] = {"color": "@target", "width": 1.5, "dash": "longdash"}
    at = math.log10(y) if scale.logarithmic else y
    middle = (scale.lowest + scale.highest) / 2
    anchor = "bottom" if scale.logarithmic or y < middle else "top"
    return [line], [note | {"yref": "y", "y": at, "yanchor": anchor, "text": f"{name}: {number(target)}"}]
