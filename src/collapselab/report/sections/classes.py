"""One bar a class, and which class lags behind."""

from collections.abc import Sequence

from collapselab.records import Declaration, PerClass
from collapselab.report.class_figures import MOST_BARS, class_bars, worst_class
from collapselab.report.sections._section import Choice, Panel, Section
from collapselab.report.symbols import without_marks
from collapselab.report.view import View
from collapselab.report.words import number

Given = dict[str, tuple[Sequence[int], PerClass]]


def classes(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None if no metric has a value for each class.
    """
    if view.arms:
        return None
    options, worst = {}, []
    names = dict.fromkeys(name for measured in view.latest.values() for name in measured.per_class)
    for name in names:
        given = _given(view, name)
        declared = view.declarations.get(name)
        if not given or declared is None:
            continue
        panel, said = _panel(given, declared)
        options[name] = (declared.label, panel)
        worst.append((declared.label, name, said))
    if not options:
        return None
    shown = next((name for name in options if view.declarations[name].family == "ratio"), next(iter(options)))
    choice = Choice("Quantity", options, shown)
    return Section(
        "classes", "Class by class", "Classes", "classes.html.j2", {"worst": worst}, choices={"bars": choice}
    )


def _given(view: View, name: str) -> Given:
    found = {}
    for split, measured in view.latest.items():
        per_class = measured.per_class.get(name)
        if per_class is not None and per_class.values:
            found[split] = (measured.conditions.classes, per_class)
    return found


def _panel(given: Given, declared: Declaration) -> tuple[Panel, str]:
    said = " ".join(extremes(c, found.values or (), declared.at_collapse, split) for split, (c, found) in given.items())
    worst = {split: _worst_label(c, found.values or (), declared.at_collapse) for split, (c, found) in given.items()}
    figure = class_bars(given, declared, worst=worst)
    most = max(len(labels) for labels, _ in given.values())
    cut = f" Of {most:,} classes the {MOST_BARS} farthest from their target are drawn." if most > MOST_BARS else ""
    outlined = " The bar of the worst class is outlined." if any(label is not None for label in worst.values()) else ""
    caption = f"{without_marks(declared.summary)} {said}{outlined}{cut}"
    return Panel(figure, f"{declared.label}, one bar a class. {said}", caption), said


def _worst_label(labels: Sequence[int], values: Sequence[float], target: float | None) -> int | None:
    at = worst_class(values, target)
    return None if at is None else labels[at]


def extremes(labels: Sequence[int], values: Sequence[float], target: float | None, split: str) -> str:
    """Name the worst class, or both ends where collapse fixes no target.

    Args:
        labels: Of the classes.
        values: One a class.
        target: Value at collapse.
        split: Which data.

    Returns:
        A sentence.
    """
    at = worst_class(values, target)
    if target is not None and at is None:
        return f"On {split} every class is at its target, {number(target)}."
    if at is not None:
        away = (
            ""
            if target == 0
            else f", {number(abs(values[at] - (target or 0.0)))} from {number(target)}, its value at collapse"
        )
        return f"Worst on {split}: class {labels[at]} with {number(values[at], 4)}{away}."
    low, high = min(range(len(values)), key=values.__getitem__), max(range(len(values)), key=values.__getitem__)
    return (
        f"On {split}: lowest in class {labels[low]} ({number(values[low])}), "
        f"highest in class {labels[high]} ({number(values[high])}); collapse asks for no particular value."
    )
