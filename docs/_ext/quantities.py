"""The page of quantities: what is measured on a moving network, written from the registry."""

from typing import Any

from models import _cited, _settings
from parts import _prose, _table

_INTRODUCTION = """\
A quantity is measured on the network itself, from its gradients, beside the metrics of its features. `collapselab train
--quantities '["NAME"]'` follows it over training, `Probe.watch(quantities=(...))` in a recipe; `look` measures it once,
on a `Sight` of any network. Like a metric, it gives a value or the reason why there is none.
"""


def quantities_page() -> str:
    """The page."""
    from collapselab.dynamics import QUANTITIES

    known = list(QUANTITIES.values())
    rows = [
        [f"[`{one.name}`](#quantity-{one.name})", one.label, ", ".join(one.cls.splits), _cited(one)] for one in known
    ]
    table = _table(["name", "is", "looks at", "source"], rows)
    return "\n".join(["# Quantities of a moving network\n", _INTRODUCTION, table, *map(_section, known)]) + "\n"


def _section(one: Any) -> str:
    where = f"`{one.cls.__module__}.{one.cls.__qualname__}`, {_cited(one)}"
    return "\n".join(
        [f"\n(quantity-{one.name})=\n\n## {one.name}\n", f"{where}\n", _prose(one.cls), _settings(one.cls)]
    )
