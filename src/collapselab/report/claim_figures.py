"""A claim along a number among the settings, and a claim against a null."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from collapselab.records import Reference
from collapselab.report.axes import Scale, value_scale
from collapselab.report.claim_marks import crosses, level, markers, note_at, reference_marks, scale_with
from collapselab.report.endings import Endings, Point, Trail
from collapselab.report.figures import Figure, Line, axis, layout, series
from collapselab.report.palette import NUM_SERIES_COLOURS, series_colour, split_colour, split_dash
from collapselab.report.view import Curve, Unit
from collapselab.report.words import in_plot, number, significant, wrapped

_DASHES = ("solid", "dash", "dot", "dashdot")

# Ticks closer than this part of the axis would run into each other.
_TICK_ROOM = 0.045


def against_figure(
    found: Endings,
    *,
    title: str,
    across: str,
    log_x: bool = False,
    references: Sequence[Reference] = (),
    powers: Mapping[str, float] | None = None,
) -> Figure:
    """Values along a number, one line and one marker a trail; a cross at the foot where a value is undefined.

    Args:
        found: Trails with at least one value.
        title: Name of the vertical axis.
        across: Name of the horizontal axis.
        log_x: Whether that is logarithmic.
        references: Lines to read the values against.
        powers: Exponents of power laws through the first values of metrics, by key.

    Returns:
        A figure.
    """
    scale = scale_with(found.values, references)
    traces: list[dict[str, Any]] = []
    for at, trail in enumerate(found.trails):
        traces += _trail_traces(trail, scale, at, across)
    places = sorted({point.at for trail in found.trails for point in trail.points})
    if log_x and scale.logarithmic:
        traces += power_lines(found.trails, powers or {})
    shapes, notes = reference_marks(references, scale)
    notes += crosses([p for trail in found.trails for p in trail.points], log_x=log_x)
    return {
        "data": traces,
        "layout": layout(
            xaxis=axis(title={"text": in_plot(across)}, **_number_axis(places, log_x=log_x)),
            yaxis=axis(title={"text": wrapped(title)}, **scale.axis),
            shapes=shapes,
            annotations=notes,
        ),
    }


def power_lines(trails: Sequence[Trail], powers: Mapping[str, float]) -> list[dict[str, Any]]:
    """Power laws through the first values of metrics, straight where both axes are logarithmic.

    Args:
        trails: Everything that is drawn.
        powers: Exponents, by key of a metric.

    Returns:
        A trace for each metric whose first trail begins with a value above 0.
    """
    traces = []
    places = sorted({point.at for trail in trails for point in trail.points})
    for metric, power in powers.items():
        first = next((trail for trail in trails if trail.metric == metric), Trail("", ()))
        values = [point.value for point in first.points if point.at == first.points[0].at and point.value]
        if not values or min(values) < 0:
            continue
        start, at = statistics.median(values), first.points[0].at
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"power {number(power)}",
                "x": places,
                "y": [significant(start * (place / at) ** power) for place in places],
                "hoverinfo": "skip",
                "line": {"color": "@target", "width": 1.5, "dash": "dot"},
            }
        )
    return traces


def null_figure(
    course: Trail, null: Trail, *, title: str, split: str, unit: Unit, part: float | None, target: float | None
) -> Figure:
    """A course over time beside the range of a null, drawn over all of time.

    Args:
        course: Values over time, at least one.
        null: Values where there is nothing to find.
        title: Name of the vertical axis.
        split: Whose course it is.
        unit: What time is counted in.
        part: The part of the mean of the null to draw a line at; None for none.
        target: Value at collapse.

    Returns:
        A figure.
    """
    lines = [
        Line(_curve(course, split, unit), split, split_colour(split), split_dash(split)),
        *([Line(_curve(null, null.name, unit), in_plot(null.name), "@other", "dot")] if null.values else []),
    ]
    figure = series(lines, title=wrapped(title), target=target)
    figure["layout"]["annotations"] += crosses([Point(p.at + 1, p.value, p.why) for p in course.points], log_x=True)
    if not null.values:
        return figure
    scale = value_scale([*course.values, *null.values], target)
    figure["data"][1]["mode"] = "markers"
    low, high, mean = min(null.values), max(null.values), statistics.fmean(null.values)
    foot, head = scale.place(low), scale.place(high)
    band = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": foot, "y1": head}
    figure["layout"]["shapes"].append(
        band | {"fillcolor": "@other", "opacity": 0.18, "line": {"width": 0}, "layer": "below"}
    )
    marks = [(foot, "", f"{null.name}: {number(low)} to {number(high)}")]
    if part is not None and scale.shows(part * mean):
        marks.append((part * mean, "longdash", f"{number(part)} of their mean"))
    for at, dash, text in marks:
        if dash:
            figure["layout"]["shapes"].append(level(at, "@other", dash))
        figure["layout"]["annotations"].append(note_at(at, text, scale, "@other", above=False, right=True))
    return figure


def course_figure(lines: Sequence[Line], *, title: str, references: Sequence[Reference] = ()) -> Figure:
    """Numbers over time, one line an arm.

    Args:
        lines: At least one curve with at least one point.
        title: Name of the vertical axis.
        references: Lines to read the values against; those beyond the axis are left out.

    Returns:
        A figure.
    """
    figure = series(lines, title=wrapped(title))
    scale = scale_with([value for line in lines for value in line.curve.values], ())
    shapes, notes = reference_marks(references, scale)
    figure["layout"]["shapes"] += shapes
    figure["layout"]["annotations"] += notes
    return figure


def _trail_traces(trail: Trail, scale: Scale, at: int, across: str) -> list[dict[str, Any]]:
    """Markers for all values; the line goes through medians where several share a place, and breaks at a gap."""
    there = [point for point in trail.points if point.value is not None]
    levels: dict[float, list[float]] = {}
    for point in trail.points:
        levels.setdefault(point.at, []).extend(() if point.value is None else (point.value,))
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": in_plot(trail.name),
        "x": list(levels),
        "y": [significant(scale.place(statistics.median(own))) if own else None for own in levels.values()],
        "connectgaps": False,
        "hoverinfo": "skip",
        "line": {"color": series_colour(at), "width": 2, "dash": _DASHES[at // NUM_SERIES_COLOURS % len(_DASHES)]},
    }
    return [
        line,
        markers(at, trail.name)
        | {
            "x": [point.at for point in there],
            "y": [significant(scale.place(point.value or 0.0)) for point in there],
            "text": [f"{in_plot(across)} {number(point.at)}: {number(point.value, 4)}" for point in there],
        },
    ]


def _curve(trail: Trail, split: str, unit: Unit) -> Curve:
    there = [point for point in trail.points if point.value is not None]
    return Curve(split, tuple(int(point.at) for point in there), trail.values, unit)


def _number_axis(places: Sequence[float], *, log_x: bool) -> dict[str, Any]:
    """An axis with ticks at the very numbers that were tried."""
    at = [math.log10(place) for place in places] if log_x else list(places)
    span = at[-1] - at[0]
    room = 0.06 * span or 0.5
    shown: list[int] = []
    for index, place in enumerate(at):
        if not shown or place - at[shown[-1]] >= _TICK_ROOM * span:
            shown.append(index)
    return {
        "type": "log" if log_x else "linear",
        "tickvals": [places[index] for index in shown],
        "ticktext": [number(places[index]) for index in shown],
        "range": [at[0] - room, at[-1] + room],
        "minor": {"ticks": ""},
    }
