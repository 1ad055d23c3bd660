"""Figures that show a claim itself."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from collapselab.records import Reference
from collapselab.report.axes import Scale, value_scale
from collapselab.report.endings import Endings, Point, Trail
from collapselab.report.figures import Figure, Line, axis, layout, series
from collapselab.report.palette import NUM_SERIES_COLOURS, series_colour, split_colour, split_dash
from collapselab.report.view import Curve, Unit
from collapselab.report.words import in_plot, number, significant, wrapped

# Marker of plotly and its sign in a legend: trails differ in shape as well as in colour.
_MARKERS = (
    ("circle", "●"), ("square", "■"), ("diamond", "◆"), ("triangle-up", "▲"),
    ("triangle-down", "▼"), ("star", "★"), ("pentagon", "⬟"), ("hexagon", "⬢"),
)  # fmt: skip
_DASHES = ("solid", "dash", "dot", "dashdot")

# Ticks closer than this part of the axis would run into each other.
_TICK_ROOM = 0.045


def sign_of_trail(at: int) -> dict[str, str]:
    """How a legend shows a trail.

    Args:
        at: Which one.

    Returns:
        Role of its colour, and its sign.
    """
    return {"role": series_colour(at)[1:], "sign": _MARKERS[at % len(_MARKERS)][1]}


def against_figure(
    found: Endings, *, title: str, across: str, log_x: bool = False, references: Sequence[Reference] = ()
) -> Figure:
    """Values along a number, one line and one marker a trail; a cross at the foot where a value is undefined.

    Args:
        found: Trails with at least one value.
        title: Name of the vertical axis.
        across: Name of the horizontal axis.
        log_x: Whether that is logarithmic.
        references: Lines to read the values against.

    Returns:
        A figure.
    """
    scale = _scale(found.values, references)
    traces: list[dict[str, Any]] = []
    for at, trail in enumerate(found.trails):
        traces += _trail_traces(trail, scale, at, across)
    places = sorted({point.at for trail in found.trails for point in trail.points})
    shapes, notes = _reference_marks(references, scale)
    notes += _crosses([p for trail in found.trails for p in trail.points], log_x=log_x)
    return {
        "data": traces,
        "layout": layout(
            xaxis=axis(title={"text": in_plot(across)}, **_number_axis(places, log_x=log_x)),
            yaxis=axis(title={"text": wrapped(title)}, **scale.axis),
            shapes=shapes,
            annotations=notes,
        ),
    }


def pairs_figure(found: Endings, *, title: str, across: str) -> Figure:
    """One column a pair, the values in it joined.

    Args:
        found: Trails with at least one value, and the names of the pairs.
        title: Name of the vertical axis.
        across: Name of the horizontal axis.

    Returns:
        A figure.
    """
    scale = value_scale(found.values, None, linear=True)
    apart = 0.36 / max(len(found.trails), 1)
    moved = [
        [(p, p.at + apart * (at - (len(found.trails) - 1) / 2)) for p in trail.points]
        for at, trail in enumerate(found.trails)
    ]
    traces = [_joints(moved)]
    for at, (trail, placed) in enumerate(zip(found.trails, moved, strict=True)):
        there = [(point, x) for point, x in placed if point.value is not None]
        traces.append(
            _markers(at, trail.name)
            | {
                "x": [significant(x) for _, x in there],
                "y": [significant(point.value or 0.0) for point, _ in there],
                "text": [f"{_name(found, point, across)}: {number(point.value, 4)}" for point, _ in there],
            }
        )
    notes = _crosses([Point(x, p.value, p.why) for placed in moved for p, x in placed])
    return {
        "data": traces,
        "layout": layout(
            xaxis=axis(title={"text": in_plot(across)}, **_column_axis(found.places)),
            yaxis=axis(title={"text": wrapped(title)}, **scale.axis),
            annotations=notes,
        ),
    }


def differences_figure(
    away: Trail,
    places: Sequence[str],
    *,
    title: str,
    across: str,
    interval: tuple[float, float] | None,
    references: Sequence[Reference] = (),
) -> Figure:
    """One column a pair, and a last one for the mean with its interval.

    Args:
        away: The differences, at least one.
        places: Names of the pairs.
        title: Name of the vertical axis.
        across: Name of the horizontal axis.
        interval: Mean difference and half the width of its interval; None where there is none.
        references: Lines to read the interval against.

    Returns:
        A figure.
    """
    mean, half = interval or (0.0, 0.0)
    scale = _scale((*away.values, 0.0, mean - half, mean + half), references, linear=True)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": in_plot(away.name),
            "x": [p.at for p in away.points],
            "y": [significant(v) for v in away.values],
            "text": [f"{in_plot(f'{across} {places[int(p.at)]}')}: {number(p.value)}" for p in away.points],
            "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
            "marker": {"color": "@ink", "size": 8, "symbol": "circle-open", "line": {"width": 2}},
        }
    ]
    if interval is not None:
        bar = {"type": "data", "array": [significant(half)], "color": "@other", "thickness": 3, "width": 8}
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "mean",
                "x": [len(places)],
                "y": [significant(mean)],
                "text": [f"mean {number(mean)}, from {number(mean - half)} to {number(mean + half)}"],
                "hovertemplate": "%{text}<extra></extra>",
                "error_y": bar,
                "marker": {"color": "@other", "size": 11, "symbol": "diamond"},
            }
        )
    shapes, notes = _reference_marks(references, scale)
    shapes.append(_level(0.0, "@mark", "solid"))
    columns = (*places, "mean") if interval is not None else tuple(places)
    return {
        "data": traces,
        "layout": layout(
            xaxis=axis(title={"text": in_plot(across)}, **_column_axis(columns)),
            yaxis=axis(title={"text": wrapped(title)}, **scale.axis),
            shapes=shapes,
            annotations=notes,
        ),
    }


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
    figure["layout"]["annotations"] += _crosses([Point(p.at + 1, p.value, p.why) for p in course.points], log_x=True)
    if not null.values:
        return figure
    scale = value_scale([*course.values, *null.values], target)
    figure["data"][1]["mode"] = "markers"
    low, high, mean = min(null.values), max(null.values), statistics.fmean(null.values)
    band = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": low, "y1": high}
    figure["layout"]["shapes"].append(
        band | {"fillcolor": "@other", "opacity": 0.18, "line": {"width": 0}, "layer": "below"}
    )
    marks = [(low, "", f"{null.name}: {number(low)} to {number(high)}")]
    if part is not None and scale.shows(part * mean):
        marks.append((part * mean, "longdash", f"{number(part)} of their mean"))
    for level, dash, text in marks:
        if dash:
            figure["layout"]["shapes"].append(_level(level, "@other", dash))
        figure["layout"]["annotations"].append(_note(level, text, scale, "@other", above=False, right=True))
    return figure


def _scale(values: Iterable[float], references: Sequence[Reference], *, linear: bool = False) -> Scale:
    """An axis that shows the references as well, with room for their names beyond the outermost."""
    scale = value_scale([*values, *(one.value for one in references)], None, linear=linear)
    if scale.logarithmic or not references:
        return scale
    room = 0.04 * (scale.highest - scale.lowest)
    low, high = scale.lowest - room, scale.highest + room
    return Scale({**scale.axis, "range": [low, high]}, scale.zero_at, low, high, False)


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
        _markers(at, trail.name)
        | {
            "x": [point.at for point in there],
            "y": [significant(scale.place(point.value or 0.0)) for point in there],
            "text": [f"{in_plot(across)} {number(point.at)}: {number(point.value, 4)}" for point in there],
        },
    ]


def _markers(at: int, name: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": in_plot(name),
        "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
        "cliponaxis": False,
        "marker": {"color": series_colour(at), "size": 9, "symbol": _MARKERS[at % len(_MARKERS)][0]},
    }


def _joints(moved: Sequence[Sequence[tuple[Point, float]]]) -> dict[str, Any]:
    """Thin lines that join what belongs to one pair."""
    pairs: dict[float, list[tuple[float, float]]] = {}
    for placed in moved:
        for point, x in placed:
            if point.value is not None:
                pairs.setdefault(point.at, []).append((x, point.value))
    xs: list[float | None] = []
    ys: list[float | None] = []
    for joined in pairs.values():
        xs += [*(significant(x) for x, _ in joined), None]
        ys += [*(significant(y) for _, y in joined), None]
    line = {"color": "@mark", "width": 1.5}
    return {"type": "scatter", "mode": "lines", "name": "pair", "x": xs, "y": ys, "hoverinfo": "skip", "line": line}


def _name(found: Endings, point: Point, across: str) -> str:
    return in_plot(f"{across} {found.places[int(point.at)]}")


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


def _column_axis(names: Sequence[str]) -> dict[str, Any]:
    every = max(1, math.ceil(len(names) / 16))
    shown = [at for at in range(len(names)) if at % every == 0 or at == len(names) - 1]
    return {
        "tickvals": shown,
        "ticktext": [in_plot(names[at]) for at in shown],
        "range": [-0.6, len(names) - 0.4],
        "showgrid": False,
    }


def _crosses(points: Iterable[Point], *, log_x: bool = False) -> list[dict[str, Any]]:
    """A cross on the horizontal axis for each value that does not exist."""
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


def _reference_marks(
    references: Sequence[Reference], scale: Scale
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Lines with their names: below the line in the lower half of the figure, above it in the upper half."""
    middle = (scale.lowest + scale.highest) / 2
    known = [one for one in references if scale.shows(one.value)]
    shapes = [_level(scale.place(one.value), "@target", "longdash") for one in known]
    notes = [
        _note(scale.place(one.value), f"{number(one.value)}: {one.label}", scale, "@target", above=one.value >= middle)
        for one in known
    ]
    return shapes, notes


def _level(at: float, colour: str, dash: str) -> dict[str, Any]:
    place = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": at, "y1": at}
    return place | {"line": {"color": colour, "width": 1.5, "dash": dash}}


def _note(at: float, text: str, scale: Scale, colour: str, *, above: bool, right: bool = False) -> dict[str, Any]:
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
