"""Elasticity of a network at one moment as a page: heat-maps over classes, means, class by class, origin."""

from typing import Any

import numpy as np

from collapselab.records.elasticity import BetweenClasses, Elasticity
from collapselab.report.matrix_figures import MOST_CLASSES, colour_ranges, matrix_heat, said_of_matrix
from collapselab.report.page import Drawings, page
from collapselab.report.sections import Panel
from collapselab.report.sections.table import source_line
from collapselab.report.symbols import mathml, without_marks
from collapselab.report.words import number

# Classes that get a row in the table.
_MOST_ROWS = 60

_READINGS = {
    "own_residual": (
        "the logits along the residual of the label at uniform probabilities. A network that tells no samples apart has"
        " similarity 1 within classes and −1/(K−1) between them"
    ),
    "single_logit": "the single output of the network",
}


def elasticity_page(found: Elasticity) -> str:
    """The page of a record of elasticity.

    Args:
        found: The record.

    Returns:
        HTML.
    """
    drawings, panels = Drawings(), _panels(found)
    for slug, panel in panels.items():
        drawings.add(slug, panel)
    defined = {name: one for name, one in found.similarities.items() if one.undefined is None}
    first = next(iter(defined), None)
    words = {
        "facts": _facts(found),
        "panels": panels,
        "headings": {f"matrix-{name}": _heading(found, name) for name in defined},
        "few": len(found.classes) <= MOST_CLASSES,
        "cards": [_card(found, name, one) for name, one in defined.items()],
        "notes": found.notes,
        "undefined": [(name, one.undefined) for name, one in found.similarities.items() if one.undefined is not None],
        "rows": [] if first is None else [_row(row) for row in defined[first].rows(found.classes)[:_MOST_ROWS]],
        "first": "" if first is None else found.declarations[first].label,
        "more": max(0, len(found.classes) - _MOST_ROWS),
        "reading": _READINGS[found.reading],
        "sources": [(key, source_line(key)) for key in dict.fromkeys(d.source for d in found.declarations.values())],
        "command": " ".join(("collapselab", *found.provenance.command)) if found.provenance is not None else "",
    }
    return page("elasticity.html.j2", drawings, title=f"Local elasticity: {found.model}", kind="elasticity", **words)


def _heading(found: Elasticity, name: str) -> str:
    label = found.declarations[name].label
    return label[:1].upper() + label[1:]


def _facts(found: Elasticity) -> list[tuple[str, str]]:
    most, least = max(found.counts), min(found.counts)
    each = f"{most}" if most == least else f"{least} to {most}"
    return [
        *([("arm", found.arm)] if found.arm else []),
        ("weights", found.weights),
        ("data", found.data),
        *([("split", found.split)] if found.split else []),
        ("classes", f"{len(found.classes):,}"),
        ("samples of each", each),
        ("trained parameters", f"{found.num_parameters:,}"),
        ("seed", str(found.seed)),
    ]


def _card(found: Elasticity, name: str, one: BetweenClasses) -> dict[str, Any]:
    declared = found.declarations[name]
    unit = "" if declared.unit == "1" else f", in {declared.unit}"
    return {
        "title": _heading(found, name),
        "intra": number(one.intra, 4),
        "inter": number(one.inter, 4),
        "gap": number(one.gap, 4),
        "what": f"{without_marks(declared.summary)[:-1]}{unit}.",
        "symbol": declared.symbol,
        "mathml": mathml(declared.symbol),
    }


def _panels(found: Elasticity) -> dict[str, Panel]:
    names, panels = [str(label) for label in found.classes], {}
    for name, one in found.similarities.items():
        if one.matrix is None or len(names) > MOST_CLASSES:
            continue
        matrix, declared = np.array(one.matrix), found.declarations[name]
        (ends,) = colour_ranges([matrix], declared)
        neutral = "0" if ends[0] < 0 < ends[1] else number(ends[0])
        caption = f"{without_marks(declared.summary)} The neutral colour is {neutral}."
        label = f"Heat-map over classes of {declared.label}: {said_of_matrix(matrix)}."
        panels[f"matrix-{name}"] = Panel(
            matrix_heat(matrix, declared, names=names, ends=ends), label, caption, "square"
        )
    return panels


def _row(row: Any) -> tuple[str, list[str]]:
    cells = [number(row.own, 4), number(row.others, 4), f"{number(row.to_nearest, 4)} (class {row.nearest})"]
    return f"class {row.label}", cells
