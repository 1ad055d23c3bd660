r"""The locally elastic ODE fitted to recorded trainings.

Many fresh networks are trained side by side on minibatches; `ClassSums` turns the logits of what they drew into class
means $\bar X_k(t)$ over trials. Their growth gives $A(t) = \int_0^t\alpha$ and $B(t) = \int_0^t\beta$ under either
model (`identity_exponents`, `residual_exponents`), the derivative gives local elasticity itself (`elasticity`), and
closed forms driven by them say what the models can hold of the training (`fitted_residual_path` and others, compared by
`goodness`). Everything takes leading axes, so that trials drawn again (`ClassSums.again`) give intervals in one go.

`..._reference` are the estimators of the published code, kept to compare with.
"""

from collapselab.theory._elastic_fit.classes import ClassSums
from collapselab.theory._elastic_fit.exponents import (
    Exponents,
    identity_exponents,
    identity_exponents_reference,
    residual_exponents,
    residual_exponents_reference,
)
from collapselab.theory._elastic_fit.prediction import (
    Goodness,
    extrapolated_path,
    fitted_identity_path,
    fitted_residual_path,
    frozen_path,
    goodness,
    identity_path,
    residual_path,
)
from collapselab.theory._elastic_fit.rates import (
    Elasticity,
    elasticity,
    smoothed_derivative,
    tail_index_local,
    tail_index_reference,
)

__all__ = [
    "ClassSums",
    "Elasticity",
    "Exponents",
    "Goodness",
    "elasticity",
    "extrapolated_path",
    "fitted_identity_path",
    "fitted_residual_path",
    "frozen_path",
    "goodness",
    "identity_exponents",
    "identity_exponents_reference",
    "identity_path",
    "residual_exponents",
    "residual_exponents_reference",
    "residual_path",
    "smoothed_derivative",
    "tail_index_local",
    "tail_index_reference",
]
