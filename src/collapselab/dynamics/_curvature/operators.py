"""The Hessian and its Gauss-Newton part as linear operators, through curvlinops, and what ARPACK says of their ends."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from collapselab.core import checks, extras
from collapselab.core.errors import NotConverged, UndefinedMetric
from collapselab.dynamics._curvature.prepared import prepared
from collapselab.dynamics._spec import Sight

# Residuals of eigenvectors over their eigenvalues: eigenvalues are right to about the square of it.
_RESIDUAL = 1e-8


class _Zero(UndefinedMetric):
    """A matrix that takes a random vector to 0."""


# Samples whose second derivatives are computed together.
_TOGETHER = 512


def hessian_operator(sight: Sight, rows: Tensor | None = None) -> Any:
    """The Hessian of the mean cross-entropy by all trained parameters, as an operator of curvlinops.

    Args:
        sight: The network, in eval mode, and its samples; a copy of the network is differentiated, in float64.
        rows: Which samples (n,); all by default.

    Returns:
        An operator (p, p): ``operator @ v`` for tensors, ``operator.to_scipy()`` for SciPy. Parameters stand in their
        order in the network, each flattened.

    Raises:
        InputError: If samples or network are not what they must be.
        MissingExtra: If curvlinops is not installed.
    """
    return _operator("HessianLinearOperator", sight, rows)


def gauss_newton_operator(sight: Sight, rows: Tensor | None = None) -> Any:
    r"""The Gauss-Newton part of that Hessian, $G = \frac1N\sum_i J_i^T(\operatorname{diag} p_i - p_ip_i^T)J_i$.

    Args:
        sight: See `hessian_operator`.
        rows: See `hessian_operator`.

    Returns:
        An operator of the same shape.

    Raises:
        InputError: If samples or network are not what they must be.
        MissingExtra: If curvlinops is not installed.
    """
    return _operator("GGNLinearOperator", sight, rows)


def _operator(kind: str, sight: Sight, rows: Tensor | None) -> Any:
    curvlinops = extras.require("curvlinops", extra="curvature", purpose="the curvature of a loss")
    found = prepared(sight, rows)
    weights = [p for p in found.network.parameters() if p.requires_grad]
    data = list(zip(found.x.split(_TOGETHER), found.y.split(_TOGETHER), strict=True))
    # Its own check of determinism would draw from the global generator.
    return getattr(curvlinops, kind)(
        found.network, nn.CrossEntropyLoss(), weights, data, check_deterministic=False, num_data=len(found.y)
    )


def top_eigenpairs(
    operator: Any, count: int, *, generator: torch.Generator
) -> tuple[Float[Tensor, " m"], Float[Tensor, "p m"]]:
    """Largest eigenvalues of a symmetric operator, by implicitly restarted Lanczos (ARPACK).

    Args:
        operator: Of curvlinops or of SciPy.
        count: How many.
        generator: Where the first vector comes from.

    Returns:
        Descending eigenvalues, and eigenvectors as columns, in float64 on the CPU.

    Raises:
        NotConverged: If ARPACK gives up.
        UndefinedMetric: If the operator does not have more eigenvalues than that, or is 0.
    """
    checks.whole(count, "count", at_least=1)
    values, vectors = _ends(operator, count, "LA", generator)
    order = np.argsort(values)[::-1].copy()
    return torch.from_numpy(values[order]), torch.from_numpy(vectors[:, order])


def operator_norm(operator: Any, *, generator: torch.Generator) -> float:
    """Largest absolute eigenvalue of a symmetric operator.

    Args:
        operator: Of curvlinops or of SciPy.
        generator: Where the first vector comes from.

    Returns:
        A non-negative number; 0 for a matrix that is 0 to the last bit.

    Raises:
        NotConverged: If ARPACK gives up.
        UndefinedMetric: If the operator has one eigenvalue alone.
    """
    try:
        return float(abs(_ends(operator, 1, "LM", generator)[0][0]))
    except _Zero:
        return 0.0


def _ends(operator: Any, count: int, which: str, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    sparse = extras.require("scipy.sparse.linalg", extra="curvature", purpose="the ends of a spectrum")
    size = operator.shape[0]
    if count >= size:
        raise UndefinedMetric(f"{count} eigenvalues and a next one need more than {size} parameters")
    first = torch.randn(size, generator=generator, dtype=torch.float64).numpy()
    wrapped = operator.to_scipy() if hasattr(operator, "to_scipy") else operator
    if not (wrapped @ first).any():
        raise _Zero("the matrix is 0 to the last bit, so that no eigenvector is the first")
    try:
        return sparse.eigsh(wrapped, k=count, which=which, v0=first, tol=_RESIDUAL)
    except sparse.ArpackNoConvergence as error:
        raise NotConverged(f"Lanczos found {len(error.eigenvalues)} of {count} eigenvalues and gave up") from error


def knocked_out(operator: Any, factor: Float[Tensor, "r p"]) -> Any:
    r"""An operator less a matrix of low rank, $H - A^TA$: a knock-out.

    Args:
        operator: H, of curvlinops.
        factor: A, rows.

    Returns:
        An operator of SciPy.
    """
    sparse = extras.require("scipy.sparse.linalg", extra="curvature", purpose="a knock-out")
    whole, rows = operator.to_scipy(), factor.cpu().numpy()
    return sparse.LinearOperator(
        whole.shape, matvec=lambda v: whole @ v - rows.T @ (rows @ v), dtype=np.dtype(np.float64)
    )
