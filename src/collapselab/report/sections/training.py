"""Loss, error and learning rate over epochs."""

from functools import partial

from collapselab.report.arms import legend_of, lines_of
from collapselab.report.figures import series
from collapselab.report.sections._section import Panel, Section
from collapselab.report.sections.collapse import said_of
from collapselab.report.view import Curve, View

_COLUMNS = (
    (
        "loss",
        "loss",
        "Loss on the whole split in eval mode. Cross-entropy can go on falling after the error has reached zero.",
    ),
    ("error", "error (fraction)", "Error: the fraction of samples that the classifier gets wrong."),
    (
        "learning_rate",
        "learning rate",
        "Learning rate of the last step taken. Its cuts show as bends in the other curves.",
    ),
)


def training(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None for a single measurement.
    """
    panels = {}
    for name, title, caption in _COLUMNS:
        lines = lines_of(view, partial(_curves, name))
        if not lines:
            continue
        figure = series(lines, title=title, phase=view.phase, name_marks=False)
        panels[name.replace("_", "-")] = Panel(figure, f"{title} over {view.unit}s: {said_of(lines)}.", caption, "low")
    if not panels:
        return None
    return Section(
        "training",
        "Training",
        "Training",
        "training.html.j2",
        {"arms": legend_of(view), "splits": view.splits, "marked": view.phase.reached},
        panels,
    )


def _curves(name: str, view: View) -> list[Curve]:
    curves = view.column(name)
    return curves[:1] if name == "learning_rate" else curves  # the rate is the same for every split
