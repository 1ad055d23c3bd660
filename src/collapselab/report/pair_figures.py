"""Figures of the angles between class means."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from collapselab.report.figures import Figure, axis, layout
from collapselab.report.words import number


def cosine_range(cosines: Iterable[np.ndarray], ideal: float) -> float:
    """How far cosines between different classes stray from the ideal one, over all frames.

    Args:
        cosines: Matrices (k, k).
        ideal: −1/(K−1).

    Returns:
        Half the width of a colour axis, at least 0.05.
    """
    away = (np.abs(matrix[~np.eye(len(matrix), dtype=bool)] - ideal).max(initial=0.0) for matrix in cosines)
    return max(0.05, float(max(away, default=0.0)))


def cosine_map(cosines: np.ndarray, names: Sequence[str], *, ideal: float, reach: float) -> Figure:
    """Heat-map of the cosines between centred class means; the neutral colour is the ideal angle.

    Args:
        cosines: (k, k).
        names: Of the classes.
        ideal: −1/(K−1).
        reach: Half the width of the colour axis, from `cosine_range`.

    Returns:
        A figure.
    """
    k = len(names)
    z = [[None if i == j else round(float(cosines[i, j]), 4) for j in range(k)] for i in range(k)]
    heat: dict[str, Any] = {
        "type": "heatmap",
        "z": z,
        "x": list(names),
        "y": list(names),
        "zmin": ideal - reach,
        "zmax": ideal + reach,
        "colorscale": [[0, "@low"], [0.5, "@middle"], [1, "@high"]],
        "hovertemplate": "classes %{y} and %{x}: cosine %{z:.3f}<extra></extra>",
        "xgap": 1 if k <= 30 else 0,
        "ygap": 1 if k <= 30 else 0,
        "colorbar": {"thickness": 12, "outlinewidth": 0, "title": {"text": "cosine", "side": "right"}},
    }
    ticks = {"type": "category", "showgrid": False, "ticks": "", "showline": False, "tickangle": 0}
    if k > 20:
        ticks["nticks"] = 10
    down = ticks | {"autorange": "reversed", "title": {"text": "class"}}
    return {"data": [heat], "layout": layout(xaxis=axis(title={"text": "class"}, **ticks), yaxis=axis(**down))}


def cosine_bins(cosines: Iterable[np.ndarray], ideal: float) -> dict[str, float]:
    """Bins that hold the cosines of all frames and never split at the ideal one.

    Args:
        cosines: Matrices (k, k).
        ideal: −1/(K−1); a bin is centred on it.

    Returns:
        ``start``, ``end`` and ``size``.
    """
    reach = cosine_range(cosines, ideal)
    size = 2 * reach / 41
    return {"start": ideal - 20.5 * size, "end": ideal + 20.5 * size + 1e-9, "size": size}


def cosine_histogram(cosines: np.ndarray, *, ideal: float, bins: Mapping[str, float]) -> Figure:
    """Histogram of the pairwise cosines with a line at −1/(K−1).

    Args:
        cosines: (k, k).
        ideal: −1/(K−1).
        bins: From `cosine_bins`.

    Returns:
        A figure.
    """
    pairs = cosines[np.triu_indices(len(cosines), k=1)]
    bars = {
        "type": "histogram",
        "x": [round(float(value), 4) for value in pairs],
        "xbins": dict(bins),
        "autobinx": False,
        "marker": {"color": "@train", "line": {"width": 0}},
        "hovertemplate": "cosine %{x}: %{y} pairs<extra></extra>",
    }
    shape = {"type": "line", "xref": "x", "yref": "paper", "x0": ideal, "x1": ideal, "y0": 0, "y1": 1}
    shape["line"] = {"color": "@target", "width": 2, "dash": "longdash"}
    text = f"−1/(K−1) = {number(ideal)}"
    note = {"x": ideal, "y": 1, "xref": "x", "yref": "paper", "yanchor": "bottom", "text": text, "showarrow": False}
    note["font"] = {"size": 12, "color": "@target"}
    return {
        "data": [bars],
        "layout": layout(
            xaxis=axis(title={"text": "cosine between two class means"}, range=[bins["start"], bins["end"]]),
            yaxis=axis(title={"text": "pairs of classes"}, rangemode="tozero"),
            shapes=[shape],
            annotations=[note],
            bargap=0.06,
            margin={"l": 58, "r": 14, "t": 28, "b": 44},
        ),
    }
