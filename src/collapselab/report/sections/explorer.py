"""Any metric over epochs, chosen from a list."""

from functools import partial

from collapselab.report.arms import legend_of, lines_of
from collapselab.report.figures import series
from collapselab.report.sections._section import Choice, Panel, Section
from collapselab.report.sections.collapse import said_of
from collapselab.report.symbols import without_marks
from collapselab.report.view import Curve, View
from collapselab.report.words import wrapped


def explorer(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None for a single measurement.
    """
    options = {}
    for name in view.ordered_metrics:
        lines, declared = lines_of(view, partial(_curves, name)), view.declarations.get(name)
        if not lines or declared is None:
            continue
        figure = series(lines, title=wrapped(declared.label), target=declared.at_collapse, phase=view.phase)
        label = f"{declared.label} over {view.unit}s: {said_of(lines)}."
        panel = Panel(figure, label, without_marks(declared.summary))
        options[name] = (f"{declared.label} ({name})", panel)
    if not options:
        return None
    choice = Choice("Metric", options, next(iter(options)))
    words = {"arms": legend_of(view), "splits": view.splits, "marked": view.phase.reached}
    title = f"Any metric over {view.unit}s"
    return Section("explorer", title, "Explore", "explorer.html.j2", words, choices={"any": choice})


def _curves(name: str, view: View) -> list[Curve]:
    return view.curves(name)
