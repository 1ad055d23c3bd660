"""Any metric over epochs, chosen from a list."""

from collapselab.report.figures import series, split_lines
from collapselab.report.sections._section import Choice, Panel, Section
from collapselab.report.symbols import without_marks
from collapselab.report.view import View
from collapselab.report.words import number, wrapped


def explorer(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None for a single measurement.
    """
    options = {}
    for name in view.ordered_metrics:
        curves, declared = view.curves(name), view.declarations.get(name)
        if not curves or declared is None:
            continue
        lines = split_lines(curves)
        figure = series(lines, title=wrapped(declared.label), target=declared.at_collapse, phase=view.phase)
        ends = "; ".join(f"{c.split} from {number(c.values[0])} to {number(c.values[-1])}" for c in curves)
        panel = Panel(figure, f"{declared.label} over epochs: {ends}.", without_marks(declared.summary))
        options[name] = (f"{declared.label} ({name})", panel)
    if not options:
        return None
    choice = Choice("Metric", options, next(iter(options)))
    words = {"splits": view.splits, "marked": view.phase.reached}
    return Section("explorer", "Any metric over epochs", "Explore", "explorer.html.j2", words, choices={"any": choice})
