"""What was measured on the network while it moved, over training: elasticity, margins, gradient noise, curvature."""

from collections.abc import Sequence
from typing import Any

from collapselab.records.families import MOVING
from collapselab.report.arms import legend_of, lines_of, sign_of
from collapselab.report.figures import series
from collapselab.report.palette import series_colour
from collapselab.report.quantity_figures import gathered, lines_together, own_words, shared_label
from collapselab.report.sections._section import Choice, Panel, Section
from collapselab.report.sections.collapse import said_of
from collapselab.report.symbols import without_marks
from collapselab.report.view import View
from collapselab.report.words import wrapped


def moving(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None for a single measurement, or where no quantity was measured.
    """
    if not view.rows:
        return None
    choices, headings = {}, []
    for family, title in MOVING.items():
        options = _options(view, family)
        if options:
            slug = f"moving-{family.replace('_', '-')}"
            # Within classes first, wherever that is told: a family may begin with what others are told along.
            shown = next((name for name in options if "intra" in name.split("_")), next(iter(options)))
            choices[slug] = Choice("Number", options, shown)
            headings.append({"slug": slug, "title": title, "legends": _legends(view, family)})
    if not choices:
        return None
    words = {
        "families": headings,
        "arms": legend_of(view),
        "splits": view.splits,
        "marked": view.phase.reached,
        "target": any(_has_target(view, family) for family in MOVING),
    }
    return Section("moving", "How the network moves", "Moving", "moving.html.j2", words, choices=choices)


def _names(view: View, family: str) -> list[str]:
    measured = [name for arm in (view.arms or (view,)) for name in arm.metric_names]
    declared = view.declarations
    return [name for name in dict.fromkeys(measured) if name in declared and declared[name].family == family]


def _groups(view: View, family: str) -> list[tuple[str, ...]]:
    """Numbers of a family, those that share an axis together; in a run of several arms colour is for the arms."""
    names = _names(view, family)
    return [(name,) for name in names] if view.arms else list(gathered(names).values())


def _has_target(view: View, family: str) -> bool:
    """Whether a figure of the family shows a value at collapse."""
    alone = [names[0] for names in _groups(view, family) if len(names) == 1]
    return any(view.declarations[name].at_collapse is not None for name in alone)


def _options(view: View, family: str) -> dict[str, tuple[str, Panel]]:
    options = {}
    for names in _groups(view, family):
        panel = _panel(view, names)
        if panel is not None:
            options[names[0]] = (shared_label(names, view.declarations), panel)
    return options


def _panel(view: View, names: Sequence[str]) -> Panel | None:
    declared = [view.declarations[name] for name in names]
    one = len(names) == 1
    lines = lines_of(view, lambda arm: arm.curves(names[0])) if one else lines_together(view, names)
    if not lines:
        return None
    title, unit = shared_label(names, view.declarations), declared[0].unit
    said = f"{title} over {view.unit}s: {said_of(lines)}."
    figure = series(
        lines,
        title=wrapped(title if unit == "1" else f"{title} ({unit})"),
        target=declared[0].at_collapse if one else None,
        phase=view.phase,
        linear=any(name.endswith("_gap") for name in names),  # a difference beside what it is the difference of
        name_marks=False,
    )
    caption = " ".join(dict.fromkeys(without_marks(each.summary) for each in declared))
    return Panel(figure, said, caption)


def _legends(view: View, family: str) -> list[dict[str, Any]]:
    """Which letter and colour is which number, where several share a figure."""
    together = [names for names in _groups(view, family) if len(names) > 1]
    found = [
        {"role": series_colour(at)[1:], "sign": sign_of(at), "name": own_words(name, names, view.declarations)}
        for names in together
        for at, name in enumerate(names)
    ]
    return [dict(one) for one in dict.fromkeys(tuple(sorted(entry.items())) for entry in found)]
