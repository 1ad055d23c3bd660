"""`collapselab list`: names of what there is, with a few words each."""

from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from collapselab.cli._answer import Answer
from collapselab.cli._catalogue import KINDS
from collapselab.cli._parsing import nearest, parsed, parser_of
from collapselab.cli._table import columns, number
from collapselab.core.errors import UnknownName
from collapselab.records.families import family_title

# A limit may depend on the numbers of classes and features; it is listed for these.
_CLASSES, _FEATURES = 10, 512


def answer(arguments: list[str]) -> Answer:
    """List one kind of thing, or all.

    Args:
        arguments: What came after the verb.

    Returns:
        Names with a few words each.

    Raises:
        UnknownName: If there is no such kind.
    """
    parser = parser_of("list", "Names of what there is, with a few words each.")
    parser.add_argument("kind", nargs="?", type=str, metavar="KIND", help=f"{', '.join(KINDS)}; all if not given")
    kind = parsed(parser, arguments).kind
    if kind is not None and kind not in KINDS:
        hint = nearest(kind, KINDS) or f"; known: {', '.join(KINDS)}"
        raise UnknownName(f"KIND: nothing is listed under {kind!r}{hint}")
    shown = {name: _entries(name, KINDS[name]()) for name in ([kind] if kind else KINDS)}
    return Answer(shown, "\n\n".join(_text(name, entries) for name, entries in shown.items()))


def _entries(kind: str, things: Mapping[str, Any]) -> list[dict[str, Any]]:
    if kind == "sources":
        return [{"name": key, "label": source.line} for key, source in things.items()]
    if kind == "recipes":
        return [
            {"name": name, "label": recipe.title, "claim": recipe.claim, "source": recipe.source}
            for name, recipe in things.items()
        ]
    if kind == "metrics":
        return [_metric(metric) for metric in things.values()]
    kinds = {name: {"kind": model.kind} for name, model in things.items()} if kind == "models" else {}
    return [
        {"name": name, "label": choice.label, "summary": choice.summary, "source": choice.source} | kinds.get(name, {})
        for name, choice in things.items()
    ]


def _metric(metric: Any) -> dict[str, Any]:
    return {
        "name": metric.name,
        "label": metric.label,
        "summary": metric.summary,
        "family": metric.family,
        "unit": metric.unit,
        "at_collapse": metric.limit(_CLASSES, _FEATURES),
        "needs": list(metric.needs),
        "per_class": metric.per_class,
        "source": metric.source,
    }


def _text(kind: str, entries: list[dict[str, Any]]) -> str:
    if kind != "metrics":
        return "\n".join([kind, columns([(entry["name"], entry["label"]) for entry in entries], indent="  ")])
    head = f"value at collapse (K = {_CLASSES}, d = {_FEATURES}), what they need beyond class means, in words"
    text = [f"metrics: name, {head}"]
    rows = [(m["name"], number(m["at_collapse"]), ", ".join(m["needs"]) or "-", m["label"]) for m in entries]
    lines = zip([m["family"] for m in entries], columns(rows, indent="  ").splitlines(), strict=True)
    for family, members in groupby(lines, key=itemgetter(0)):
        text += [family_title(family), *(line for _, line in members)]
    return "\n".join(text)
