"""What there is to list, describe and cite: recipes, metrics, what recipes are made of, and sources."""

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
    "sources": references,
}
"""Plural of a kind to everything of that kind, by name; imported when it is asked for."""

# Looked through in this order for one name: sources cost no import of torch, metrics are asked for most.
_ORDER = tuple(sorted(KINDS, key=["sources", "metrics", "recipes", *KINDS].index))


def find(name: str) -> tuple[str, Any]:
    """What a name stands for, whatever its kind.

    Args:
        name: Of a metric, a recipe, a source ...

    Returns:
        A key of `KINDS`, and the thing itself.

    Raises:
        UnknownName: If nothing is called that.
    """
    known: list[str] = []
    for kind in _ORDER:
        entries = KINDS[kind]()
        if name in entries:
            return kind, entries[name]
        known += entries
    hint = nearest(name, known) or "; collapselab list shows what there is"
    raise UnknownName(f"nothing is called {name!r}{hint}")


def source_of(name: str) -> str:
    """The key of the publication a thing rests on.

    Args:
        name: See `find`.

    Returns:
        A key of the bibliography.
    """
    kind, thing = find(name)
    return thing.key if kind == "sources" else thing.source
