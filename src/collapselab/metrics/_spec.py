"""The declaration around a metric: what it means, where it lies, what leaves it unchanged, what it needs."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from torch import Tensor

from collapselab.core.errors import CollapselabError
from collapselab.core.registry import Registry
from collapselab.records.families import family_place
from collapselab.records.schema import Declaration

Need = Literal["scatter", "head", "bias", "features"]
"""Evidence beyond counts, means and per-class traces: the d x d scatter, a linear head, a head with a bias, the
features a second time."""

Invariance = Literal["rotation", "scale", "translation", "relabelling", "linear", "head_scale", "duplication"]
"""What may be done to the data without changing the value.

``rotation``: h -> h Q and W -> W Q with Q orthogonal. ``scale``: h -> a h, a > 0, head unchanged. ``translation``:
h -> h + t, head unchanged. ``relabelling``: classes permuted, rows of the head with them. ``linear``: h -> h A with A
invertible, head unchanged. ``head_scale``: (W, b) -> (a W, a b), a > 0. ``duplication``: every sample repeated.
"""

INPUTS = ("stats", "head", "features", "decisions")
"""The names a metric's parameters may have; `measure` passes what they ask for."""

AtCollapse = float | Callable[[int, int], float | None] | None
"""Limit at full collapse: a number, a function of (number of classes, number of features), or None."""

F = TypeVar("F", bound=Callable[..., Tensor])


@dataclass(frozen=True)
class Metric:
    """A metric's declaration.

    Attributes:
        name: Its key in records and on the command line.
        fn: The pure function: evidence in, 0-d float64 tensor out ((k,) if `per_class`).
        label: A few words for a table or an axis.
        symbol: LaTeX.
        unit: ``1`` for a pure number.
        at_collapse: Its limit at full collapse.
        range: Closed bounds; infinite where there is none.
        invariant_under: What leaves it unchanged.
        needs: Evidence beyond counts, means and traces.
        source: Key in ``references.bib``.
        per_class: Whether it gives one number per seen class.
    """

    name: str
    fn: Callable[..., Tensor]
    label: str
    symbol: str
    unit: str
    at_collapse: AtCollapse
    range: tuple[float, float]
    invariant_under: tuple[Invariance, ...]
    needs: tuple[Need, ...]
    source: str
    per_class: bool

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the function's parameters, a subset of `INPUTS`."""
        return tuple(inspect.signature(self.fn).parameters)

    @property
    def summary(self) -> str:
        """First sentence of the function's documentation."""
        return (inspect.getdoc(self.fn) or "").split("\n\n")[0].replace("\n", " ")

    @property
    def family(self) -> str:
        """Name of the module that defines it."""
        return self.fn.__module__.rsplit(".", 1)[-1]

    def limit(self, num_classes: int, num_features: int) -> float | None:
        """Value at full collapse.

        Args:
            num_classes: K.
            num_features: d.

        Returns:
            The limit, or None where collapse fixes none.
        """
        return self.at_collapse(num_classes, num_features) if callable(self.at_collapse) else self.at_collapse

    def declaration(self, num_classes: int, num_features: int) -> Declaration:
        """The declaration as a record keeps it.

        Args:
            num_classes: K.
            num_features: d.

        Returns:
            A record.
        """
        low, high = self.range
        return Declaration(
            name=self.name,
            label=self.label,
            summary=self.summary,
            symbol=self.symbol,
            unit=self.unit,
            at_collapse=self.limit(num_classes, num_features),
            lower=low if math.isfinite(low) else None,
            upper=high if math.isfinite(high) else None,
            family=self.family,
            source=self.source,
            per_class=self.per_class,
        )


REGISTRY: Registry[Metric] = Registry(
    "metric", package="collapselab.metrics", order=lambda declared: family_place(declared.family)
)


def metric(
    *,
    label: str,
    symbol: str,
    at_collapse: AtCollapse,
    range: tuple[float, float],
    invariant_under: tuple[Invariance, ...],
    source: str,
    needs: tuple[Need, ...] = (),
    unit: str = "1",
    per_class: bool = False,
) -> Callable[[F], F]:
    """Declare a function as a metric and register it under its own name.

    Args:
        label: A few words for a table or an axis.
        symbol: LaTeX.
        at_collapse: Its limit at full collapse: a number, a function of (K, d), or None.
        range: Closed bounds.
        invariant_under: What leaves it unchanged; each one is tested.
        source: Key in ``references.bib``.
        needs: Evidence beyond counts, means and traces.
        unit: ``1`` for a pure number.
        per_class: Whether it gives one number per seen class.

    Returns:
        A decorator that returns the function unchanged.
    """

    def declare(fn: F) -> F:
        name = fn.__name__
        declared = Metric(name, fn, label, symbol, unit, at_collapse, range, invariant_under, needs, source, per_class)
        unknown = set(declared.inputs) - set(INPUTS)
        if unknown:
            raise CollapselabError(f"metric {name}: parameters must be among {INPUTS}, got {sorted(unknown)}")
        REGISTRY.add(name, declared)
        return fn

    return declare
