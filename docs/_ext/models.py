"""The page of models: what theory states of each, written from the registry."""

import dataclasses
import inspect
from typing import Any

from parts import _prose, _table

_INTRODUCTION = """\
A model is a problem whose answer is known. A *landscape* states its infimum, whether that is attained, whether all
local minimisers are global ones, and geometry and metrics there; a *dynamics* states what it conserves, or its
solution. All of it is tested against the model itself. `collapselab predict --loss NAME` and
{py:func}`collapselab.theory.predict` ask the models of losses; the others are classes of `collapselab.theory`. What a
landscape states may depend on its settings: the table speaks of its first example.
"""


def models_page() -> str:
    """The page."""
    from collapselab.theory import REGISTRY, answered

    losses: dict[str, list[str]] = {}
    for loss, models in answered().items():
        for model in models:
            losses.setdefault(model.name, []).append(loss)
    models = list(REGISTRY.values())
    rows = [_row(model) for model in models]
    head = ["name", "is", "states", "all minima global", "source"]
    sections = [_section(model, losses.get(model.name, [])) for model in models]
    return "\n".join(["# Models\n", _INTRODUCTION, _table(head, rows), *sections]) + "\n"


def _row(model: Any) -> list[str]:
    example = model.cls.examples()[0]
    states, benign = "a dynamics", ""
    if model.kind == "landscape":
        states = f"a landscape, {'attained' if example.attained else 'not attained'}"
        benign = "yes" if example.benign else "no"
    return [f"[`{model.name}`](#model-{model.name})", model.label, states, benign, _cited(model)]


def _section(model: Any, losses: list[str]) -> str:
    where = f"`{model.cls.__module__}.{model.cls.__qualname__}`, {_cited(model)}"
    example = model.cls.examples()[0]
    parts = [f"\n(model-{model.name})=\n\n## {model.name}\n", f"{where}\n", _prose(model.cls)]
    if losses:
        parts.append("Asked by `" + "`, `".join(f"collapselab predict --loss {loss}" for loss in losses) + "`.\n")
    parts.append("Assumed, in its first example:\n\n" + "\n".join(f"- {said}" for said in example.assumptions) + "\n")
    if model.kind == "landscape" and example.thresholds():
        names = ", ".join(f"`{name}`" for name in example.thresholds())
        parts.append(f"Thresholds ({names}): {_first(type(example).thresholds)}\n")
    return "\n".join([*parts, _settings(model.cls)])


def _settings(cls: Any) -> str:
    from collapselab.cli._parsing import default_of, field_docs

    words = field_docs(cls)
    rows = []
    for entry in dataclasses.fields(cls):
        needed = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        shown = "must be given" if needed else f"`{default_of(entry)}`"
        rows.append([f"`{entry.name}`", shown, words.get(entry.name, "").replace("``", "`")])
    return _table(["setting", "default", ""], rows) if rows else "It has no settings.\n"


def _first(function: Any) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")


def _cited(model: Any) -> str:
    return f"[{model.source}](#{model.source})"
