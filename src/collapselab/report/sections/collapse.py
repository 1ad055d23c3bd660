"""NC1 to NC4 over epochs, train beside test, with the start of the terminal phase marked."""

from collections.abc import Sequence

from collapselab.records.phase import TerminalPhase
from collapselab.report.arms import legend_of, lines_of
from collapselab.report.faces import Face
from collapselab.report.figures import Line, series
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
        "phase": "Each arm has its own terminal phase." if view.arms else phase_sentence(view.phase, view.unit),
        "unit": view.unit,
        "arms": legend_of(view),
        "splits": view.splits,
        "marked": view.phase.reached,
        "numbers": None if view.arms else _numbers(view),
    }
    return Section("collapse", f"Collapse over {view.unit}s", "Collapse", "collapse.html.j2", words, panels)


def _panel(view: View, face: Face, name: str) -> Panel | None:
    lines = lines_of(view, lambda one: one.curves(name))
    if not lines:
        return None
    declared, moments = view.declarations[name], lines[0].curve.moments
    figure = series(lines, title=wrapped(declared.label), target=declared.at_collapse, phase=view.phase)
    ends = said_of(lines)
    target = "" if declared.at_collapse is None else f" At collapse it is {number(declared.at_collapse)}."
    label = f"{face.code}, {declared.label}, over {view.unit}s {moments[0]} to {moments[-1]}: {ends}.{target}"
    return Panel(figure, label, f"{face.code}, {face.name}. {face.sentence} {face.look}")


def said_of(lines: Sequence[Line]) -> str:
    """First and last value of each curve, for those who cannot see it.

    Args:
        lines: What is drawn; single repetitions are left out.

    Returns:
        A clause for each.
    """
    shown = [line for line in lines if not line.faint]
    return "; ".join(
        f"{line.name} from {number(line.curve.values[0])} to {number(line.curve.values[-1])}" for line in shown
    )


def phase_sentence(phase: TerminalPhase, unit: str = "epoch") -> str:
    """Where the terminal phase begins, in words.

    Args:
        phase: From the records.
        unit: What it is counted in.

    Returns:
        One or two sentences.
    """
    first, last = phase.first_zero, phase.last_above
    if first is None:
        return f"The training error was above zero at every measured {unit}: the terminal phase was not reached."
    if last is None:
        return f"The training error was zero at every measured {unit}, from {unit} {first:,} on."
    both = f"First measured {unit} with zero training error: {first:,}. Last measured {unit} above zero: {last:,}."
    if last > first:
        return f"{both} The error came back in between; the shade begins where it was gone for good."
    return f"{both} The shade marks the terminal phase."


def _numbers(view: View) -> dict[str, object]:
    """The same curves as a table, for those who read rather than look."""
    heads = [(face.code, split) for face, _ in view.faces for split in view.splits]
    found: dict[int, dict[tuple[str, str], str]] = {}
    for face, name in view.faces:
        for curve in view.curves(name):
            for moment, value in zip(curve.moments, curve.values, strict=True):
                found.setdefault(moment, {})[face.code, curve.split] = number(value)
    rows = [(f"{at:,}", [found[at].get(head, "–") for head in heads]) for at in sorted(found)]
    return {"heads": heads, "rows": rows}
