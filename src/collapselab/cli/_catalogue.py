"""What there is to list, describe and cite: recipes, metrics, quantities, models, what recipes are made of, sources."""

from collections.abc import Callable, Mapping
from typing import Any

from collapselab.cli._parsing import nearest
from collapselab.core.cite import references
from collapselab.core.errors import UnknownName


def _recipes() -> Mapping[str, Any]:
    from collapselab.experiments import REGISTRY

    return REGISTRY


def _metrics() -> Mapping[str, Any]:
    from collapselab.metrics import REGISTRY

    return REGISTRY


def _models() -> Mapping[str, Any]:
    from collapselab.theory import REGISTRY

    return REGISTRY


def _quantities() -> Mapping[str, Any]:
    from collapselab.dynamics import QUANTITIES

    return QUANTITIES


def _parts(base: str) -> Callable[[], Mapping[str, Any]]:
    """The registry of one kind of part, by the name of its base class."""

    def registry() -> Mapping[str, Any]:
        from collapselab.training.parts import REGISTRIES

        return next(parts for cls, parts in REGISTRIES.items() if cls.__name__ == base)

    return registry


PARTS = {
    "data": "data",
    "networks": "network",
    "heads": "head",
    "losses": "loss",
    "penalties": "penalty",
    "optimisers": "optimiser",
    "schedules": "schedule",
}
"""Plural of each kind of part to its singular, which is also the field of a recipe."""

KINDS: dict[str, Callable[[], Mapping[str, Any]]] = {
    "recipes": _recipes,
    "metrics": _metrics,
    "data": _parts("DataSet"),
    "networks": _parts("Network"),
    "heads": _parts("Head"),
    "losses": _parts("Loss"),
    "penalties": _parts("Penalty"),
    "optimisers": _parts("Optimiser"),
    "schedules": _parts("Schedule"),
    "quantities": _quantities,
    "models": _models,
    "sources": references,
}
"""Plural of a kind to everything of that kind, by name; imported when it is asked for."""

# Looked through in this order for one name: sources cost no import of torch, metrics are asked for most.
_ORDER = tuple(sorted(KINDS, key=["sources", "metrics", "recipes", *KINDS].index))


def find(name: str, kind: str | None = None) -> list[tuple[str, Any]]:
    """What a name stands for: one thing, or a part of a training and the model about it.

    Args:
        name: Of a metric, a recipe, a source ...
        kind: A key of `KINDS` to look under; None for all.

    Returns:
        Key of `KINDS` and the thing itself, of each.

    Raises:
        UnknownName: If nothing is called that, or there is no such kind.
    """
    if kind is not None and kind not in KINDS:
        raise UnknownName(f"--kind: nothing is listed under {kind!r}{nearest(kind, KINDS)}")
    known: list[str] = []
    for one in _ORDER if kind is None else (kind,):
        entries = KINDS[one]()
        if name in entries:
            return [(one, entries[name]), *(_model_of(name) if one in PARTS and kind is None else ())]
        known += entries
    hint = nearest(name, known) or "; collapselab list shows what there is"
    raise UnknownName(f"nothing is called {name!r}{hint}")


def _model_of(name: str) -> list[tuple[str, Any]]:
    """The model that is called like a loss or an optimiser, and is about it."""
    models = KINDS["models"]()
    return [("models", models[name])] if name in models else []


def sources_of(name: str) -> list[str]:
    """The keys of the publications that what is called so rests on.

    Args:
        name: See `find`.

    Returns:
        Keys of the bibliography, each once.
    """
    keys = (thing.key if kind == "sources" else thing.source for kind, thing in find(name))
    return list(dict.fromkeys(keys))
