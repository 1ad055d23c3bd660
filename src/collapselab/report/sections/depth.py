"""Collapse by depth: metrics from stage to stage of the network, where inner layers were measured."""

import statistics
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from collapselab.records import Observation
from collapselab.report.arms import Group, groups_of, legend_of
from collapselab.report.depth_figure import Profile, depth_figure
from collapselab.report.palette import split_colour, split_dash
from collapselab.report.sections._section import Choice, Panel, Section
from collapselab.report.symbols import without_marks
from collapselab.report.view import View
from collapselab.report.words import number, wrapped

# What the classifier sees, as the last stage.
FEATURES = "features"

# Moments drawn in one figure: more could not be told apart.
_MOST_MOMENTS = 6

_PREFERRED = ("nc1_trace_ratio", "cdnv", "ncc_accuracy", "nc1_pinv", "nc2_max_angle_means", "effective_rank_means")


def depth(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None where no inner layer was measured.
    """
    if not view.inner:
        return None
    stages = [*dict.fromkeys(row.layer for row in view.inner), FEATURES]
    inner = {name for row in view.inner for name in row.result.measurements}
    panels = {name: panel for name in view.ordered_metrics if name in inner and (panel := _panel(view, stages, name))}
    if not panels:
        return None
    first = [name for name in _PREFERRED if name in panels][:2]
    shown = next((name for name in _PREFERRED if name in panels and name not in first), next(iter(panels)))
    options = {name: (f"{view.declarations[name].label} ({name})", panel) for name, panel in panels.items()}
    words = {
        "arms": legend_of(view),
        "splits": view.splits,
        "several": bool(view.arms),
        "poolings": sorted({_pooling(row) for row in view.inner}),
    }
    return Section(
        "depth",
        "Collapse by depth",
        "Depth",
        "depth.html.j2",
        words,
        {f"depth-{name.replace('_', '-')}": panels[name] for name in first},
        {"stages": Choice("Metric", options, shown)},
    )


def _pooling(row: Observation) -> str:
    return (row.result.conditions.layer or "").rpartition(", ")[2]


def _panel(view: View, stages: Sequence[str], name: str) -> Panel | None:
    find = partial(_profiles_of_arms if view.arms else _profiles_of_moments, view, name)
    profiles = [profile for profile in find() if profile.values]
    if not profiles:
        return None
    declared = view.declarations[name]
    figure = depth_figure(stages, profiles, title=wrapped(declared.label), target=declared.at_collapse)
    last = [profile for profile in profiles if profile.strength == 1]
    said = "; ".join(
        f"{profile.name}: {', '.join(f'{stage} {number(value)}' for stage, value in profile.values.items())}"
        for profile in last
    )
    return Panel(figure, f"{declared.label} from stage to stage. {said}.", without_marks(declared.summary))


def _profiles_of_moments(view: View, name: str) -> list[Profile]:
    """The training split at several moments, the others at the last one."""
    found = []
    for at, split in enumerate(view.splits):
        moments = list(dict.fromkeys(view.time_of(row) for row in view.inner if row.split == split))
        for moment in _spread(moments) if at == 0 else moments[-1:]:
            last = moment == moments[-1]
            strength = 1.0 if last else moments.index(moment) / max(len(moments) - 1, 1) * 0.8
            values = _values(view, name, split, moment)
            label = f"{split}, {view.unit} {moment:,}"
            sign = f"{moment:,}" if at == 0 else split
            found.append(Profile(label, values, split_colour(split), split_dash(split), strength, sign))
    return found


def _spread(moments: Sequence[int]) -> list[int]:
    """A few moments, as even as can be on the logarithmic axis of time, first and last among them."""
    if len(moments) <= _MOST_MOMENTS:
        return list(moments)
    places = np.log10(np.asarray(moments, dtype=np.float64) + 1)
    wanted = np.linspace(places[0], places[-1], _MOST_MOMENTS)
    return sorted({moments[int(np.abs(places - place).argmin())] for place in wanted})


def _values(view: View, name: str, split: str, moment: int) -> dict[str, float]:
    found = {}
    for row in (*view.inner, *view.rows):
        if row.split == split and view.time_of(row) == moment:
            measured = row.result.measurements.get(name)
            if measured is not None and measured.value is not None:
                found[row.layer or FEATURES] = measured.value
    return found


def _profiles_of_arms(view: View, name: str) -> list[Profile]:
    """The last moment of every arm, or the median over repetitions."""
    return [
        Profile(f"{sign} {title}, {split}", values, group.colour, split_dash(split), sign=sign if at == 0 else "")
        for group in groups_of(view)
        for at, split in enumerate(view.splits)
        for sign, title, values in _ends(group, name, split)
    ]


def _ends(group: Group, name: str, split: str) -> list[tuple[str, str, Mapping[str, float]]]:
    own = []
    for member in group.members:
        moments = [member.time_of(row) for row in member.inner if row.split == split]
        own.append(_values(member, name, split, moments[-1]) if moments else {})
    if not (group.repeats and len(group.members) > 1):
        return [(s, m.title, values) for s, m, values in zip(group.signs, group.members, own, strict=True)]
    stages = dict.fromkeys(stage for values in own for stage in values)
    middle = {stage: statistics.median(values[stage] for values in own if stage in values) for stage in stages}
    return [(group.sign, f"{group.title}, median", middle)]
