"""A claim along a number among the settings, and a claim against a null."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
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

# Part of the axis by which trails with intervals stand apart.
_APART = 0.008

# The same as a part of the distance of places that have names.
_APART_NAMED = 0.12


def against_figure(
    found: Endings,
    *,
    title: str,
    across: str,
    log_x: bool = False,
    references: Sequence[Reference] = (),
    powers: Mapping[str, float] | None = None,
    every: bool = False,
    linear: bool = False,
) -> Figure:
    """Values along a number, one line and one marker a trail; a cross at the foot where a value is undefined.

    Trails with intervals stand a little apart, so that they do not hide each other. Places that have names are no
    numbers, and no line joins them.

    Args:
        found: Trails with at least one value.
        title: Name of the vertical axis.
        across: Name of the horizontal axis.
        log_x: Whether that is logarithmic.
        references: Lines to read the values against.
        powers: Exponents of power laws through the first values of metrics, by key.
        every: Whether the trails are courses, drawn as lines with markers at their marks alone.
        linear: Whether the vertical axis is linear in any case.

    Returns:
        A figure.
    """
    ends = [span.mean + side * span.half for trail in found.trails for span in trail.spans for side in (-1, 1)]
    scale = scale_with([*found.values, *ends], references, linear=linear)
    traces: list[dict[str, Any]] = []
    places = sorted({point.at for trail in found.trails for point in trail.points})
    shifts = _shifts(found.trails, places, log_x=log_x, named=bool(found.places))
    for at, (trail, shift) in enumerate(zip(found.trails, shifts, strict=True)):
        traces += (
            _course_traces(trail, scale, at, log_x=log_x)
            if every
            else _trail_traces(trail, scale, at, across, shift, names=found.places)
        )
    if log_x and scale.logarithmic:
        traces += power_lines(found.trails, powers or {})
    shapes, notes = reference_marks(references, scale)
    if not every:
        notes += crosses([p for trail in found.trails for p in trail.points], log_x=log_x)
    ticks = _named_axis(found.places) if found.places else _number_axis(places, log_x=log_x, every=every)
    return {
        "data": traces,
        "layout": layout(
            xaxis=axis(title={"text": in_plot(across)}, **ticks),
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


def _trail_traces(
    trail: Trail,
    scale: Scale,
    at: int,
    across: str,
    shift: Callable[[float], float],
    *,
    names: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Markers for all values; a line through medians, or means with intervals; at named places a stroke instead."""
    there = [point for point in trail.points if point.value is not None]
    levels: dict[float, list[float]] = {}
    for point in trail.points:
        levels.setdefault(point.at, []).extend(() if point.value is None else (point.value,))
    means = {span.at: span.mean for span in trail.spans}
    middles = {place: means.get(place, statistics.median(own) if own else None) for place, own in levels.items()}
    line = _line(trail, at) | {
        "x": [shift(place) for place in middles],
        "y": [None if middle is None else significant(scale.place(middle)) for middle in middles.values()],
        "connectgaps": False,
    }
    if names:
        stroke = {"symbol": "line-ew-open", "size": 22, "line": {"width": 2}, "color": series_colour(at)}
        line |= {"mode": "markers", "marker": stroke, "showlegend": False}
    dots = markers(at, trail.name)
    if trail.spans:
        line["error_y"] = _bars(trail, scale, list(middles)) | {"color": series_colour(at)}
        dots["marker"] |= {"size": 6, "opacity": 0.45}
    return [
        line,
        dots
        | {
            "x": [shift(point.at) for point in there],
            "y": [significant(scale.place(point.value or 0.0)) for point in there],
            "text": [f"{_place(point.at, across, names)}: {number(point.value, 4)}" for point in there],
        },
    ]


def _place(at: float, across: str, names: Sequence[str]) -> str:
    return in_plot(names[int(at)] if names else f"{across} {number(at)}")


