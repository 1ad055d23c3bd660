"""`collapselab describe`: what a metric, a recipe, a part, a quantity, a model or a source is."""

import dataclasses
import inspect
import math
import re
from typing import Any

from collapselab.cli._answer import Answer
from collapselab.cli._catalogue import PARTS, find
from collapselab.cli._models import model_document, model_text
from collapselab.cli._parsing import default_of, field_docs, parsed, parser_of, plainly, sections
from collapselab.cli._quantities import quantity_document, quantity_text
from collapselab.cli._table import columns, number, paragraph
from collapselab.core.cite import Reference, references

# A limit may depend on the numbers of classes and features; it is told for these.
_SIZES = ((10, 512), (100, 512), (1000, 512))


def answer(arguments: list[str]) -> Answer:
    """Describe one thing; where a model is called like it, that as well.

    Args:
        arguments: What came after the verb.

    Returns:
        Everything it says of itself, and ``also`` what else is called so.
    """
    parser = parser_of("describe", "What a metric, a recipe, a part of a recipe, a quantity, a model or a source is.")
    parser.add_argument("name", type=str, metavar="NAME", help="collapselab list shows what there is")
    parser.add_argument(
        "--kind", type=str, metavar="KIND", help="where to look, such as models; everywhere if not given"
    )
    asked = parsed(parser, arguments)
    first, *others = [_answer(kind, thing) for kind, thing in find(asked.name, asked.kind)]
    also = {"also": [dict(other.document) for other in others]} if others else {}
    return Answer({**first.document, **also}, "\n\n\n".join(one.text for one in (first, *others)))


def _answer(kind: str, thing: Any) -> Answer:
    if kind == "sources":
        return _source(thing)
    if kind == "metrics":
        document = _metric(thing)
        return Answer(document, _metric_text(document))
    if kind == "models":
        document = model_document(thing)
        return Answer(document, model_text(document))
    if kind == "quantities":
        document = quantity_document(thing)
        return Answer(document, quantity_text(document))
    if kind == "recipes":
        document = _configurable("recipe", thing.name, thing.cls, thing.source)
        document |= {"title": thing.title, "claim": thing.claim, "notes": list(thing.notes)}
    else:
        document = _configurable(PARTS[kind], thing.name, thing.make, thing.source)
        document["title"] = thing.label
        document["python"] = f"from collapselab.training.{kind} import {thing.make.__name__}"
    return Answer(document, _configurable_text(document))


# ------------------------------------------------------------------------------------------------ sources


def _source(source: Reference) -> Answer:
    document = {"kind": "source", "name": source.key, "line": source.line, "fields": dict(source.fields)}
    return Answer(document, f"{source.line}\n\n{source.bibtex}")


# ------------------------------------------------------------------------------------------------ metrics


def _metric(metric: Any) -> dict[str, Any]:
    from collapselab.metrics import CONVENTIONS

    limits = [{"num_classes": k, "num_features": d, "value": metric.limit(k, d)} for k, d in _SIZES]
    used = [c for c in CONVENTIONS if c.metric == metric.name]
    return {
        "kind": "metric",
        "name": metric.name,
        "label": metric.label,
        "symbol": metric.symbol,
        "unit": metric.unit,
        "range": [bound if math.isfinite(bound) else None for bound in metric.range],
        "at_collapse_for": limits,
        "invariant_under": list(metric.invariant_under),
        "needs": list(metric.needs),
        "per_class": metric.per_class,
        "family": metric.family,
        "source": metric.source,
        "conventions": [{"paper": c.paper, "quantity": c.quantity, "remark": c.remark} for c in used],
        "documentation": sections(inspect.getdoc(metric.fn) or ""),
    }


