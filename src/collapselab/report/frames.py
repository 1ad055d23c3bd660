"""Snapshots packed for the animated figures: 16-bit numbers as base64, a tenth of the size of JSON."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from collapselab.report.view import Snapshot, View
from collapselab.report.words import number

# What the frames of one run may weigh in the page. Beyond, frames are left out evenly.
MOST_BYTES = 2_500_000
_POINTS = ("coordinates", "labels", "centres", "simplex")


def usable(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """Snapshots that hold points on a simplex, all of the same classes.

    Args:
        snapshots: By epoch.

    Returns:
        Those, in their order.
    """
    whole = [s for s in snapshots if all(name in s.arrays for name in _POINTS) and len(s.arrays["simplex"]) >= 2]
    return [s for s in whole if _classes(s) == _classes(whole[-1])]


def with_cosines(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """Snapshots that hold the cosines between class means, all of the same number of classes.

    Args:
        snapshots: By epoch.

    Returns:
        Those, in their order.
    """
    whole = [s for s in snapshots if "cosines" in s.arrays and len(s.arrays["cosines"]) >= 2]
    return [s for s in whole if len(s.arrays["cosines"]) == len(whole[-1].arrays["cosines"])]


def _classes(snapshot: Snapshot) -> list[int]:
    """Labels of the corners that are kept, in the order of the rows."""
    k = len(snapshot.arrays["simplex"])
    return [int(label) for label in snapshot.arrays.get("classes", np.arange(k))[:k]]


def pack(view: View) -> dict[str, Any] | None:
    """The frames of a run for the figures that a slider moves.

    Args:
        view: The run.

    Returns:
        Plain data, or None where no snapshot can be shown.
    """
    points, pairs = usable(view.snapshots), with_cosines(view.snapshots)
    budget = MOST_BYTES if view.arm is None else MOST_BYTES // 2  # a page shows several arms
    chosen = _within_budget([s for s in view.snapshots if s in points or s in pairs], points, budget)
    if not chosen:
        return None
    basis = _span(chosen[-1].arrays["simplex"]) if points else None
    return {
        "classes": [str(label) for label in _classes(points[-1])] if points else [],
        "simplex": [] if basis is None else np.round(points[-1].arrays["simplex"] @ basis, 5).tolist(),
        "pairs": len(pairs[-1].arrays["cosines"]) if pairs else 0,
        "reach": _reach(points, basis),
        "frames": [
            {"when": s.when, "note": _note(view, s)}
            | (_points(s, basis) if basis is not None and s in points else {})
            | ({"cosines": _packed(s.arrays["cosines"][_above(s)])} if s in pairs else {})
            for s in chosen
        ],
    }


def _above(snapshot: Snapshot) -> tuple[np.ndarray, ...]:
    return np.triu_indices(len(snapshot.arrays["cosines"]), k=1)


def _span(simplex: np.ndarray) -> np.ndarray:
    """Orthonormal directions that the corners span: all that a view of these classes can show, at most k - 1."""
    centred = simplex.astype(np.float64) - simplex.mean(0, dtype=np.float64)
    _, s, v = np.linalg.svd(centred, full_matrices=False)
    return v[s > 1e-6 * s[0]].T


def _points(snapshot: Snapshot, basis: np.ndarray) -> dict[str, Any]:
    """One frame's samples, means and classifier rows in the span of the corners."""
    arrays, classes = snapshot.arrays, _classes(snapshot)
    row_of = {label: row for row, label in enumerate(classes)}
    kept = [i for i, label in enumerate(arrays["labels"].tolist()) if label in row_of]
    rows = np.array([row_of[int(arrays["labels"][i])] for i in kept], dtype="<u2")
    found = {"points": _packed(arrays["coordinates"][kept] @ basis), "means": _packed(arrays["centres"] @ basis)}
    if "weight_coordinates" in arrays:
        found["weights"] = _packed(arrays["weight_coordinates"] @ basis)
    return found | {"rows": base64.b64encode(rows.tobytes()).decode()}


def _packed(values: np.ndarray) -> dict[str, Any]:
    """Numbers as little-endian int16 with one scale; the rounding is 1/32767 of the largest."""
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    whole = np.round(np.asarray(values, dtype=np.float64) / largest * 32767).astype("<i2")
    return {"scale": float(f"{largest / 32767:.6e}"), "data": base64.b64encode(whole.tobytes()).decode()}


def unpacked(packed: Mapping[str, Any]) -> np.ndarray:
    """The numbers again, as the page's script reads them.

    Args:
        packed: One packed array.

    Returns:
        A flat array.
    """
    return np.frombuffer(base64.b64decode(packed["data"]), dtype="<i2").astype(np.float64) * packed["scale"]


def _reach(points: Sequence[Snapshot], basis: np.ndarray | None) -> float:
    """Half the side of the cube to show: nearly all samples, but never so wide that the simplex becomes a speck."""
    if basis is None:
        return 1.2
    sizes = [
        np.quantile(np.abs(s.arrays["coordinates"] @ basis), 0.995) for s in points if len(s.arrays["coordinates"])
    ]
    return round(float(np.clip(max(sizes, default=1.2), 1.15, 1.6)), 3)


def _within_budget(snapshots: list[Snapshot], points: Sequence[Snapshot], budget: int) -> list[Snapshot]:
    """Leave out frames evenly until the rest fits the page; first and last stay."""
    if not snapshots:
        return []
    width = len(points[-1].arrays["simplex"]) if points else 0
    sizes = [_weight(s, width) for s in snapshots]
    most = max(2, int(len(snapshots) * min(1.0, budget / max(sum(sizes), 1))))
    keep = np.unique(np.linspace(0, len(snapshots) - 1, min(most, len(snapshots))).round().astype(int))
    return [snapshots[i] for i in keep]


def _weight(snapshot: Snapshot, width: int) -> int:
    """Bytes of a frame in the page: two a number, and a third for base64."""
    arrays = snapshot.arrays
    pairs = len(arrays["cosines"]) ** 2 // 2 if "cosines" in arrays else 0
    return (len(arrays.get("coordinates", ())) * width + pairs) * 8 // 3


def _note(view: View, snapshot: Snapshot) -> str:
    """What the first face of collapse and the error say at this moment, read aloud with the slider."""
    row = view.row_at(snapshot) or next((row for row in view.rows if snapshot.fits(row)), None)
    if row is None:
        return ""
    said = [f"{row.split} error {number(row.error)}"]
    for face, name in view.faces[:1]:
        found = row.result.measurements.get(name)
        if found is not None and found.value is not None:
            said.append(f"{face.code} {number(found.value)}")
    return ", ".join(said)
