"""What is measured on a network while it moves, from its gradients: one module a subject."""

from typing import Any

from collapselab.dynamics._elasticity.classes import IntraInter, class_elasticity, intra_inter
from collapselab.dynamics._elasticity.kernel import tangent_blocks, tangent_kernel, tangent_norms
from collapselab.dynamics._elasticity.readings import all_logits, own_logit, own_residual, single_logit
from collapselab.dynamics._elasticity.similarity import normalised_kernel, relative_similarity, symmetrised
from collapselab.dynamics._elasticity.steps import (
    half_squared_error,
    stepped_kernelised_similarity,
    stepped_relative_similarity,
)
from collapselab.dynamics._spec import QUANTITIES, Found, Quantity, Sight, few_of_each, quantity
from collapselab.dynamics.clustering import Clusters, clustering_accuracy, kernel_kmeans, kmeans
from collapselab.dynamics.curvature import (
    ClassStructure,
    class_structure,
    gauss_newton_operator,
    gauss_newton_parts,
    hessian_operator,
    knocked_out,
    operator_norm,
    top_eigenpairs,
)
from collapselab.dynamics.homogeneity import Homogeneity, homogeneity_of, order_of_homogeneity
from collapselab.dynamics.kkt import Certificate, kkt_cross_entropy, kkt_exponential
from collapselab.dynamics.linearisation import DriftLinearisation, linearised_drift, one_step_change, stable_rate
from collapselab.dynamics.log_loss import (
    log_cross_entropy,
    log_exponential,
    log_logistic,
    log_mean,
    log_sum,
    scaled_losses,
    smooth_margins,
)
from collapselab.dynamics.margin_normalisation import (
    inverse_exponential,
    inverse_logistic,
    layer_normalised_margin,
    layer_norms,
    normalised_margin,
    parameter_norm,
    sample_margins,
    sandwich,
    support_samples,
)
from collapselab.dynamics.noise import (
    MinibatchGradients,
    SampleGradients,
    critical_batch_size,
    largest_scaling,
    least_noise_to_signal,
    minibatch_gradient_moments,
    noise_to_signal,
    noise_to_signal_interval,
    noise_with_replacement,
    noise_without_replacement,
    noisy_weights,
    ornstein_uhlenbeck_variance,
    sample_gradient_moments,
    squared_norm_at_rest,
    svag_coefficients,
    svag_loss,
    unbiased_noise,
    unbiased_signal,
)
from collapselab.dynamics.ranks import (
    bulk_variance,
    entry_variance,
    marchenko_pastur_edges,
    rank_loss,
    soft_rank,
    stable_rank,
)
from collapselab.dynamics.robustness import (
    Perturbations,
    deepfool,
    least_perturbations,
    linear_l2,
    linear_linf,
    lipschitz_bounds,
    pgd_l2,
    pgd_linf,
)

__all__ = [
    "QUANTITIES",
    "Certificate",
    "ClassStructure",
    "Clusters",
    "DriftLinearisation",
    "Found",
    "Homogeneity",
    "IntraInter",
    "MinibatchGradients",
    "Perturbations",
    "Quantity",
    "SampleGradients",
    "Sight",
    "all_logits",
    "bulk_variance",
    "class_elasticity",
    "class_structure",
    "clustering_accuracy",
    "critical_batch_size",
    "deepfool",
    "entry_variance",
    "few_of_each",
    "gauss_newton_operator",
    "gauss_newton_parts",
    "half_squared_error",
    "hessian_operator",
    "homogeneity_of",
    "intra_inter",
    "inverse_exponential",
    "inverse_logistic",
    "kernel_kmeans",
    "kkt_cross_entropy",
    "kkt_exponential",
    "kmeans",
    "knocked_out",
    "largest_scaling",
    "layer_normalised_margin",
    "layer_norms",
    "least_noise_to_signal",
    "least_perturbations",
    "linear_l2",
    "linear_linf",
    "linearised_drift",
    "lipschitz_bounds",
    "log_cross_entropy",
    "log_exponential",
    "log_logistic",
    "log_mean",
    "log_sum",
    "marchenko_pastur_edges",
    "minibatch_gradient_moments",
    "noise_to_signal",
    "noise_to_signal_interval",
    "noise_with_replacement",
    "noise_without_replacement",
    "noisy_weights",
    "normalised_kernel",
    "normalised_margin",
    "one_step_change",
    "operator_norm",
    "order_of_homogeneity",
    "ornstein_uhlenbeck_variance",
    "own_logit",
    "own_residual",
    "parameter_norm",
    "pgd_l2",
    "pgd_linf",
    "quantity",
    "rank_loss",
    "relative_similarity",
    "sample_gradient_moments",
    "sample_margins",
    "sandwich",
    "scaled_losses",
    "single_logit",
    "smooth_margins",
    "soft_rank",
    "squared_norm_at_rest",
    "stable_rank",
    "stable_rate",
    "stepped_kernelised_similarity",
    "stepped_relative_similarity",
    "support_samples",
    "svag_coefficients",
    "svag_loss",
    "symmetrised",
    "tangent_blocks",
    "tangent_kernel",
    "tangent_norms",
    "top_eigenpairs",
    "unbiased_noise",
    "unbiased_signal",
]


def __getattr__(name: str) -> Any:
    for entry in QUANTITIES.values():
        if entry.cls.__name__ == name:
            return entry.cls
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(entry.cls.__name__ for entry in QUANTITIES.values())])
