"""Imbalance: class sizes, and how the geometry of large classes differs from that of small ones."""

import math
from collections.abc import Sequence
from typing import Any

from collapselab.records.groups import GROUPS, ClassGroup
from collapselab.report.arms import groups_of, legend_of, lines_of
from collapselab.report.figures import Figure, Line, series
from collapselab.report.rank_figures import Ranked, rank_figure
from collapselab.report.sections._section import Panel, Section
from collapselab.report.sections.collapse import said_of
from collapselab.report.symbols import without_marks
from collapselab.report.uneven import Uneven, uneven
from collapselab.report.view import View
from collapselab.report.words import number, wrapped

MERGED = "merged_classifiers"

# Arms whose classes are drawn by size: more lines could not be told apart.
_MOST_ARMS = 12

# Height of a figure between its margins and distance of two lines of text, in pixels.
_HEIGHT, _APART = 270, 14

_KINDS = {"weights": "rows of the classifier", "means": "class means"}

# Key, name, colour and dash of the pairs whose cosines are drawn.
_PAIRS = (
    ("head_group_cosine", "head", "@c0", "solid"),
    ("tail_group_cosine", "tail", "@c1", "dash"),
    ("head_tail_cosine", "between", "@c3", "dot"),
)


def imbalance(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None where classes are equally large.
    """
    found = [one for arm in (view.arms or (view,)) if (one := uneven(arm)) is not None]
    if not found:
        return None
    panels = _of_arms(view) if view.arms else _of_one(found[0])
    words: dict[str, Any] = {
        "split": found[0].split,
        "arms": legend_of(view),
        "lead": _lead(found),
        "table": None if view.arms else _table(found[0]),
        "merged": None if view.arms else _merged_said(found[0]),
    }
    return Section("imbalance", "Imbalance", "Imbalance", "imbalance.html.j2", words, panels)


def _lead(found: Sequence[Uneven]) -> str:
    ratios = [one.counts[0] / one.counts[-1] for one in found]
    if found[0].view.arm is not None:
        arms = "In one arm" if len(found) == 1 else f"In {len(found)} arms"
        return f"{arms} classes differ in size: the largest has {_span(ratios)} times the samples of the smallest."
    one = found[0]
    first, *others = [(one.groups.count(group), group) for group in GROUPS if group in one.groups]
    rest = " and ".join(f"{many:,} the {group}" for many, group in others)
    return (
        f"Classes of the {one.split} split have {one.counts[-1]:,} to {one.counts[0]:,} samples, a ratio of "
        f"{number(ratios[0])}. By size, {first[0]:,} of the {len(one.counts):,} classes are the {first[1]}, {rest}."
    )


def _span(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


# ------------------------------------------------------------------------------------------------ one training
def _of_one(one: Uneven) -> dict[str, Panel]:
    panels = {"imbalance-sizes": _sizes([Ranked("samples", one.counts, one.names, "@c6")], one.groups)}
    for kind in _KINDS:
        panel = _cosines(one, kind)
        if panel is not None:
            panels[f"imbalance-{kind}"] = panel
    norms = _norms(one)
    if norms is not None:
        panels["imbalance-norms"] = norms
    merged = one.curve(MERGED)
    if merged and max(merged[0].values) > 0:
        panels["imbalance-merged"] = _over_time(one.view, MERGED, [Line(merged[0], one.split, "@c1", "solid")])
    return panels


def _sizes(lines: Sequence[Ranked], groups: Sequence[ClassGroup] = ()) -> Panel:
    label = "; ".join(f"{line.name} from {number(line.values[0])} to {number(line.values[-1])}" for line in lines)
    caption = (
        "Samples of each class, largest first. Head, medium and tail are the thirds of the classes in this order; "
        "classes of the same size stay together."
    )
    return Panel(
        rank_figure(lines, title="samples", groups=groups), f"Class sizes, largest first: {label}.", caption, "low"
    )


def _cosines(one: Uneven, kind: str) -> Panel | None:
    """Mean cosines within the head, within the tail and between them, over time."""
    lines = [
        Line(curve, name, colour, dash, name)
        for stem, name, colour, dash in _PAIRS
        for curve in one.curve(f"{stem}_{kind}")
    ]
    if not lines:
        return None
    ideal = -1 / (len(one.counts) - 1)
    figure = _signs_apart(
        series(lines, title=f"mean cosine, {kind}", target=ideal, target_name="−1/(K−1)", linear=True)
    )
    caption = (
        f"Mean cosine between the {_KINDS[kind]} of two classes of the head, of two of the tail, and of one of each. "
        "On a simplex all three are at the line."
    )
    if kind == "weights":
        caption += " A line of the tail that climbs to 1 is minority collapse."
    return Panel(figure, f"Mean cosine between {_KINDS[kind]} over time: {said_of(lines)}.", caption)


def _signs_apart(figure: Figure) -> Figure:
    """Words at the ends of lines need more room than letters: a wider margin, and none on top of another."""
    low, high = figure["layout"]["yaxis"]["range"]
    signs = sorted((note for note in figure["layout"]["annotations"] if "xshift" in note), key=lambda note: note["y"])
    lowest, moved = -math.inf, {}
    for note in signs:
        place = (note["y"] - low) / (high - low) * _HEIGHT
        lowest = max(place, lowest + _APART)
        moved[note["text"]] = note | {"yshift": round(lowest - place)}
    notes = [moved.get(note["text"], note) for note in figure["layout"]["annotations"]]
    margin = figure["layout"]["margin"] | {"r": 62}
    return figure | {"layout": figure["layout"] | {"margin": margin, "annotations": notes}}


def _norms(one: Uneven) -> Panel | None:
    given = (("class_weight_norm", "weights", "@c4", "dash"), ("class_mean_norm", "means", "@c2", "solid"))
    lines = [
        Ranked(sign, values, one.names, colour, dash, sign)
        for name, sign, colour, dash in given
        if (values := one.ranked(name))
    ]
    if not lines:
        return None
    figure = rank_figure(lines, title="norm / root mean square", groups=one.groups, target=1.0)
    ends = "; ".join(f"{line.name} from {number(line.values[0])} to {number(line.values[-1])}" for line in lines)
    caption = (
        "Norms of the centred class means and of the rows of the classifier, each over its root mean square, at the "
        "last measurement. At collapse of equal classes all are 1; small classes tend to have short rows."
    )
    return Panel(figure, f"Norms of classes, largest class first: {ends}.", caption)


def _table(one: Uneven) -> dict[str, Any]:
    """One row a group, and what lies between head and tail."""
    splits = [split for split in one.view.latest if "class_accuracy" in one.view.latest[split].per_class]
    heads = ["classes", "samples", "cos, means", "cos, weights", "norm, means", "norm, weights", "NC1"]
    heads += [f"accuracy, {split}" for split in splits]
    rows = [(group, _cells(one, group, splits)) for group in GROUPS if group in one.groups]
    across = [number(one.value(f"head_tail_{key}")) for key in ("cosine_means", "cosine_weights")]
    ratios = [number(one.value(f"head_tail_norm_ratio_{kind}")) for kind in ("means", "weights")]
    empty = ["–"] * (1 + len(splits))
    rows.append(("head\u00a0to\u00a0tail", ["–", "–", *across, *(f"× {ratio}" for ratio in ratios), *empty]))
    return {"heads": heads, "rows": rows}


def _cells(one: Uneven, group: ClassGroup, splits: Sequence[str]) -> list[str]:
    sizes = [count for count, own in zip(one.counts, one.groups, strict=True) if own == group]
    keys = ("cosine_means", "cosine_weights", "trace_ratio")
    means, weights, ratio = (number(one.value(f"{group}_group_{key}")) for key in keys)
    norms = [number(one.mean(name, group, one.split)) for name in ("class_mean_norm", "class_weight_norm")]
    right = [number(one.mean("class_accuracy", group, split)) for split in splits]
    return [f"{len(sizes):,}", _sizes_said(sizes), means, weights, *norms, ratio, *right]


def _sizes_said(sizes: Sequence[int]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _merged_said(one: Uneven) -> tuple[str, str] | None:
    """How many classes have merged, and what that means."""
    found, declared = one.value(MERGED), one.view.declarations.get(MERGED)
    if found is None or declared is None:
        return None
    many = number(found) if found else "none"
    return f"{declared.label}: {many} of {len(one.counts):,}", without_marks(declared.summary)


# ------------------------------------------------------------------------------------------------ several arms
def _of_arms(view: View) -> dict[str, Panel]:
    """Sizes of the classes of each arm, what becomes of the tail, and the norms of the rows at the end."""
    panels = {"imbalance-sizes": _sizes(_ranked_arms(view, None))}
    for name in ("tail_group_cosine_weights", "tail_group_cosine_means", MERGED):
        lines = lines_of(view, lambda arm, name=name: found.curve(name) if (found := uneven(arm)) is not None else [])
        if lines and (name != MERGED or max(max(line.curve.values) for line in lines) > 0):
            panels[f"imbalance-{name.replace('_', '-')}"] = _over_time(view, name, lines)
    norms = _ranked_arms(view, "class_weight_norm")
    if norms:
        figure = rank_figure(norms, title="norm of weights / rms", target=1.0)
        caption = "Norm of each row of the classifier over their root mean square, at the last measurement of each arm."
        ends = "; ".join(f"{line.name} from {number(line.values[0])} to {number(line.values[-1])}" for line in norms)
        panels["imbalance-norms"] = Panel(figure, f"Norms of rows, largest class first: {ends}.", caption)
    return panels


def _ranked_arms(view: View, name: str | None) -> list[Ranked]:
    """A line for each uneven arm: class sizes, or a number per class. One stands for its repetitions."""
    found = []
    for group in groups_of(view):
        members = group.members[:1] if group.repeats else group.members
        for arm, sign in zip(members, group.signs, strict=False):
            one = uneven(arm)
            values = [] if one is None else list(one.counts) if name is None else one.ranked(name)
            if one is not None and values:
                found.append(Ranked(f"{sign} {arm.title}", values, one.names, group.colour, sign=sign))
    return found[:_MOST_ARMS]


def _over_time(view: View, name: str, lines: Sequence[Line]) -> Panel:
    declared = view.declarations[name]
    k = len(next(iter(view.latest.values())).conditions.classes)
    cosine = "_cosine_" in name
    figure = series(
        lines,
        title=wrapped(declared.label),
        target=-1 / (k - 1) if cosine else declared.at_collapse,
        target_name="−1/(K−1)" if cosine else "at collapse",
        linear=True,
    )
    return Panel(figure, f"{declared.label} over time: {said_of(lines)}.", without_marks(declared.summary))
