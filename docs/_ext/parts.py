"""The page of parts: what a training is put together from, written from the registries."""

import dataclasses
import inspect
import math
import re
import types
import typing
from typing import Any

_KINDS = {
    "data set": "Data sets",
    "network": "Networks",
    "head": "Heads",
    "loss": "Losses",
    "penalty": "Penalties",
    "optimiser": "Optimisers",
    "schedule": "Schedules",
}

_INTRODUCTION = """\
What `collapselab train` is put together from. A part is chosen by its name, and its settings are flags under the name
of its kind: `--loss focal --loss.gamma 2`. In Python it is the class that stands under the title of its section. The
[guide to training](../../training.md) says how the parts work together.
"""

_FIXED = """\
These stand in every configuration of `train` under the names that head them, and do nothing by default.
"""


def parts_page() -> str:
    """The page."""
    from collapselab.training.parts import REGISTRIES

    lines = ["# Parts of a training\n", _INTRODUCTION]
    for registry in REGISTRIES.values():
        lines += [f"\n## {_KINDS[registry.kind]}\n", _overview(registry), *(_section(c) for c in registry.values())]
    return "\n".join([*lines, "\n## Settings that stand alone\n", _FIXED, *_fixed_sections()]) + "\n"


def _overview(registry: Any) -> str:
    columns = _COLUMNS.get(registry.kind, {})
    rows = []
    for choice in registry.values():
        facts = [column(choice.make) for column in columns.values()]
        rows.append([f"[`{choice.name}`](#{_label(choice)})", choice.label, *facts, _cited(choice)])
    return _NOTES.get(registry.kind, "") + _table(["name", "is", *columns, "source"], rows)


def _cited(choice: Any) -> str:
    return f"[{choice.source}](#{choice.source})"


def _section(choice: Any) -> str:
    make = choice.make
    where = f"`{make.__module__}.{make.__qualname__}`"
    parts = [f"\n({_label(choice)})=\n\n### {choice.name}\n", f"{where}, {_cited(choice)}\n"]
    return "\n".join([*parts, _prose(make), _settings(make)])


def _fixed_sections() -> list[str]:
    from collapselab.experiments.config import parts_of
    from collapselab.experiments.recipes.train import Train

    alone = {name: part.make for name, part in parts_of(Train).items() if part.make is not None}
    return [
        f"\n### {name}\n\n`{make.__module__}.{make.__qualname__}`\n\n{_prose(make)}\n{_settings(make)}"
        for name, make in alone.items()
    ]


def _label(choice: Any) -> str:
    package = choice.make.__module__.split(".")[2]
    return f"{package}-{choice.name}"


def _prose(make: type) -> str:
    """The documentation of a class, without the list of its attributes."""
    return re.split(r"\n+Attributes:\n", inspect.getdoc(make) or "")[0].replace("``", "`") + "\n"


def _settings(make: type) -> str:
    from collapselab.cli._parsing import field_docs

    hints, docs = typing.get_type_hints(make), field_docs(make)
    rows = [
        [f"`{entry.name}`", _kind(hints[entry.name]), _default(entry), docs[entry.name].replace("``", "`")]
        for entry in dataclasses.fields(make)
    ]
    return _table(["setting", "is", "default", ""], rows) if rows else "It has no settings.\n"


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(hint))
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join(_kind(kind) for kind in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        of = typing.get_args(hint)
        return f"list of {_kind(of[0])}" if of[-1] is Ellipsis else f"{len(of)} × {_kind(of[0])}"
    words = {int: "whole number", float: "number", bool: "true or false", str: "text", types.NoneType: "null"}
    return words[hint]


def _default(entry: Any) -> str:
    if entry.default is dataclasses.MISSING:
        return "must be given"
    value = entry.default
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    if isinstance(value, tuple):
        return f"`[{', '.join(str(part) for part in value)}]`"
    return f"`{value}`" if value != "" else "must be given"


# ------------------------------------------------------------------------------------------------ columns


def _formula(make: type) -> str:
    """The formula that opens the documentation of what computes the loss."""
    compute = getattr(make, "of_features", None) or make.__call__
    first = (inspect.getdoc(compute) or "").split("\n")[0]
    found = re.match(r"(\$[^$]+\$)", first)
    return found[1] if found else ""


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _head_role(make: Any) -> str:
    return {"joint": "with the features", "probe": "as a probe", "untrained": "not"}[make().head_role]


_LOSS_COLUMNS = {
    "of a sample": _formula,
    "separable": lambda make: _yes(make.separable),
    "weighable": lambda make: _yes(make.weighable),
    "the head learns": _head_role,
}


def _epoch(make: Any) -> str:
    return "one step on the whole set" if make.full_batch else "steps on minibatches"


_COLUMNS: dict[str, dict[str, Any]] = {
    "loss": _LOSS_COLUMNS,
    "penalty": {name: _LOSS_COLUMNS[name] for name in ("of a sample", "separable")},
    "optimiser": {"an epoch is": _epoch},
}

_NOTES = {
    "loss": """\
*Separable*: the loss of a sample depends on that sample alone, so that minibatches may be cut into pieces and shared
out to processes. *Weighable*: a factor on the losses of a class says how much the class counts. *The head learns* says
what moves the classifier; the cross-entropy of a probe is added to the formula.

""",
}


# ------------------------------------------------------------------------------------------------ tables


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(text) for text in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    """Text without the character that separates the cells of a table."""
    inside = re.sub(r"\$[^$]+\$", lambda found: barless(found[0]), text.replace("\n", " "))
    return inside.replace("|", r"\|")


def barless(latex: str) -> str:
    """The formula without that character."""
    return latex.replace(r"\|", r"\Vert ").replace("|", r"\vert ")
