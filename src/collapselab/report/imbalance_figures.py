"""Figures of a prediction under imbalance: the cosine of small classes over the ratio of sizes, and by remedy."""

import math
from collections.abc import Sequence
from typing import Any

from collapselab.records.prediction import Imbalance, ImbalanceSweep, Remedy
from collapselab.report.axes import value_scale
from collapselab.report.figures import Figure, axis, layout
from collapselab.report.words import in_plot, number, significant


def ratio_figure(sweep: ImbalanceSweep, found: Imbalance, *, num_classes: int) -> Figure:
    """Mean cosine between class vectors of small classes as classes become more unequal.

    Args:
        sweep: The cosine at each ratio.
        found: Ratio and threshold, which are marked.
        num_classes: K.

    Returns:
        A figure.
    """
    points = [
        (ratio, cosine)
        for ratio, cosine in zip(sweep.imbalance, sweep.minority_cosine, strict=True)
        if cosine is not None
    ]
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "mean cosine",
        "x": [significant(x) for x, _ in points],
        "y": [significant(y) for _, y in points],
        "line": {"color": "@train", "width": 2.2},
        "hovertemplate": "ratio %{x:.4g}: %{y:.4g}<extra></extra>",
    }
    here = [cosine for ratio, cosine in points if ratio == found.ratio]
    shapes, notes = _threshold(found.threshold, sweep.imbalance[-1])
    ideal = -1 / (num_classes - 1)
    shapes.append(_level(ideal))
    notes.append(_note(0.01, ideal, f"simplex: {number(ideal)}", "@target", xref="paper", yref="y", yanchor="top"))
    return {
        "data": [line, *(_point(found.ratio, value) for value in here)],
        "layout": layout(
            xaxis=axis(title={"text": "largest size / smallest"}, **_across(sweep)),
            yaxis=axis(title={"text": "mean cosine, small classes"}, range=[min(ideal - 0.2, -0.25), 1.08]),
            shapes=shapes,
            annotations=notes,
        ),
    }


def remedy_figure(remedies: Sequence[Remedy], *, num_classes: int) -> Figure:
    """Mean cosine between class vectors of small classes under each remedy.

    Args:
        remedies: At least one with a cosine.
        num_classes: K.

    Returns:
        A figure, as high as its rows need.
    """
    shown = [remedy for remedy in remedies if remedy.minority_cosine is not None]
    names = [in_plot(remedy.title) for remedy in shown]
    values = [significant(remedy.minority_cosine or 0.0) for remedy in shown]
    ideal = -1 / (num_classes - 1)
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": values,
        "y": names,
        "marker": {
            "size": 12,
            "color": ["@bad" if remedy.merged else "@train" for remedy in shown],
            "symbol": ["x" if remedy.merged else "circle" for remedy in shown],
        },
        "hovertemplate": "%{y}: %{x:.4g}<extra></extra>",
        "cliponaxis": False,
    }
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "xref": "x", "x0": ideal, "x1": ideal, "layer": "below"}
    line["line"] = {"color": "@target", "width": 1.5, "dash": "longdash"}
    note = _note(ideal, 1.0, f"simplex: {number(ideal)}", "@target", xref="x", yref="paper", yanchor="bottom")
    low = min(*values, ideal) - 0.12
    return {
        "data": [dots],
        "layout": layout(
            margin={"l": 58, "r": 18, "t": 30, "b": 44},
            xaxis=axis(title={"text": "mean cosine, small classes"}, range=[low, 1.06]),
            yaxis=axis(type="category", autorange="reversed", showline=False, ticks=""),
            shapes=[line],
            annotations=[note],
            height=90 + 38 * len(shown),
        ),
    }


def _across(sweep: ImbalanceSweep) -> dict[str, Any]:
    """The axis of ratios, without room at its ends."""
    ends = (sweep.imbalance[0], sweep.imbalance[-1])
    return value_scale(ends, None).axis | {"type": "log", "range": [math.log10(end) for end in ends]}


def _point(ratio: float, value: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "this problem",
        "x": [ratio],
        "y": [significant(value)],
        "marker": {"color": "@test", "size": 11, "symbol": "diamond", "line": {"color": "@paper", "width": 1.5}},
        "hovertemplate": "this problem: %{y:.4g}<extra></extra>",
    }


def _threshold(at: float | None, end: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A line where small classes merge, and a shade beyond."""
    if at is None:
        return [], []
    across = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    line = {"color": "@mark", "width": 1.4, "dash": "dash"}
    shade = across | {"type": "rect", "x0": at, "x1": end, "fillcolor": "@grid", "opacity": 0.7, "line": {"width": 0}}
    note = _note(math.log10(at), 0.5, f"merged from {number(at, 4)} on", "@muted", xref="x", yref="paper")
    return [shade, across | {"type": "line", "x0": at, "x1": at, "line": line}], [note | {"xshift": 4}]


def _level(y: float) -> dict[str, Any]:
    line = {"color": "@target", "width": 1.5, "dash": "longdash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": y, "y1": y, "line": line}


def _note(x: float, y: float, text: str, colour: str, **where: Any) -> dict[str, Any]:
    note = {"x": x, "y": y, "text": text, "showarrow": False, "bgcolor": "@paper", "xanchor": "left"}
    return note | {"yanchor": "middle", "font": {"size": 12, "color": colour}} | where
