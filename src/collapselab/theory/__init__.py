"""Models with known answers, one module a model: landscapes that state their optimum, and dynamics that state facts."""

from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._codes.hardmax import descend_on_sphere, hardmax, hardmax_features
from collapselab.theory._deep.deep import existence_threshold, fitted_part, globality_threshold
from collapselab.theory._deep.linear_control import RotationBranch, rotation_branches, taghvaei_residual
from collapselab.theory._deep.linear_modes import mode_time, mode_trajectory
from collapselab.theory._deep.linear_roots import mode_thresholds, regularised_roots, regularised_singular_values
from collapselab.theory._deep.square_loss_norm import (
    MarginForm,
    decayed_equilibrium_norms,
    equilibrium_norm,
    largest_spread,
    margin_form,
    norm_trajectory,
    norm_velocity,
)
from collapselab.theory._elastic.base import AbstractLocallyElastic
from collapselab.theory._elastic.phases import Phase
from collapselab.theory._elastic.profiles import AbstractProfile, PowerLaw, Sampled, Sum, constant
from collapselab.theory._elastic.residuals import residual_directions, residual_projections
from collapselab.theory._elastic.separability import (
    Separation,
    binomial_interval,
    separable,
    separable_pairs,
    separation,
)
from collapselab.theory._elastic.updates import sample_updates
from collapselab.theory._flows.renormalised import central_path_loss, renormalised, renormalised_step, signal_to_noise
from collapselab.theory._geometry import Geometry
from collapselab.theory._margins.margins import (
    MarginResidual,
    logit_margins,
    margin_bound,
    margin_residual,
    normalised_margin,
)
from collapselab.theory._margins.rescaled import rescaled_descent
from collapselab.theory._model import (
    REGISTRY,
    AbstractDynamics,
    AbstractLandscape,
    Model,
    UnconstrainedLandscape,
    model,
)
from collapselab.theory._normalisation.batch_norm_layer import torch_affine, unit_batch_norm
from collapselab.theory._predict import answered, predict
from collapselab.theory._problem import Problem, State
from collapselab.theory._simulate import euler_maruyama_step, simulate
from collapselab.theory._solve import Trajectory, gradient, integrate, minimise, stationarity
from collapselab.theory._stochastic import AbstractStochasticDynamics, Moments
from collapselab.theory.batch_norm_rescaled import literal_excess, literal_solution
from collapselab.theory.central_path import SquaredErrorParts, least_squares_head, squared_error_parts
from collapselab.theory.certificates import Certificate, certificate, certificate_of
from collapselab.theory.convex_program import ConvexOptimum, solve_convex_program
from collapselab.theory.cross_entropy import cross_entropy_lower_bound, tightest_c1
from collapselab.theory.elastic_fit import (
    ClassSums,
    Elasticity,
    Exponents,
    Goodness,
    elasticity,
    extrapolated_path,
    fitted_identity_path,
    fitted_residual_path,
    frozen_path,
    goodness,
    identity_exponents,
    identity_exponents_reference,
    identity_path,
    residual_exponents,
    residual_exponents_reference,
    residual_path,
    smoothed_derivative,
    tail_index_local,
    tail_index_reference,
)
from collapselab.theory.gradient_flow import StrongCollapseErrors, strong_collapse_errors
from collapselab.theory.imbalance_scan import AtImbalance, imbalance_scan
from collapselab.theory.low_rank import LowRank, solve_low_rank
from collapselab.theory.minority_collapse import minority_collapse_threshold
from collapselab.theory.nuclear import balance_residual, balanced_factors, balancing_decay, nuclear_norm, spectral_norm
from collapselab.theory.pull_push import PullPush, pull_and_push
from collapselab.theory.remedies import balancing_weights, oversampled, remedies
from collapselab.theory.saddles import Escape, escape_direction, saddle, widened
from collapselab.theory.seli import seli_geometry, simplex_encoded_labels
from collapselab.theory.semidefinite import Relaxed, semidefinite_relaxation

__all__ = [
    "REGISTRY",
    "AbstractDynamics",
    "AbstractLandscape",
    "AbstractLocallyElastic",
    "AbstractProfile",
    "AbstractStochasticDynamics",
    "AtImbalance",
    "BlockMatrix",
    "Certificate",
    "ClassSums",
    "ConvexOptimum",
    "Elasticity",
    "Escape",
    "Exponents",
    "Geometry",
    "Goodness",
    "LowRank",
    "MarginForm",
    "MarginResidual",
    "Model",
    "Moments",
    "Phase",
    "PowerLaw",
    "Problem",
    "PullPush",
    "Relaxed",
    "RotationBranch",
    "Sampled",
    "Separation",
    "SquaredErrorParts",
    "State",
    "StrongCollapseErrors",
    "Sum",
    "Trajectory",
    "UnconstrainedLandscape",
    "answered",
    "balance_residual",
    "balanced_factors",
    "balancing_decay",
    "balancing_weights",
    "binomial_interval",
    "central_path_loss",
    "certificate",
    "certificate_of",
    "constant",
    "cross_entropy_lower_bound",
    "decayed_equilibrium_norms",
    "descend_on_sphere",
    "elasticity",
    "equilibrium_norm",
    "escape_direction",
    "euler_maruyama_step",
    "existence_threshold",
    "extrapolated_path",
    "fitted_identity_path",
    "fitted_part",
    "fitted_residual_path",
    "frozen_path",
    "globality_threshold",
    "goodness",
    "gradient",
    "hardmax",
    "hardmax_features",
    "identity_exponents",
    "identity_exponents_reference",
    "identity_path",
    "imbalance_scan",
    "integrate",
    "largest_spread",
    "least_squares_head",
    "literal_excess",
    "literal_solution",
    "logit_margins",
    "margin_bound",
    "margin_form",
    "margin_residual",
    "minimise",
    "minority_collapse_threshold",
    "mode_thresholds",
    "mode_time",
    "mode_trajectory",
    "model",
    "norm_trajectory",
    "norm_velocity",
    "normalised_margin",
    "nuclear_norm",
    "oversampled",
    "predict",
    "pull_and_push",
    "regularised_roots",
    "regularised_singular_values",
    "remedies",
    "renormalised",
    "renormalised_step",
    "rescaled_descent",
    "residual_directions",
    "residual_exponents",
    "residual_exponents_reference",
    "residual_path",
    "residual_projections",
    "rotation_branches",
    "saddle",
    "sample_updates",
    "seli_geometry",
    "semidefinite_relaxation",
    "separable",
    "separable_pairs",
    "separation",
    "signal_to_noise",
    "simplex_encoded_labels",
    "simulate",
    "smoothed_derivative",
    "solve_convex_program",
    "solve_low_rank",
    "spectral_norm",
    "squared_error_parts",
    "stationarity",
    "strong_collapse_errors",
    "taghvaei_residual",
    "tail_index_local",
    "tail_index_reference",
    "tightest_c1",
    "torch_affine",
    "unit_batch_norm",
    "widened",
]


def __getattr__(name: str) -> object:
    if name[:1].isupper():  # names of modules come here as well, and must not fill the registry
        for declared in REGISTRY.values():
            if declared.cls.__name__ == name:
                return declared.cls
    raise AttributeError(f"module 'collapselab.theory' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(declared.cls.__name__ for declared in REGISTRY.values())])
