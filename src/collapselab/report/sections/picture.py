"""The claim in a picture, where the run declares one."""

import statistics
from collections.abc import Sequence
from typing import Any

from collapselab.records import Against, Course, NullBand, Paired
from collapselab.report.arms import legend_of, lines_of, sign_of
from collapselab.report.claim_figures import against_figure, course_figure, null_figure
from collapselab.report.claim_marks import sign_of_trail
from collapselab.report.endings import (
    Endings,
    Trail,
    differences,
    endings_against,
    endings_beside_null,
    endings_paired,
)
from collapselab.report.figures import Line
from collapselab.report.paired_figures import differences_figure, pairs_figure
from collapselab.report.palette import series_colour
from collapselab.report.sections._section import Panel, Section
from collapselab.report.sections.collapse import said_of
from collapselab.report.view import View
from collapselab.report.words import in_plot, number

Words = dict[str, Any]


def picture(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None where no picture is declared or nothing was measured yet.
    """
    chart = None if view.run is None or view.arm is not None else view.run.chart
    if chart is None or not view.rows:
        return None
    if isinstance(chart, Course):
        panels, words = _course(view, chart)
        return Section("picture", "The claim in a picture", "Claim", "picture.html.j2", words, panels)
    if bool(view.arms) == isinstance(chart, NullBand):
        return None
    if isinstance(chart, Against):
        panels, words = _against(view, chart)
    elif isinstance(chart, Paired):
        panels, words = _paired(view, chart)
    else:
        panels, words = _null_band(view, chart)
    return Section("picture", "The claim in a picture", "Claim", "picture.html.j2", words, panels)


def _against(view: View, chart: Against) -> tuple[dict[str, Panel], Words]:
    found = endings_against(view, chart)
    title, across = chart.title or _title(view, chart), chart.words.get(chart.over, chart.over)
    panels = {}
    if found.values:
        figure = against_figure(
            found,
            title=title,
            across=across,
            log_x=chart.log_x,
            references=chart.references,
            powers=chart.powers,
            every=chart.every,
            linear=chart.linear,
        )
        said = "; ".join(f"{trail.name}: {_said(trail, chart, found.places)}" for trail in found.trails)
        panels["claim"] = Panel(figure, f"{title} against {across}. {said}.", _caption(chart, found, across), "square")
    if chart.every:
        rows = [(trail.name, [_ranging(trail), *([_marks(trail)] if chart.mark else [])]) for trail in found.trails]
        heads = ["line", "first and last", *([chart.words.get(chart.mark, chart.mark)] if chart.mark else [])]
        return panels, _words(found, caption=f"{title} against {across}", heads=heads, rows=rows)
    places = sorted({point.at for trail in found.trails for point in trail.points})
    rows = [(_place(at, found.places), [_cell(trail, at) for trail in found.trails]) for at in places]
    return panels, _words(found, caption=f"{title} at the end", heads=[across, *_names(found)], rows=rows)


def _caption(chart: Against, found: Endings, across: str) -> str:
    """What the marks of the picture are."""
    read = ", ".join(f"{number(one.value)} ({one.label})" for one in chart.references)
    caption = "All measured values." if chart.every else "Last measured value of every training."
    if any(trail.marks for trail in found.trails):
        caption += f" Markers: {chart.words.get(chart.mark, chart.mark)}."
    if any(trail.spans for trail in found.trails):
        means = "Strokes are" if found.places else "Lines go through"
        caption += f" {means} means; bars are their {chart.confidence}, from the verdict."
    if read:
        caption += f" Dashed lines: {read}."
    if chart.powers:
        exponents = " and ".join(number(power) for power in dict.fromkeys(chart.powers.values()))
        caption += f" Dotted: the powers {exponents} of the {across}, through the first values, as predicted."
    return caption


def _place(at: float, names: Sequence[str]) -> str:
    return names[int(at)] if names else number(at)


def _said(trail: Trail, chart: Against, names: Sequence[str] = ()) -> str:
    """A trail in words: every value, or of a course its ends and marks."""
    if not chart.every:
        return ", ".join(f"{number(p.value)} at {_place(p.at, names)}" for p in trail.points)
    marked = f", {chart.words.get(chart.mark, chart.mark)} {_marks(trail)}" if trail.marks else ""
    return f"{_ranging(trail)}{marked}"


def _ranging(trail: Trail) -> str:
    """The ends of a course."""
    there = [point for point in trail.points if point.value is not None]
    return " to ".join(f"{number(p.value, 4)} at {number(p.at)}" for p in (there[0], there[-1])) if there else "–"


def _marks(trail: Trail) -> str:
    return ", ".join(number(mark, 5) for mark in trail.marks) or "–"


def _paired(view: View, chart: Paired) -> tuple[dict[str, Panel], Words]:
    found = endings_paired(view, chart)
    away, interval = differences(found), _interval(view, chart)
    title, across = _title(view, chart), chart.words.get(chart.by, chart.by)
    panels = {}
    if found.values:
        said = "; ".join(
            f"{trail.name}: {', '.join(f'{number(p.value)} at {found.places[int(p.at)]}' for p in trail.points)}"
            for trail in found.trails
        )
        figure = pairs_figure(found, title=title, across=across)
        caption = f"Last measured value of every training; what belongs to one {across} is joined."
        panels["claim"] = Panel(figure, f"{title} by {across}. {said}.", caption)
    if away.points:
        panels["differences"] = _differences(chart, away, found, interval, title=title, across=across)
    apart = {point.at: number(point.value) for point in away.points}
    rows = [
        (name, [*(_cell(trail, at) for trail in found.trails), *([apart.get(at, "–")] if away.points else [])])
        for at, name in enumerate(found.places)
    ]
    heads = [across, *_names(found), *(["difference"] if away.points else [])]
    return panels, _words(found, caption=f"{title} at the end", heads=heads, rows=rows)


def _differences(
    chart: Paired,
    away: Trail,
    found: Endings,
    interval: tuple[float, float] | None,
    *,
    title: str,
    across: str,
) -> Panel:
    figure = differences_figure(
        away,
        found.places,
        title="difference",
        across=across,
        interval=interval,
        references=chart.references,
    )
    caption = f"{title}, {away.name}. "
    if interval is None:
        caption += "The verdict holds no interval of the mean (yet)."
    else:
        mean, half = interval
        # A mean of floats that cancel is not exactly 0; beside its interval it is.
        centre = number(mean) if abs(mean) > 1e-6 * half else "0"
        caption += f"Last: their mean {centre} with its {chart.confidence}, ± {number(half)}, from the verdict."
    said = ", ".join(f"{number(p.value)} at {found.places[int(p.at)]}" for p in away.points)
    return Panel(figure, f"Differences by {across}: {said}. {caption}", caption)


def _interval(view: View, chart: Paired) -> tuple[float, float] | None:
    """Mean and half width, as the verdict has them: the page computes no statistics of its own."""
    figures = {} if view.run is None or view.run.verdict is None else view.run.verdict.figures
    mean, half = (figures.get(name) for name in chart.interval)
    if isinstance(mean, (int, float)) and isinstance(half, (int, float)):
        return float(mean), float(half)
    return None


def _null_band(view: View, chart: NullBand) -> tuple[dict[str, Panel], Words]:
    found = endings_beside_null(view, chart)
    course, null = found.trails
    title = _title(view, chart)
    declared = view.declarations.get(chart.metric)
    panels, rows = {}, []
    if course.points:
        last = course.points[-1]
        rows.append(
            (f"{chart.split}, {view.unit} {int(last.at):,}", [number(last.value) if not last.why else last.why])
        )
    if null.values:
        mean = statistics.fmean(null.values)
        rows += [
            (f"{null.name}, lowest of {len(null.values)}", [number(min(null.values))]),
            (f"{null.name}, mean", [number(mean)]),
            (f"{null.name}, highest", [number(max(null.values))]),
            *([(f"{number(chart.part)} of that mean", [number(chart.part * mean)])] if chart.part else []),
        ]
    if course.values:
        figure = null_figure(
            course,
            null,
            title=title,
            split=chart.split,
            unit=view.unit,
            part=chart.part,
            target=None if declared is None else declared.at_collapse,
        )
        said = "; ".join(f"{name}: {cells[0]}" for name, cells in rows)
        caption = (
            f"The line is the {chart.split} split over training. The band is the range of {null.name}, which were"
            " measured at the end alone (points) and are drawn over all of training to compare with."
        )
        panels["claim"] = Panel(figure, f"{title} over {view.unit}s. {said}.", caption, "square")
    words = _words(found, caption=f"{title} at the end", heads=["what", "value"], rows=rows)
    return panels, words | {"legend": []}


def _course(view: View, chart: Course) -> tuple[dict[str, Panel], Words]:
    panels, rows = {}, []
    for name in chart.metrics:
        lines = lines_of(view, lambda one, name=name: [c for c in one.curves(name) if c.split == chart.split])
        declared = view.declarations.get(name)
        if declared is None or not lines:
            continue
        references = chart.references.get(name, ())
        title = f"{declared.label}, {chart.split}"
        read = ", ".join(f"{number(one.value)} ({one.label})" for one in references)
        figure = course_figure(lines, title=title, references=references)
        said = f"{title} over {view.unit}s: {said_of(lines)}.{f' Dashed: {read}.' if read else ''}"
        panels[f"claim-{name.replace('_', '-')}"] = Panel(figure, said, declared.summary)
        rows += [(f"{line.name}: {declared.label}", _ends(line)) for line in lines if not line.faint]
    if chart.together and not view.arms:
        panels |= _together(view, chart)
    words = {"legend": legend_of(view), "gaps": _undefined(view, chart), "rows": rows}
    return panels, words | {"caption": "First and last values", "heads": ["what", "first", "last"]}


def _together(view: View, chart: Course) -> dict[str, Panel]:
    """Several numbers in one figure, named at their last points."""
    lines = []
    for name in chart.together:
        declared = view.declarations.get(name)
        curves = [c for c in view.curves(name) if c.split == chart.split] if declared is not None else []
        label = in_plot(name if declared is None else declared.label)
        lines += [Line(c, label, series_colour(len(lines)), "solid", sign_of(len(lines))) for c in curves]
    if not lines:
        return {}
    figure = course_figure(lines, title=chart.split)
    said = f"{chart.split} over {view.unit}s: {said_of(lines)}."
    names = "; ".join(f"{line.sign}: {line.name}" for line in lines)
    return {"claim-together": Panel(figure, said, f"{names}.")}


def _ends(line: Line) -> list[str]:
    return [number(line.curve.values[0], 4), number(line.curve.values[-1], 4)]


def _undefined(view: View, chart: Course) -> tuple[str, ...]:
    """Why the last value of an arm does not exist."""
    found = []
    for one in view.arms or (view,):
        last = next((row for row in reversed(one.rows) if row.split == chart.split), None)
        for name in chart.metrics if last is not None else ():
            measured = last.result.measurements.get(name)  # pyright: ignore[reportOptionalMemberAccess]
            if measured is not None and measured.undefined is not None:
                found.append(f"{one.title}, {name}: {measured.undefined}")
    return tuple(found)


def _title(view: View, chart: Against | Paired | NullBand) -> str:
    declared = view.declarations.get(chart.metric)
    if declared is not None:
        return f"{declared.label}, {chart.split}"
    return f"{chart.split} {chart.metric}"


def _names(found: Endings) -> list[str]:
    return [trail.name for trail in found.trails]


def _cell(trail: Trail, at: float) -> str:
    """The values at a place; several where trainings share it."""
    here = [point for point in trail.points if point.at == at]
    return ", ".join("undefined" if point.value is None else number(point.value, 4) for point in here) or "–"


def _words(found: Endings, *, caption: str, heads: list[str], rows: list[tuple[str, list[str]]]) -> Words:
    return {
        "legend": [sign_of_trail(at) | {"name": trail.name} for at, trail in enumerate(found.trails)],
        "gaps": found.gaps,
        "caption": caption,
        "heads": heads,
        "rows": rows,
    }