def _line(trail: Trail, at: int) -> dict[str, Any]:
    """A trace of a line without its points."""
    dash = _DASHES[at // NUM_SERIES_COLOURS % len(_DASHES)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": in_plot(trail.name),
        "hoverinfo": "skip",
        "line": {"color": series_colour(at), "width": 2, "dash": dash},
    }


def _bars(trail: Trail, scale: Scale, places: Sequence[float]) -> dict[str, Any]:
    """Bars from end to end of the intervals."""
    spans = {span.at: span for span in trail.spans}
    up, down = [], []
    for place in places:
        span = spans.get(place)
        middle = 0.0 if span is None else scale.place(span.mean)
        up.append(0.0 if span is None else significant(scale.place(span.mean + span.half) - middle))
        down.append(0.0 if span is None else significant(middle - scale.place(span.mean - span.half)))
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 2, "width": 5}


def _course_traces(trail: Trail, scale: Scale, at: int, *, log_x: bool) -> list[dict[str, Any]]:
    """A line through the points of each arm, with the marker of the trail at its marks."""
    x: list[float | None] = []
    y: list[float | None] = []
    marked: dict[float, float] = {}
    for course in trail.courses or (trail.points,):
        there = [point for point in course if point.value is not None]
        places, heights = [point.at for point in there], [scale.place(point.value or 0.0) for point in there]
        for mark in trail.marks if there else ():
            if mark not in marked and places[0] <= mark <= places[-1]:
                marked[mark] = _between(mark, places, heights, log_x=log_x)
        # None is where a line ends and the next begins.
        x += [*([None] if x else []), *places]
        y += [*([None] if y else []), *(significant(height) for height in heights)]
    return [
        _line(trail, at) | {"x": x, "y": y, "hoverinfo": "x+y+name"},
        markers(at, trail.name)
        | {
            "x": list(marked),
            "y": [significant(height) for height in marked.values()],
            "text": [number(mark, 5) for mark in marked],
        },
    ]


def _between(at: float, x: Sequence[float], y: Sequence[float], *, log_x: bool) -> float:
    """The height of a line at a place."""
    after = next(i for i, place in enumerate(x) if place >= at)
    if after == 0 or x[after] == at:
        return y[after]
    ends = (at, x[after - 1], x[after])
    here, left, right = (math.log(one) for one in ends) if log_x else ends
    return y[after - 1] + (y[after] - y[after - 1]) * (here - left) / (right - left)


def _shifts(
    trails: Sequence[Trail], places: Sequence[float], *, log_x: bool, named: bool
) -> list[Callable[[float], float]]:
    """How far each trail stands beside its places: nothing, unless there are intervals or the places have names."""
    if not named and not any(trail.spans for trail in trails):
        return [lambda place: place] * len(trails)
    ends = [math.log(place) for place in (places[0], places[-1])] if log_x else [places[0], places[-1]]
    step = _APART_NAMED if named else _APART * ((ends[1] - ends[0]) or 1.0)
    offsets = [step * (at - (len(trails) - 1) / 2) for at in range(len(trails))]
    if log_x:
        return [lambda place, by=by: significant(place * math.exp(by)) for by in offsets]
    return [lambda place, by=by: significant(place + by) for by in offsets]


def _curve(trail: Trail, split: str, unit: Unit) -> Curve:
    there = [point for point in trail.points if point.value is not None]
    return Curve(split, tuple(int(point.at) for point in there), trail.values, unit)


def _named_axis(names: Sequence[str]) -> dict[str, Any]:
    """An axis with a name at each place."""
    return {
        "type": "linear",
        "tickvals": list(range(len(names))),
        "ticktext": [in_plot(name) for name in names],
        "range": [-0.5, len(names) - 0.5],
        "minor": {"ticks": ""},
    }


def _number_axis(places: Sequence[float], *, log_x: bool, every: bool = False) -> dict[str, Any]:
    """An axis with ticks at the very numbers that were tried, unless they are those of a course."""
    if every:
        ends = [math.log10(place) for place in (places[0], places[-1])] if log_x else [places[0], places[-1]]
        return {"type": "log", "dtick": 1, "range": ends} if log_x else {"type": "linear", "range": ends}
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
