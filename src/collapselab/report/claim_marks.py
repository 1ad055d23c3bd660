"""What the figures of a claim have in common: marks of trails, lines to read against, crosses for what is undefined."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from collapselab.records import Reference
from collapselab.report.axes import Scale, value_scale
from collapselab.report.endings import Point
from collapselab.report.palette import series_colour
from collapselab.report.words import in_plot, number

# Marker of plotly and its sign in a legend: trails differ in shape as well as in colour.
_MARKERS = (
    ("circle", "●"), ("square", "■"), ("diamond", "◆"), ("triangle-up", "▲"),
    ("triangle-down", "▼"), ("star", "★"), ("pentagon", "⬟"), ("hexagon", "⬢"),
)  # fmt: skip


def sign_of_trail(at: int) -> dict[str, str]:
    """How a legend shows a trail.

    Args:
        at: Which one.

    Returns:
        Role of its colour, and its sign.
    """
    return {"role": series_colour(at)[1:], "sign": _MARKERS[at % len(_MARKERS)][1]}


def scale_with(values: Iterable[float], references: Sequence[Reference], *, linear: bool = False) -> Scale:
    """An axis that shows the references as well, with room for their names beyond the outermost.

    Args:
        values: What will be drawn; at least one.
        references: Lines to read them against.
        linear: Ask for a linear axis.

    Returns:
        The scale.
    """
    scale = value_scale([*values, *(one.value for one in references)], None, linear=linear)
    if scale.logarithmic or not references:
        return scale
    room = 0.04 * (scale.highest - scale.lowest)
    low, high = scale.lowest - room, scale.highest + room
    return Scale({**scale.axis, "range": [low, high]}, scale.zero_at, low, high, False)


def markers(at: int, name: str) -> dict[str, Any]:
    """A trace of markers without its points.

    Args:
        at: Which trail.
        name: For the pointer.

    Returns:
        A plotly trace; `x`, `y` and `text` are to be added.
    """
    return {
        "type": "scatter",
        "mode": "markers",
        "name": in_plot(name),
        "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
        "cliponaxis": False,
        "marker": {"color": series_colour(at), "size": 9, "symbol": _MARKERS[at % len(_MARKERS)][0]},
    }


def crosses(points: Iterable[Point], *, log_x: bool = False) -> list[dict[str, Any]]:
    """A cross on the horizontal axis for each value that does not exist.

    Args:
        points: All points; those with a value are left alone.
        log_x: Whether that axis is logarithmic, where plotly wants the exponent.

    Returns:
        Annotations with the reason for the pointer.
    """
    return [
        {
            "x": math.log10(point.at) if log_x else point.at,
            "y": 0,
            "xref": "x",
            "yref": "paper",
            "yanchor": "bottom",
            "text": "✕",
            "hovertext": in_plot(point.why),
            "showarrow": False,
            "font": {"size": 14, "color": "@bad"},
        }
        for point in points
        if point.value is None
    ]


def reference_marks(references: Sequence[Reference], scale: Scale) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Lines with their names: below the line in the lower half of the figure, above it in the upper half.

    Args:
        references: Which.
        scale: The vertical axis.

    Returns:
        Shapes and annotations.
    """
    middle = (scale.lowest + scale.highest) / 2
    known = [one for one in references if scale.shows(one.value)]
    shapes = [level(scale.place(one.value), "@target", "longdash") for one in known]
    notes = [
        note_at(
            scale.place(one.value), f"{number(one.value)}: {one.label}", scale, "@target", above=one.value >= middle
        )
        for one in known
    ]
    return shapes, notes


def level(at: float, colour: str, dash: str) -> dict[str, Any]:
    """A line across the figure.

    Args:
        at: Where, as placed on the axis.
        colour: Role.
        dash: Of the line.

    Returns:
        A shape.
    """
    place = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": at, "y1": at}
    return place | {"line": {"color": colour, "width": 1.5, "dash": dash}}


def note_at(at: float, text: str, scale: Scale, colour: str, *, above: bool, right: bool = False) -> dict[str, Any]:
    """A word on a line across the figure.

    Args:
        at: Where the line is, as placed on the axis.
        text: What to say.
        scale: The vertical axis.
        colour: Role.
        above: Whether it stands on the line or hangs from it.
        right: Whether it stands at the right end.

    Returns:
        An annotation.
    """
    return {
        "xref": "paper",
        "x": 0.99 if right else 0.01,
        "xanchor": "right" if right else "left",
        "yref": "y",
        "y": math.log10(at) if scale.logarithmic else at,
        "yanchor": "bottom" if above else "top",
        "yshift": 2 if above else -2,
        "text": in_plot(text),
        "showarrow": False,
        "font": {"size": 12, "color": colour},
    }
