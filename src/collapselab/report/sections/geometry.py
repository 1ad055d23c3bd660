"""The simplex: features in space, cosines between class means, and their histogram, moved by one slider."""

from typing import Any

import numpy as np

from collapselab.report.frames import pack, with_cosines
from collapselab.report.pair_figures import cosine_bins, cosine_histogram, cosine_map, cosine_range
from collapselab.report.sections._section import Panel, Section
from collapselab.report.view import View
from collapselab.report.words import number


def geometry(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None for a single measurement, which keeps no arrays.
    """
    if view.run is None or view.arms:
        return None
    frames = pack(view)
    if frames is None:
        why = "This run kept no snapshots of its features, so there is nothing to draw."
        return Section("geometry", "Geometry", "Geometry", "geometry.html.j2", {"missing": why})
    panels = _pairs(view) if frames["pairs"] else {}
    words: dict[str, Any] = {
        "missing": None,
        "frames": len(frames["frames"]),
        "when": frames["frames"][-1]["when"],
        "note": frames["frames"][-1]["note"],
        "classes": frames["classes"],
        "space": len(frames["classes"]) >= 2,
        "num_classes": _num_classes(view),
        "no_pairs": None
        if panels
        else "Cosines of all pairs are kept for at most 200 classes; the table has their mean.",
    }
    return Section(
        "geometry",
        "Geometry, checkpoint by checkpoint",
        "Geometry",
        "geometry.html.j2",
        words,
        panels,
        data={"frames": frames},
    )


def _num_classes(view: View) -> int:
    return len(next(iter(view.latest.values())).conditions.classes) if view.latest else 0


def _pairs(view: View) -> dict[str, Panel]:
    kept = with_cosines(view.snapshots)
    matrices = [snapshot.arrays["cosines"] for snapshot in kept]
    last = matrices[-1]
    k = len(last)
    ideal = -1 / (k - 1)
    names = [str(int(label)) for label in kept[-1].arrays.get("classes", np.arange(k))]
    names = names if len(names) == k else [str(i) for i in range(k)]
    pairs = last[np.triu_indices(k, k=1)]
    span = f"from {number(float(pairs.min()))} to {number(float(pairs.max()))}"
    found = f"{len(pairs):,} pairwise cosines {span}, ideal {number(ideal)}"
    heat = cosine_map(last, names, ideal=ideal, reach=cosine_range(matrices, ideal))
    bars = cosine_histogram(last, ideal=ideal, bins=cosine_bins(matrices, ideal))
    return {
        "cosines": Panel(
            heat,
            f"Heat-map of the cosines between the class means at {kept[-1].when}: {found}.",
            "Cosines between class means, after the global mean is taken away. The neutral colour is the ideal "
            f"−1/(K−1) = {number(ideal)}: at collapse the map has no pattern left. A pair that keeps its colour "
            "is a pair of classes that the network still treats as related.",
            "square",
        ),
        "histogram": Panel(
            bars,
            f"Histogram of the same cosines: {found}.",
            "The same cosines, counted. They gather at the dashed line, the angle between the corners of a simplex.",
            "low",
        ),
    }