def _metric_text(metric: dict[str, Any]) -> str:
    low, high = metric["range"]
    facts = [
        ("formula", metric["symbol"]),
        ("unit", "none, a pure number" if metric["unit"] == "1" else metric["unit"]),
        ("range", f"{'-inf' if low is None else number(low)} to {'inf' if high is None else number(high)}"),
        ("at collapse", _limit(metric["at_collapse_for"])),
        ("gives", "one number a class" if metric["per_class"] else "one number"),
        ("unchanged by", ", ".join(metric["invariant_under"]) or "nothing declared"),
        ("needs", ", ".join(["class means", *metric["needs"]])),
        ("family", metric["family"]),
        ("source", references()[metric["source"]].line),
    ]
    prose = metric["documentation"]
    blocks = [f"{metric['name']}: {metric['label']}", _prose(prose["text"]), columns(facts, indent="  ")]
    if "raises" in prose:
        reasons = re.sub(r"(?m)^UndefinedMetric: ", "", prose["raises"])
        blocks.append(f"no value\n{_prose(reasons, indent='  ')}")
    if metric["conventions"]:
        rows = [(c["paper"], c["quantity"], c["remark"]) for c in metric["conventions"]]
        blocks.append(f"in the literature\n{columns(rows, indent='  ')}")
    return "\n\n".join(blocks)


def _limit(limits: list[dict[str, Any]]) -> str:
    values = [limit["value"] for limit in limits]
    if len(set(values)) == 1:
        return f"not fixed for K = {_SIZES[0][0]} and more" if values[0] is None else number(values[0])
    told = ["not fixed" if value is None else number(value) for value in values]
    return "; ".join(f"{value} for K = {k}, d = {d}" for value, (k, d) in zip(told, _SIZES, strict=True))


# ------------------------------------------------------------------------------------------------ recipes and parts


def _configurable(kind: str, name: str, configuration: type, source: str) -> dict[str, Any]:
    """A frozen dataclass whose fields are settings."""
    from collapselab.experiments.config import parts_of

    words, parts = field_docs(configuration), parts_of(configuration)
    fields = []
    for field in dataclasses.fields(configuration):
        part, default = parts.get(field.name), _listed(default_of(field))
        typed = _type(field.type) if part is None else part.kind
        shown = default if part is None else part.settings(default)
        fields.append({"name": field.name, "type": typed, "default": shown, "help": words.get(field.name, "")})
    text = sections(inspect.getdoc(configuration) or "")["text"]
    return {"kind": kind, "name": name, "source": source, "documentation": text, "fields": fields}


def _type(annotation: Any) -> str:
    text = inspect.formatannotation(annotation).replace("typing.", "")
    return re.sub(r"Literal\[(.*?)\]", lambda found: found[1].replace("'", "").replace(", ", " | "), text)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _configurable_text(document: dict[str, Any]) -> str:
    blocks = [f"{document['name']}: {document['title']}", _prose(document["documentation"])]
    if "claim" in document:
        blocks.append(f"claim\n{paragraph(document['claim'], indent='  ')}")
    if document["fields"]:
        lines = []
        prefix = "" if document["kind"] == "recipe" else f"{document['kind']}."
        for field in document["fields"]:
            lines.append(f"  --{prefix}{field['name']} {field['type']} = {_shown(field['default'])}")
            lines.append(paragraph(plainly(field["help"]), indent="      "))
        blocks.append("\n".join(["settings", *(line for line in lines if line)]))
    if "python" in document:
        chosen = f"collapselab train --{document['kind']} {document['name']}"
        blocks.append(f"use\n  {chosen}\n  {document['python']}")
    if document.get("notes"):
        blocks.append("\n".join(["notes", *(paragraph(note, indent="  ") for note in document["notes"])]))
    return "\n\n".join([*blocks, f"source\n  {references()[document['source']].line}"])


def _shown(default: Any) -> str:
    if not isinstance(default, dict):
        return str(default)
    settings = ", ".join(f"{name} {value}" for name, value in default.items() if name != "name")
    name = default.get("name", "")
    return f"{name} ({settings})" if name and settings else name or settings or "as it is"


def _prose(text: str, *, indent: str = "") -> str:
    return "\n\n".join(paragraph(part, indent=indent) for part in text.split("\n\n"))
