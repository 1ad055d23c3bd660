"""Loss, error and learning rate over epochs."""

from collapselab.report.figures import series, split_lines
from collapselab.report.sections._section import Panel, Section
from collapselab.report.view import View
from collapselab.report.words import number

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
        curves = view.column(name)
        if not curves:
            continue
        if name == "learning_rate":
            curves = curves[:1]  # the same for every split
        figure = series(split_lines(curves), title=title, phase=view.phase, name_marks=False)
        ends = "; ".join(f"{c.split} from {number(c.values[0])} to {number(c.values[-1])}" for c in curves)
        panels[name.replace("_", "-")] = Panel(figure, f"{title} over epochs: {ends}.", caption, "low")
    if not panels:
        return None
    return Section(
        "training",
        "Training",
        "Training",
        "training.html.j2",
        {"splits": view.splits, "marked": view.phase.reached},
        panels,
    )
