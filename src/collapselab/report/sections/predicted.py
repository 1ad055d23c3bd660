"""What theory predicts of a run, kept in its folder by ``collapselab predict --beside RUN --keep``."""

from typing import Any

from collapselab.records.families import family_place
from collapselab.records.prediction import Prediction
from collapselab.report.prediction_figures import course_figure
from collapselab.report.sections._section import Panel, Section
from collapselab.report.sections.table import source_name
from collapselab.report.symbols import without_marks
from collapselab.report.view import View
from collapselab.report.words import number

# Which courses are drawn, of those that are predicted.
_DRAWN = ("minority_cosine_weights", "minority_cosine_means", "etf_error", "nc3_duality", "weight_norm")
_MOST_DRAWN = 4


def predicted(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None where no prediction beside this run is kept.
    """
    found = view.prediction
    if found is None or found.beside is None:
        return None
    words: dict[str, Any] = {
        "found": found,
        "said": () if found.imbalance is None else found.imbalance.said,
        "rows": _rows(found),
        "stale": _stale(view, found),
        "fitted": [(name.replace("_", " "), number(value, 4)) for name, value in found.beside.fitted.items()],
        "source": source_name(found.source),
    }
    return Section("predicted", "Beside theory", "Theory", "predicted.html.j2", words, _panels(found))


def _stale(view: View, found: Prediction) -> str | None:
    """Up to when the prediction knew the run, if that has gone on since."""
    assert found.beside is not None
    moments = [course.moments[-1] for course in found.beside.courses.values() if course.moments]
    last = max((view.time_of(row) for row in view.rows if row.split == found.beside.split), default=0)
    seen = max(moments, default=0)
    return None if seen == last else f"{found.beside.unit} {seen:,}, and the run is at {last:,}"


def _rows(found: Prediction) -> list[tuple[str, str, str, str]]:
    """Label, key, prediction and measurement of each predicted metric, family by family."""
    assert found.beside is not None
    declared, rows = found.declarations, []
    family = {name: declared[name].family if name in declared else "" for name in found.predicts}
    for name in sorted(family, key=lambda name: family_place(family[name])):
        course = found.beside.courses.get(name)
        came = "not measured" if course is None else "undefined" if course.end is None else number(course.end, 4)
        label = declared[name].label if name in declared else name
        rows.append((label, name, number(found.predicts[name], 4), came))
    return rows


def _panels(found: Prediction) -> dict[str, Panel]:
    assert found.beside is not None
    panels: dict[str, Panel] = {}
    for name in _DRAWN:
        course, declared = found.beside.courses.get(name), found.declarations.get(name)
        if name not in found.predicts or course is None or declared is None or len(panels) == _MOST_DRAWN:
            continue
        expected = found.predicts[name]
        how: dict[str, Any] = {"split": found.beside.split, "unit": found.beside.unit, "title": declared.label}
        figure = course_figure(course, expected, linear=(declared.lower or 0.0) < 0, **how)
        if figure is not None:
            said = f"predicted {number(expected, 4)}, {number(course.end, 4)} at the end"
            caption = f"{without_marks(declared.summary)} {said[0].upper()}{said[1:]}."
            panels[f"predicted-{name.replace('_', '-')}"] = Panel(figure, f"{declared.label}: {said}.", caption)
    return panels
