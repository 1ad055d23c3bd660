"""Figures with one bar a class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from collapselab.records import Declaration, PerClass
from collapselab.report.figures import Figure, axis, layout
from collapselab.report.palette import split_colour
from collapselab.report.words import number, significant, wrapped

# Bars of single classes are legible up to this many; beyond, the classes farthest from their target are drawn.
MOST_BARS = 60


def worst_class(values: Sequence[float], target: float | None) -> int | None:
    """Which class is farthest from its value at collapse.

    Args:
        values: One a class.
        target: Value at collapse; None where collapse fixes none.

    Returns:
        Its position, or None where there is no target or all classes are at it.
    """
    if target is None or not values:
        return None
    away = [abs(value - target) for value in values]
    return int(np.argmax(away)) if max(away) > 0 else None


def class_bars(
    given: Mapping[str, tuple[Sequence[int], PerClass]], declaration: Declaration, *, worst: Mapping[str, int | None]
) -> Figure:
    """One bar a class, splits side by side: its distance from the value at collapse, or the value where none is fixed.

    Args:
        given: Split to its classes and values; values must be defined.
        declaration: What the metric says of itself.
        worst: Split to the label of the class to point at.

    Returns:
        A figure.
    """
    target = declaration.at_collapse
    shown = _classes_to_show(given, target)
    traces = []
    for split, (classes, found) in given.items():
        values = dict(zip(classes, found.values or (), strict=True))
        here = [label for label in shown if label in values]
        traces.append(
            {
                "type": "bar",
                "name": split,
                "x": [str(label) for label in here],
                "y": [significant(values[label] if target is None else abs(values[label] - target)) for label in here],
                "text": [f"class {label}: {number(values[label], 4)}" for label in here],
                "textposition": "none",
                "marker": _bar_marker(split, here, worst.get(split)),
                "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
            }
        )
    title = wrapped(declaration.label) if not target else f"distance from {number(target)}"
    return {
        "data": traces,
        "layout": layout(
            barmode="group",
            bargap=0.25,
            xaxis=axis(
                type="category", title={"text": "class"}, tickangle=0 if len(shown) <= 24 else -90, showgrid=False
            ),
            yaxis=axis(title={"text": title}, rangemode="tozero"),
        ),
    }


def _bar_marker(split: str, classes: Sequence[int], worst: int | None) -> dict[str, Any]:
    """Test bars are hatched, the worst class is outlined: neither rests on colour alone."""
    colour = split_colour(split)
    widths = [2.5 if label == worst else 0 for label in classes]
    hatch = {} if split == "train" else {"pattern": {"shape": "/", "size": 5, "solidity": 0.35}}
    return {"color": colour, "line": {"color": "@ink", "width": widths}} | hatch


def _classes_to_show(given: Mapping[str, tuple[Sequence[int], PerClass]], target: float | None) -> list[int]:
    labels = sorted({label for classes, _ in given.values() for label in classes})
    if len(labels) <= MOST_BARS:
        return labels
    away = dict.fromkeys(labels, 0.0)
    for classes, found in given.values():
        for label, value in zip(classes, found.values or (), strict=True):
            away[label] = max(away[label], abs(value - (target or 0.0)))
    return sorted(sorted(labels, key=lambda label: -away[label])[:MOST_BARS])
