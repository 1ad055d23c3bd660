"""Heat-maps of matrices over classes that a run kept, and how a slider moves through them."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from collapselab.records import Declaration
from collapselab.records.numbers import MATRIX
from collapselab.report.figures import Figure, axis, layout
from collapselab.report.view import Snapshot
from collapselab.report.words import in_plot, number, significant, wrapped

MOST_CLASSES = 200
"""Classes up to which a matrix is drawn."""

# Where numbers differ by more than this from moment to moment, one range of colours would show most moments blank.
_ONE_RANGE = 30.0
_GAPS = 30

Range = tuple[float, float]


def matrix_names(snapshots: Sequence[Snapshot], declarations: Mapping[str, Declaration]) -> list[str]:
    """Matrices that a run kept and says something of.

    Args:
        snapshots: By time.
        declarations: What every number of the run says of itself.

    Returns:
        Names of their declarations, in the order of those.
    """
    kept = {name for snapshot in snapshots for name in snapshot.arrays}
    return [name for name in declarations if f"{MATRIX}{name}" in kept and shown(snapshots, name)]


def shown(snapshots: Sequence[Snapshot], name: str) -> list[Snapshot]:
    """Snapshots that hold a matrix that can be drawn.

    Args:
        snapshots: By time.
        name: Name of the declaration of the matrix.

    Returns:
        Those, all of the number of classes of the last.
    """
    key = f"{MATRIX}{name}"
    sizes = {id(s): _size(s.arrays[key]) for s in snapshots if key in s.arrays}
    kept = [s for s in snapshots if 2 <= sizes.get(id(s), 0) <= MOST_CLASSES]
    return [s for s in kept if sizes[id(s)] == sizes[id(kept[-1])]]


def _size(matrix: np.ndarray) -> int:
    return len(matrix) if matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] else 0


def colour_ranges(matrices: Sequence[np.ndarray], declared: Declaration) -> list[Range]:
    """Ends of the colour axis at each moment: the same at all, unless the numbers grow or fall by a large factor.

    Args:
        matrices: The matrix at each moment.
        declared: What it says of itself.

    Returns:
        One pair a moment; about zero where entries can be and are negative.
    """
    ends = [_ends(matrix) for matrix in matrices]
    sizes = [max(abs(low), abs(high)) for low, high in ends]
    negative = any(low < 0 for low, _ in ends)
    if max(sizes) <= _ONE_RANGE * min(size for size in sizes if size > 0 or not any(sizes)):
        ends = [(min(low for low, _ in ends), max(high for _, high in ends))] * len(ends)
    return [_about_zero(end) if negative else _from_lower(end, declared.lower) for end in ends]


def _ends(matrix: np.ndarray) -> Range:
    finite = matrix[np.isfinite(matrix)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _about_zero(ends: Range) -> Range:
    reach = max(abs(ends[0]), abs(ends[1])) or 1.0
    return -significant(reach), significant(reach)


def _from_lower(ends: Range, lower: float | None) -> Range:
    """From the smallest possible value, or zero, where that is near, so that colours can be told as amounts."""
    lower = None if lower is None else max(lower, 0.0)  # nothing is negative here
    low = lower if lower is not None and lower <= ends[0] <= lower + 0.75 * (ends[1] - lower) else ends[0]
    return significant(low), significant(ends[1] if ends[1] > low else low + (abs(low) or 1.0))


def matrix_heat(matrix: np.ndarray, declared: Declaration, *, names: Sequence[str], ends: Range) -> Figure:
    """Heat-map of a matrix over classes: rows from top to bottom, colours from pale to strong, or both ways from zero.

    Args:
        matrix: (k, k); an entry that is not finite stays blank.
        declared: What it says of itself.
        names: Of the classes.
        ends: Ends of the colour axis.

    Returns:
        A figure.
    """
    k = len(matrix)
    both = ends[0] < 0 < ends[1]
    unit = "" if declared.unit == "1" else f" ({declared.unit})"
    heat: dict[str, Any] = {
        "type": "heatmap",
        "z": [[significant(float(x), 4) if np.isfinite(x) else None for x in row] for row in matrix],
        "x": list(names),
        "y": list(names),
        "zmin": ends[0],
        "zmax": ends[1],
        "colorscale": [[0, "@low"], [0.5, "@middle"], [1, "@high"]] if both else [[0, "@middle"], [1, "@low"]],
        "hovertemplate": "class %{y} (row) and class %{x}: %{z:.4g}<extra></extra>",
        "xgap": 1 if k <= _GAPS else 0,
        "ygap": 1 if k <= _GAPS else 0,
        "colorbar": {
            "thickness": 12,
            "outlinewidth": 0,
            "title": {"text": wrapped(f"{declared.label}{unit}", 44), "side": "right"},
        },
    }
    ticks = {"type": "category", "showgrid": False, "ticks": "", "showline": False, "tickangle": 0}
    if k > 20:
        ticks["nticks"] = 10
    down = ticks | {"autorange": "reversed", "title": {"text": "class"}}
    return {"data": [heat], "layout": layout(xaxis=axis(title={"text": "class"}, **ticks), yaxis=axis(**down))}


def class_names(snapshot: Snapshot, k: int, seen: Sequence[int]) -> list[str]:
    """Names of the rows of a matrix.

    Args:
        snapshot: Where it was kept.
        k: Its rows.
        seen: Labels of the classes that were measured.

    Returns:
        Those labels if there are as many, else numbers from 0.
    """
    kept = snapshot.arrays.get("classes", np.asarray(seen))
    labels = kept if len(kept) == k else np.asarray(seen) if len(seen) == k else np.arange(k)
    return [in_plot(str(int(label))) for label in labels]


def packed_matrix(matrix: np.ndarray) -> dict[str, Any]:
    """A matrix as little-endian int16 with one scale; what is not finite is the smallest int16.

    Args:
        matrix: (k, k).

    Returns:
        Plain data.
    """
    finite = np.isfinite(matrix)
    values = np.where(finite, matrix, 0.0).astype(np.float64)
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    whole = np.where(finite, np.round(values / largest * 32767), -32768).astype("<i2")
    return {"scale": float(f"{largest / 32767:.6e}"), "data": base64.b64encode(whole.tobytes()).decode()}


def said_of_matrix(matrix: np.ndarray) -> str:
    """What stands on the diagonal and beside it, for those who cannot see it.

    Args:
        matrix: (k, k).

    Returns:
        A clause.
    """
    own, others = np.diagonal(matrix), matrix[~np.eye(len(matrix), dtype=bool)]
    own, others = own[np.isfinite(own)], others[np.isfinite(others)]
    parts = [(own, "on the diagonal"), (others, "between classes")]
    return ", ".join(f"mean {number(float(values.mean()))} {where}" for values, where in parts if values.size)
