"""What is measured on a network while it moves, from its gradients: one module a subject."""

from typing import Any

from collapselab.dynamics._elasticity.classes import IntraInter, class_elasticity, intra_inter
from collapselab.dynamics._elasticity.kernel import tangent_blocks, tangent_kernel, tangent_norms
from collapselab.dynamics._elasticity.readings import own_logit, own_residual, single_logit
from collapselab.dynamics._elasticity.similarity import normalised_kernel, relative_similarity, symmetrised
from collapselab.dynamics._elasticity.steps import (
    half_squared_error,
    stepped_kernelised_similarity,
    stepped_relative_similarity,
)
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
    "IntraInter",
    "Quantity",
    "Sight",
    "class_elasticity",
    "half_squared_error",
    "intra_inter",
    "log_cross_entropy",
    "log_exponential",
    "log_logistic",
    "log_mean",
    "log_sum",
    "normalised_kernel",
    "own_logit",
    "own_residual",
    "quantity",
    "relative_similarity",
    "scaled_losses",
    "single_logit",
    "smooth_margins",
    "stepped_kernelised_similarity",
    "stepped_relative_similarity",
    "symmetrised",
    "tangent_blocks",
    "tangent_kernel",
    "tangent_norms",
]


def __getattr__(name: str) -> Any:
    for entry in QUANTITIES.values():
        if entry.cls.__name__ == name:
            return entry.cls
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(entry.cls.__name__ for entry in QUANTITIES.values())])
