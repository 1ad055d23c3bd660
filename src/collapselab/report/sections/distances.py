"""How far a single measurement is from collapse; a run shows the same as curves."""

from collapselab.report.distance_figure import distance_rows
from collapselab.report.sections._section import Panel, Section
from collapselab.report.view import View
from collapselab.report.words import number


def distances(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None for a run, or where no metric with a value at collapse is defined.
    """
    away = {split: _away(view, split) for split in view.splits}
    away = {split: values for split, values in away.items() if values}
    if view.run is not None or not away:
        return None
    names = [name for name in view.ordered_metrics if any(name in values for values in away.values())]
    figure = distance_rows(names, away)
    said = "; ".join(f"{name} {number(value)}" for values in away.values() for name, value in values.items())
    caption = (
        "Every metric that has a value at collapse, by its distance from that value; further left is closer to "
        "collapse. Metrics have scales of their own: read each row by itself, against other measurements of it."
    )
    panel = Panel(figure, f"Distance from the value at collapse, one row a metric: {said}.", caption, "rows")
    return Section("distances", "How far from collapse", "Distance", "distances.html.j2", panels={"distances": panel})


def _away(view: View, split: str) -> dict[str, float]:
    found = {}
    for name, measurement in view.latest[split].measurements.items():
        declared = view.declarations.get(name)
        if declared is not None and declared.at_collapse is not None and measurement.value is not None:
            found[name] = abs(measurement.value - declared.at_collapse)
    return found
