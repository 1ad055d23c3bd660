"""Measure, watch and explain neural collapse.

The few names a user starts with are here; each is imported on first use, so that ``import collapselab`` and
``collapselab --help`` start without torch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collapselab import metrics
    from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead, OnlineStats, feature_tap
    from collapselab.measuring import measure
    from collapselab.records import Measurements, Run

__version__ = "0.1.0"

_HOME = {
    "ClassStats": "collapselab.evidence",
    "LabelledFeatures": "collapselab.evidence",
    "LinearHead": "collapselab.evidence",
    "Measurements": "collapselab.records",
    "OnlineStats": "collapselab.evidence",
    "Run": "collapselab.records",
    "feature_tap": "collapselab.evidence",
    "measure": "collapselab.measuring",
    "metrics": "collapselab.metrics",
}

__all__ = [
    "ClassStats",
    "LabelledFeatures",
    "LinearHead",
    "Measurements",
    "OnlineStats",
    "Run",
    "__version__",
    "feature_tap",
    "measure",
    "metrics",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'collapselab' has no attribute {name!r}")
    home = importlib.import_module(_HOME[name])
    return home if _HOME[name] == f"collapselab.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
