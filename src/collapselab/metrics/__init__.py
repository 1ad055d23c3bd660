"""Pure functions of evidence, one module a family. Every public metric is importable from here by its key."""

from collapselab.metrics._angles import mean_cosines
from collapselab.metrics._conventions import CONVENTIONS, Convention
from collapselab.metrics._measure import Evidence, measure_evidence, select
from collapselab.metrics._snapshot import snapshot_arrays
from collapselab.metrics._spec import REGISTRY, Metric, metric

__all__ = [
    "CONVENTIONS",
    "REGISTRY",
    "Convention",
    "Evidence",
    "Metric",
    "mean_cosines",
    "measure_evidence",
    "metric",
    "select",
    "snapshot_arrays",
]


def __getattr__(name: str) -> object:
    if not name.startswith("_") and name in REGISTRY:
        return REGISTRY[name].fn
    raise AttributeError(f"module 'collapselab.metrics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *REGISTRY])
