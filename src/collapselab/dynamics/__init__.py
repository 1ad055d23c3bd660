"""What is measured on a network while it moves, from its gradients: one module a subject."""

from typing import Any

from collapselab.dynamics._spec import QUANTITIES, Found, Quantity, Sight, quantity
from collapselab.dynamics.log_loss import (
    log_cross_entropy,
    log_exponential,
    log_logistic,
    log_mean,
    log_sum,
    scaled_losses,
    smooth_margins,
)

__all__ = [
    "QUANTITIES",
    "Found",
    "Quantity",
    "Sight",
    "log_cross_entropy",
    "log_exponential",
    "log_logistic",
    "log_mean",
    "log_sum",
    "quantity",
    "scaled_losses",
    "smooth_margins",
]


def __getattr__(name: str) -> Any:
    for entry in QUANTITIES.values():
        if entry.cls.__name__ == name:
            return entry.cls
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(entry.cls.__name__ for entry in QUANTITIES.values())])
