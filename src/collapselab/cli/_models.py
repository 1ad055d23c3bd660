"""What a model of theory says of itself, for `collapselab describe`."""

import dataclasses
import inspect
import re
from typing import Any

from collapselab.cli._parsing import default_of, field_docs, plainly, sections
from collapselab.cli._table import columns, paragraph
from collapselab.core.cite import references


def model_document(model: Any) -> dict[str, Any]:
    """A registered model as plain data.

    Args:
        model: An entry of the registry of models.

    Returns:
        What it is, its settings, and what its first example states.
    """
    from collapselab.theory import answered

    example = model.cls.examples()[0]
    landscape = model.kind == "landscape"
    losses = [loss for loss, models in answered().items() if model in models]
    return {
        "kind": "model",
        "name": model.name,
        "title": model.label,
        "states": model.kind,
        "source": model.source,
        "documentation": sections(inspect.getdoc(model.cls) or "")["text"],
        "fields": _fields(model.cls),
        "assumptions": list(example.assumptions),
        "attained": example.attained if landscape else None,
        "benign": example.benign if landscape else None,
        "thresholds": example.thresholds() if landscape else {},
        "thresholds_say": first_paragraph(type(example).thresholds) if landscape else "",
        "losses": losses,
        "python": f"from collapselab.theory import {model.cls.__name__}",
    }


def first_paragraph(function: Any) -> str:
    """What a documented thing says first.

    Args:
        function: The thing.

    Returns:
        One line.
    """
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")


def _fields(cls: type) -> list[dict[str, Any]]:
    words = field_docs(cls)
    return [
        {
            "name": entry.name,
            "type": re.sub(r"[\w.]+\.(\w+)", r"\1", inspect.formatannotation(entry.type)),
            "default": default if isinstance(default := default_of(entry), (bool, int, float, str)) else None,
            "help": words.get(entry.name, ""),
        }
        for entry in dataclasses.fields(cls)
    ]


def model_text(document: dict[str, Any]) -> str:
    """The same for people.

    Args:
        document: What `model_document` gave.

    Returns:
        Lines.
    """
    prose = "\n\n".join(paragraph(part) for part in document["documentation"].split("\n\n"))
    blocks = [f"{document['name']}: {document['title']} (a model, {document['states']})", prose]
    blocks.append("\n".join(["assumes", *(paragraph(said, indent="  ") for said in document["assumptions"])]))
    if document["attained"] is not None:
        blocks.append(_answers(document))
    if document["thresholds"]:
        rows = [(name, f"{value:.6g}") for name, value in document["thresholds"].items()]
        said = paragraph(document["thresholds_say"].replace("$", ""), indent="  ")
        blocks.append(f"thresholds, of an example\n{columns(rows, indent='  ')}\n{said}")
    lines = [
        f"  {field['name']}: {field['type']}\n{paragraph(plainly(field['help']), indent='      ')}"
        for field in document["fields"]
    ]
    blocks.append("\n".join(["settings", *lines]))
    asked = [f"  collapselab predict --loss {loss} ..." for loss in document["losses"]]
    blocks.append("\n".join(["use", *asked, f"  {document['python']}"]))
    blocks.append(f"source\n  {references()[document['source']].line}")
    return "\n\n".join(blocks)


def _answers(document: dict[str, Any]) -> str:
    attained = "is attained" if document["attained"] else "is not attained"
    benign = "every local minimiser is a global one" if document["benign"] else "there may be worse local minimisers"
    return f"answers\n  the infimum {attained}; {benign} (in an example)"
