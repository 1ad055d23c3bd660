"""Models with known answers, one module a model: landscapes that state their optimum, and dynamics that state facts."""

from collapselab.theory._batch_norm_layer import torch_affine, unit_batch_norm
from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._geometry import Geometry
from collapselab.theory._linear_control import RotationBranch, rotation_branches, taghvaei_residual
from collapselab.theory._linear_modes import mode_time, mode_trajectory
from collapselab.theory._linear_roots import mode_thresholds, regularised_roots, regularised_singular_values
from collapselab.theory._margins import MarginResidual, logit_margins, margin_bound, margin_residual, normalised_margin
from collapselab.theory._model import (
    REGISTRY,
    AbstractDynamics,
    AbstractLandscape,
    Model,
    UnconstrainedLandscape,
    model,
)
from collapselab.theory._predict import answered, predict
from collapselab.theory._problem import Problem, State
from collapselab.theory._renormalised import central_path_loss, renormalised, renormalised_step, signal_to_noise
from collapselab.theory._rescaled import rescaled_descent
from collapselab.theory._solve import Trajectory, gradient, integrate, minimise, stationarity
from collapselab.theory.batch_norm_rescaled import literal_excess, literal_solution
from collapselab.theory.central_path import SquaredErrorParts, least_squares_head, squared_error_parts
from collapselab.theory.gradient_flow import StrongCollapseErrors, strong_collapse_errors

__all__ = [
    "REGISTRY",
    "AbstractDynamics",
    "AbstractLandscape",
    "BlockMatrix",
    "Geometry",
    "MarginResidual",
    "Model",
    "Problem",
    "RotationBranch",
    "SquaredErrorParts",
    "State",
    "StrongCollapseErrors",
    "Trajectory",
    "UnconstrainedLandscape",
    "answered",
    "central_path_loss",
    "gradient",
    "integrate",
    "least_squares_head",
    "literal_excess",
    "literal_solution",
    "logit_margins",
    "margin_bound",
    "margin_residual",
    "minimise",
    "mode_thresholds",
    "mode_time",
    "mode_trajectory",
    "model",
    "normalised_margin",
    "predict",
    "regularised_roots",
    "regularised_singular_values",
    "renormalised",
    "renormalised_step",
    "rescaled_descent",
    "rotation_branches",
    "signal_to_noise",
    "squared_error_parts",
    "stationarity",
    "strong_collapse_errors",
    "taghvaei_residual",
    "torch_affine",
    "unit_batch_norm",
]


def __getattr__(name: str) -> object:
    if name[:1].isupper():  # names of modules come here as well, and must not fill the registry
        for declared in REGISTRY.values():
            if declared.cls.__name__ == name:
                return declared.cls
    raise AttributeError(f"module 'collapselab.theory' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(declared.cls.__name__ for declared in REGISTRY.values())])
