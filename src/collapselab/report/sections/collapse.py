"""NC1 to NC4 over epochs, train beside test, with the start of the terminal phase marked."""

from collapselab.records.phase import TerminalPhase
from collapselab.report.faces import Face
from collapselab.report.figures import series, split_lines
from collapselab.report.sections._section import Panel, Section
from collapselab.report.view import View
from collapselab.report.words import number, wrapped


def collapse(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None for a single measurement.
    """
    if not view.rows:
        return None
    panels = {}
    for face, name in view.faces:
        panel = _panel(view, face, name)
        if panel is not None:
            panels[face.code.lower()] = panel
    if not panels:
        return None
    words = {
        "phase": phase_sentence(view.phase),
        "splits": view.splits,
        "marked": view.phase.reached,
        "numbers": _numbers(view),
    }
    return Section("collapse", "Collapse over epochs", "Collapse", "collapse.html.j2", words, panels)


def _panel(view: View, face: Face, name: str) -> Panel | None:
    curves = view.curves(name)
    if not curves:
        return None
    declared = view.declarations[name]
    figure = series(split_lines(curves), title=wrapped(declared.label), target=declared.at_collapse, phase=view.phase)
    ends = "; ".join(f"{c.split} from {number(c.values[0])} to {number(c.values[-1])}" for c in curves)
    target = "" if declared.at_collapse is None else f" At collapse it is {number(declared.at_collapse)}."
    label = (
        f"{face.code}, {declared.label}, over epochs {curves[0].epochs[0]} to {curves[0].epochs[-1]}: {ends}.{target}"
    )
    return Panel(figure, label, f"{face.code}, {face.name}. {face.sentence} {face.look}")


def phase_sentence(phase: TerminalPhase) -> str:
    """Where the terminal phase begins, in words.

    Args:
        phase: From the records.

    Returns:
        One or two sentences.
    """
    first, last = phase.first_zero, phase.last_above
    if first is None:
        return "The training error was above zero at every measured epoch: the terminal phase was not reached."
    if last is None:
        return f"The training error was zero at every measured epoch, from epoch {first:,} on."
    both = f"First measured epoch with zero training error: {first:,}. Last measured epoch above zero: {last:,}."
    if last > first:
        return f"{both} The error came back in between; the shade begins where it was gone for good."
    return f"{both} The shade marks the terminal phase."


def _numbers(view: View) -> dict[str, object]:
    """The same curves as a table, for those who read rather than look."""
    heads = [(face.code, split) for face, _ in view.faces for split in view.splits]
    found: dict[int, dict[tuple[str, str], str]] = {}
    for face, name in view.faces:
        for curve in view.curves(name):
            for epoch, value in zip(curve.epochs, curve.values, strict=True):
                found.setdefault(epoch, {})[face.code, curve.split] = number(value)
    rows = [(f"{epoch:,}", [found[epoch].get(head, "–") for head in heads]) for epoch in sorted(found)]
    return {"heads": heads, "rows": rows}
