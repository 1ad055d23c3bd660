"""Trainings in pairs, and the differences within pairs."""

import math
from collections.abc import Sequence
from typing import Any

from collapselab.records import Reference
from collapselab.report.axes import value_scale
from collapselab.report.claim_marks import crosses, level, markers, reference_marks, scale_with
from collapselab.report.endings import Endings, Point, Trail
from collapselab.report.figures import Figure, axis, layout
from collapselab.report.words import in_plot, number, significant, wrapped


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
            markers(at, trail.name)
            | {
                "x": [significant(x) for _, x in there],
                "y": [significant(point.value or 0.0) for point, _ in there],
                "text": [f"{_name(found, point, across)}: {number(point.value, 4)}" for point, _ in there],
            }
        )
    notes = crosses([Point(x, p.value, p.why) for placed in moved for p, x in placed])
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
    scale = scale_with((*away.values, 0.0, mean - half, mean + half), references, linear=True)
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
    shapes, notes = reference_marks(references, scale)
    shapes.append(level(0.0, "@mark", "solid"))
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


def _column_axis(names: Sequence[str]) -> dict[str, Any]:
    every = max(1, math.ceil(len(names) / 16))
    shown = [at for at in range(len(names)) if at % every == 0 or at == len(names) - 1]
    return {
        "tickvals": shown,
        "ticktext": [in_plot(names[at]) for at in shown],
        "range": [-0.6, len(names) - 0.4],
        "showgrid": False,
    }
