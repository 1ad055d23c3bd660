"""Pages made at build time: metrics, conventions, models, quantities, parts, bibliography, and one for each package."""

import html
import importlib
import inspect
import math
import pkgutil
from itertools import groupby
from pathlib import Path
from typing import Any

from models import models_page
from parts import barless, parts_page
from quantities import quantities_page
from sphinx.application import Sphinx

PACKAGES = (
    *("cli", "experiments", "report", "training", "theory", "dynamics", "measuring"),
    *("metrics", "evidence", "geometry", "records", "core"),
)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", _write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "reference" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"metrics": _metrics_page(), "conventions": _conventions_page(), "bibliography": _bibliography_page()}
    pages |= {"parts": parts_page(), "models": models_page(), "quantities": quantities_page()}
    pages |= {f"collapselab.{name}": _package_page(f"collapselab.{name}") for name in PACKAGES}
    for old in folder.glob("*.md"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:  # an unchanged page is not read again
            path.write_text(text)


# ------------------------------------------------------------------------------------------------ metrics


def _metrics_page() -> str:
    from collapselab.metrics import REGISTRY

    metrics = sorted(REGISTRY.values(), key=lambda m: (m.family, m.name))
    parts = ["# Metrics\n", _METRICS_INTRODUCTION, _overview(metrics)]
    for family, members in groupby(metrics, key=lambda m: m.family):
        module = importlib.import_module(f"collapselab.metrics.{family}")
        parts.append(f"\n## {family}\n\n{_first_sentence(module)}\n")
        parts += [_card(metric) for metric in members]
    return "\n".join(parts) + "\n"


_METRICS_INTRODUCTION = """\
Every metric is one function with one name. *At collapse* is the value in the limit of full collapse; *needs* is what it
wants beyond the counts, the means and the traces of the classes. A value that does not exist for the evidence at hand
is reported as absent, with the reason.
"""


def _overview(metrics: list[Any]) -> str:
    rows = [
        f"| {{py:func}}`{m.name} <{m.fn.__module__}.{m.name}>` | ${barless(m.symbol)}$ | {_limit(m)} | {_range(m)} "
        f"| {', '.join(m.needs) or '—'} | [{m.source}](#{m.source}) |"
        for m in metrics
    ]
    return "\n".join(["| key | symbol | at collapse | range | needs | source |", "|---|---|---|---|---|---|", *rows])


def _card(metric: Any) -> str:
    facts = {
        "Symbol": f":math:`{metric.symbol}`",
        "Unit": metric.unit,
        "At collapse": _limit(metric),
        "Range": f":math:`{_range(metric)[1:-1]}`",
        "Unchanged by": ", ".join(metric.invariant_under) or "nothing declared",
        "Needs": ", ".join(metric.needs) or "counts, means and traces",
        "Gives": "one number per class" if metric.per_class else "one number",
        "Source": f":ref:`{metric.source} <{metric.source}>`",
    }
    # Given inside the directive, so that they stand in one list with the arguments and errors of the function.
    lines = ["", *(f":{name}: {value}" for name, value in facts.items())]
    return _autodoc(f"autofunction:: {metric.fn.__module__}.{metric.name}", *lines)


def _limit(metric: Any) -> str:
    if metric.at_collapse is None:
        return "—"
    values = {f"{metric.limit(k, d):.6g}" for k, d in ((3, 512), (10, 64), (50, 512))}
    return values.pop() if len(values) == 1 else "depends on K and d"


def _range(metric: Any) -> str:
    low, high = (f"{b:g}" if math.isfinite(b) else ("-" if b < 0 else "") + r"\infty" for b in metric.range)
    return f"$[{low}, {high}]$"


# ------------------------------------------------------------------------------------------------ conventions


def _conventions_page() -> str:
    from collapselab.metrics import REGISTRY
    from collapselab.metrics._conventions import CONVENTIONS

    def row(convention: Any) -> str:
        metric = REGISTRY[convention.metric]
        link = f"{{py:func}}`{metric.name} <{metric.fn.__module__}.{metric.name}>`"
        paper = f"[{convention.paper}](#{convention.paper})"
        remark = html.escape(convention.remark, quote=False).replace("|", r"\|")
        return f"| {paper} | {convention.quantity} | {link} | {remark} |"

    head = "| paper | what it calls | is here | how it is computed |\n|---|---|---|---|"
    return "\n".join(["# Conventions\n", _CONVENTIONS_INTRODUCTION, head, *map(row, CONVENTIONS)]) + "\n"


_CONVENTIONS_INTRODUCTION = """\
"NC1" is several numbers in the literature. Each has a name of its own here, and this table says which paper means
which.
"""


# ------------------------------------------------------------------------------------------------ bibliography


def _bibliography_page() -> str:
    from collapselab.core.cite import references

    entries = (f"({key})=\n\n**{key}** {_linked(entry)}" for key, entry in references().items())
    return "# Bibliography\n\n" + "\n\n".join(entries) + "\n"


def _linked(entry: Any) -> str:
    return entry.line.removesuffix(entry.link) + (f"<{entry.link}>" if entry.link else "")


# ------------------------------------------------------------------------------------------------ packages


def _package_page(name: str) -> str:
    package = importlib.import_module(name)
    parts = [f"# `{name}`\n"]
    if getattr(package, "__all__", None) or not hasattr(package, "__path__"):
        parts.append(_autodoc(f"automodule:: {name}", ":members:"))
        return "\n".join(parts)
    parts.append(_first_sentence(package) + "\n")
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda i: i.name):
        if not info.name.startswith("_"):
            parts += [f"\n## `{info.name}`\n", _autodoc(f"automodule:: {name}.{info.name}", ":members:")]
    return "\n".join(parts)


def _autodoc(directive: str, *body: str) -> str:
    lines = [f".. {directive}", *(f"   {line}".rstrip() for line in body)]
    return "\n".join(["```{eval-rst}", *lines, "```", ""])


def _first_sentence(module: Any) -> str:
    return (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")
