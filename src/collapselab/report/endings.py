"""What a picture of a claim is drawn from: values that trainings ended with, and the reasons where there are none."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from collapselab.records import Against, NullBand, Observation, Paired
from collapselab.report.arms import settings_of
from collapselab.report.view import View
from collapselab.report.words import number, plain

_OF_ROWS = ("accuracy", "error", "loss")


@dataclass(frozen=True)
class Point:
    """A value at a place, or the reason why there is none."""

    at: float
    value: float | None
    why: str = ""


@dataclass(frozen=True)
class Span:
    """A mean of the values at a place, and half the width of its interval."""

    at: float
    mean: float
    half: float


@dataclass(frozen=True)
class Trail:
    """Points that belong together.

    Attributes:
        name: For the legend.
        points: In ascending order of their places.
        metric: What they are values of, where that differs between trails.
        spans: Means with intervals, where the verdict has them.
        marks: Places on the axis at which the line bears a mark.
        courses: Of courses, the points of each arm by themselves: a line joins no two arms.
    """

    name: str
    points: tuple[Point, ...]
    metric: str = ""
    spans: tuple[Span, ...] = ()
    marks: tuple[float, ...] = ()
    courses: tuple[tuple[Point, ...], ...] = ()

    @property
    def values(self) -> tuple[float, ...]:
        """Those that there are."""
        return tuple(point.value for point in self.points if point.value is not None)


@dataclass(frozen=True)
class Endings:
    """Everything that is drawn, and what is missing from it.

    Attributes:
        trails: One for each thing in the legend.
        places: Names of the places; none where numbers name themselves.
        gaps: Sentences on what has no value, or no place.
    """

    trails: tuple[Trail, ...]
    places: tuple[str, ...] = ()
    gaps: tuple[str, ...] = field(default=())

    @property
    def values(self) -> tuple[float, ...]:
        """Of all trails."""
        return tuple(value for trail in self.trails for value in trail.values)


def reading(row: Observation, metric: str) -> tuple[float | None, str]:
    """What a row says of a metric.

    Args:
        row: The row.
        metric: Key of a metric, or ``accuracy``, ``error`` or ``loss``.

    Returns:
        The value and nothing, or None and the reason.
    """
    if metric == "accuracy":
        return 1 - row.error, ""
    if metric in _OF_ROWS:
        return getattr(row, metric), ""
    found = row.result.measurements.get(metric)
    if found is None:
        return None, f"{metric} was not measured"
    return found.value, found.undefined or ""


def ending(view: View, split: str, metric: str) -> tuple[float | None, str]:
    """What a training ended with.

    Args:
        view: One training.
        split: Which split.
        metric: Which number; see `reading`.

    Returns:
        The value and nothing, or None and the reason.
    """
    row = next((row for row in reversed(view.rows) if row.split == split), None)
    return (None, f"nothing was measured on {split}") if row is None else reading(row, metric)


def endings_against(view: View, chart: Against) -> Endings:
    """The arms, or their rows, along a number, or side by side where the setting is a word.

    Args:
        view: A run with arms.
        chart: Says which number.

    Returns:
        One trail a value of `chart.by`; arms that differ in other settings alone share a place.
    """
    trails: list[Trail] = []
    names = _named_places(view, chart)
    gaps = _not_begun(view)
    placed: list[_Placed] = []
    for arm in view.arms:
        for row, at in _places(arm, chart):
            if isinstance(at, str) and at in names:
                placed.append((arm, row, float(names.index(at))))
            elif isinstance(at, bool) or not isinstance(at, (int, float)) or (chart.log_x and at <= 0):
                gaps.append(f"{arm.title}: its {chart.over} is {plain(at)}, which has no place on the axis")
            else:
                placed.append((arm, row, float(at)))
    for metric in (chart.metric, *chart.beside):
        found, why = _trails_against(view, chart, metric, placed)
        trails += found
        gaps += why
    return Endings(tuple(trails), tuple(chart.words.get(name, name) for name in names), tuple(gaps))


def _named_places(view: View, chart: Against) -> list[str]:
    """The words that the setting takes, in the order of the arms; none if it is anything else for one of them."""
    arms = () if view.run is None or chart.every or chart.log_x else view.run.arms
    found = [arm.settings.get(chart.over) for arm in arms]
    words = [one for one in found if isinstance(one, str)]
    return list(dict.fromkeys(words)) if len(words) == len(found) else []


_Placed = tuple[View, Observation | None, float]
"""An arm, a row of it if there is one, and its place on the axis."""


def _places(arm: View, chart: Against) -> list[tuple[Observation | None, object]]:
    """The rows of an arm that are drawn, each with what should be its place."""
    rows = [row for row in arm.rows if row.split == chart.split]
    if chart.every:
        return [(row, reading(row, chart.over)[0]) for row in rows]
    return [(rows[-1] if rows else None, settings_of(arm).get(chart.over))]


def _trails_against(
    view: View, chart: Against, metric: str, placed: Sequence[_Placed]
) -> tuple[list[Trail], list[str]]:
    """The lines of one metric, and why some of its values are missing."""
    found: dict[str, list[Point]] = {}
    names: dict[str, str] = {}
    marks: dict[str, dict[float, None]] = {}
    courses: dict[str, dict[int, list[Point]]] = {}
    gaps: list[str] = []
    for arm, row, at in placed:
        value, why = (None, f"nothing was measured on {chart.split}") if row is None else reading(row, metric)
        own = None if chart.by is None else settings_of(arm).get(chart.by)
        names[_key(own)] = chart.words.get(plain(own), plain(own)) if chart.by is not None else "all arms"
        point = Point(at, value, why)
        found.setdefault(_key(own), []).append(point)
        courses.setdefault(_key(own), {}).setdefault(id(arm), []).append(point)
        mark = settings_of(arm).get(chart.mark)
        marks.setdefault(_key(own), {}).update({mark: None} if isinstance(mark, (int, float)) else {})
        gaps += [f"{arm.title}: {why}"] if value is None and not chart.every else []
    gaps += _gaps_of_courses(chart, metric, placed) if chart.every else []
    if chart.beside:
        declared = view.declarations.get(metric)
        label = metric if declared is None else declared.label
        names = {key: label if chart.by is None else f"{label}, {name}" for key, name in names.items()}
    trails = []
    for key, own in found.items():
        points = tuple(sorted(own, key=lambda p: p.at))
        spans = _spans(view, chart, key, points) if metric == chart.metric else ()
        each = tuple(tuple(sorted(one, key=lambda p: p.at)) for one in courses[key].values()) if chart.every else ()
        trails.append(Trail(names[key], points, metric, spans, tuple(marks[key]), each))
    return trails, gaps


def _gaps_of_courses(chart: Against, metric: str, placed: Sequence[_Placed]) -> list[str]:
    """One sentence an arm and reason: a course can be without a value for a long way."""
    found: dict[tuple[str, str], list[float]] = {}
    for arm, row, at in placed:
        value, why = (None, "") if row is None else reading(row, metric)
        if value is None:
            found.setdefault((arm.title, why), []).append(at)
    across = chart.words.get(chart.over, chart.over)
    return [
        f"{title}: {why}, at {len(at)} places from {across} {number(min(at))} to {number(max(at))}"
        for (title, why), at in found.items()
    ]


def _spans(view: View, chart: Against, key: str, points: Sequence[Point]) -> tuple[Span, ...]:
    """Means with the intervals that the verdict has of them: the page computes no statistics of its own."""
    names = _named_places(view, chart)
    figures = {} if view.run is None or view.run.verdict is None else view.run.verdict.figures
    by = [] if chart.by is None else [plain(json.loads(key))]
    found = []
    for at in dict.fromkeys(point.at for point in points) if chart.half_width else ():
        half = figures.get("_".join([chart.half_width, *by, names[int(at)] if names else f"{at:g}"]))
        values = [point.value for point in points if point.at == at and point.value is not None]
        if values and isinstance(half, (int, float)):
            found.append(Span(at, statistics.fmean(values), float(half)))
    return tuple(found)


def endings_paired(view: View, chart: Paired) -> Endings:
    """The arms in pairs.

    Args:
        view: A run with arms.
        chart: Says what makes a pair.

    Returns:
        One trail a value of `chart.over`, with a point at the number of each pair.
    """
    pairs = list(dict.fromkeys(_key(settings_of(arm).get(chart.by)) for arm in view.arms))
    found: dict[str, list[Point]] = {}
    names: dict[str, str] = {}
    gaps = _not_begun(view)
    for arm in view.arms:
        settings = settings_of(arm)
        own, at = settings.get(chart.over), pairs.index(_key(settings.get(chart.by)))
        value, why = ending(arm, chart.split, chart.metric)
        names[_key(own)] = chart.words.get(plain(own), plain(own))
        found.setdefault(_key(own), []).append(Point(at, value, why))
        gaps += [f"{arm.title}: {why}"] if value is None else []
    trails = tuple(Trail(names[key], tuple(points)) for key, points in found.items())
    places = tuple(plain(json.loads(key)) for key in pairs)
    gaps += [
        f"difference at {chart.by} {places[at]}: {many} trainings have {chart.over} {trail.name}"
        for trail in trails
        for at in range(len(places))
        if (many := sum(point.at == at for point in trail.points)) > 1
    ]
    return Endings(trails, places, tuple(gaps))


def differences(found: Endings) -> Trail:
    """The second trail minus the first, pair by pair.

    Args:
        found: What `endings_paired` made.

    Returns:
        A point for each pair that is complete; none unless there are exactly two trails.
    """
    if len(found.trails) != 2:
        return Trail("", ())
    first, second = found.trails
    points = [
        Point(at, after - before)
        for at in range(len(found.places))
        if (before := _only(first, at)) is not None and (after := _only(second, at)) is not None
    ]
    return Trail(f"{found.trails[1].name} minus {found.trails[0].name}", tuple(points))


def _only(trail: Trail, at: int) -> float | None:
    """The value at a place, where there is one and no other training shares the place."""
    here = [point.value for point in trail.points if point.at == at]
    return here[0] if len(here) == 1 else None


def endings_beside_null(view: View, chart: NullBand) -> Endings:
    """The course of a metric, and its values where there is nothing to find.

    Args:
        view: A run of one training.
        chart: Says which splits.

    Returns:
        Two trails: over time, and the null.
    """
    trails, gaps = [], []
    for split in (chart.split, chart.null):
        rows = [row for row in view.rows if row.split == split]
        points = [Point(view.time_of(row), *reading(row, chart.metric)) for row in rows]
        trails.append(Trail(chart.words.get(split, split), tuple(points)))
        gaps += _reasons(split, view.unit, points)
        if not rows:
            gaps.append(f"{chart.words.get(split, split)}: not measured yet")
    return Endings(tuple(trails), gaps=tuple(gaps))


def _reasons(split: str, unit: str, points: Sequence[Point]) -> list[str]:
    """One sentence a reason: a long series would say the same many times."""
    found: dict[str, list[int]] = {}
    for point in points:
        if point.value is None:
            found.setdefault(point.why, []).append(int(point.at))
    return [
        f"{split}, {len(at)} of {len(points)} measurements between {unit}s {min(at):,} and {max(at):,}: {why}"
        for why, at in found.items()
    ]


def _not_begun(view: View) -> list[str]:
    there = {arm.arm.name for arm in view.arms if arm.arm is not None}
    return [] if view.run is None else [f"{a.title}: not begun yet" for a in view.run.arms if a.name not in there]


def _key(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)
