r"""Features and head as factors of the logits: two decays of squared norms are one decay of the nuclear norm.

For every loss g of the logits Z,
$\min_{WH=Z}\tfrac{\lambda_W}2\|W\|^2+\tfrac{\lambda_H}2\|H\|^2=\sqrt{\lambda_W\lambda_H}\,\|Z\|_*$, so that an
unconstrained-features model with a convex g and enough features is a convex problem in Z. Its optimality condition is a
certificate (`certificate`), and where that fails there is a way down (`escape_direction`).
"""

import math

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.core.linalg import right_svd
from collapselab.geometry import orthogonal_frame
from collapselab.theory._problem import State

# Part of the largest singular value below which another one is rounding.
_ROUNDING = 1e-12


def nuclear_norm(matrix: Tensor) -> float:
    """Sum of the singular values.

    Args:
        matrix: (n, k).

    Returns:
        A non-negative number.

    Example:
        >>> nuclear_norm(torch.diag(torch.tensor([3.0, 1.0])))
        4.0
    """
    return float(right_svd(checks.matrix(matrix, "matrix").double())[0].sum())


def spectral_norm(matrix: Tensor) -> float:
    """Largest singular value.

    Args:
        matrix: (n, k).

    Returns:
        A non-negative number.
    """
    return float(right_svd(checks.matrix(matrix, "matrix").double())[0][0])


def balanced_factors(
    logits: Tensor,
    num_features: int,
    *,
    decay_head: float,
    decay_features: float,
    generator: torch.Generator | None = None,
) -> State:
    r"""Features and head of given logits with the least decay: every such pair, up to a rotation.

    From the singular value decomposition $Z=USV^\top$ of the (n, k) logits, of rank r at most d,
    $H=(\lambda_W/\lambda_H)^{1/4}US^{1/2}Q^\top$ and $W=(\lambda_H/\lambda_W)^{1/4}VS^{1/2}Q^\top$ with
    orthonormal columns of Q (d, r). Their penalty is $\sqrt{\lambda_W\lambda_H}\,\|Z\|_*$, and
    $\lambda_WW^\top W=\lambda_HH^\top H$.

    Args:
        logits: Z, (n, k), without bias.
        num_features: d.
        decay_head: lambda_W, above 0.
        decay_features: lambda_H, above 0.
        generator: Turns the factors at random; None leaves them on the first axes.

    Returns:
        ``h`` (n, d) and ``weight`` (k, d) in float64, with ``h @ weight.T`` the logits.

    Raises:
        InputError: If the logits have a higher rank than there are features.

    Example:
        >>> z = torch.tensor([[2.0, 0.0], [0.0, 8.0]])
        >>> state = balanced_factors(z, 3, decay_head=1.0, decay_features=4.0)
        >>> round(float(state["weight"].square().sum() / state["h"].square().sum()), 12)
        4.0
    """
    z = checks.matrix(logits, "logits", axes="(samples, classes)").double()
    ratio = checks.real(decay_head, "decay_head", above=0) / checks.real(decay_features, "decay_features", above=0)
    s, right = right_svd(z)
    kept = s > _ROUNDING * s[0]
    rank = int(kept.sum())
    if rank > checks.whole(num_features, "num_features", at_least=1):
        raise InputError(f"num_features must be at least the rank of the logits, {rank}, got {num_features}")
    if rank == 0:
        return {"h": z.new_zeros(len(z), num_features), "weight": z.new_zeros(z.shape[1], num_features)}
    roots, right = s[kept].sqrt(), right[:, kept]
    frame = orthogonal_frame(rank, num_features, generator=generator)
    # U S^(1/2) = Z V S^(-1/2)
    return {"h": ratio**0.25 * (z @ right / roots) @ frame, "weight": ratio**-0.25 * (right * roots) @ frame}


def balance_residual(h: Tensor, weight: Tensor, *, decay_head: float, decay_features: float) -> float:
    r"""How far features and head are from the balance of every critical point, $\lambda_WW^\top W=\lambda_HH^\top H$.

    Args:
        h: H, (n, d).
        weight: W, (k, d).
        decay_head: lambda_W.
        decay_features: lambda_H.

    Returns:
        Frobenius norm of the difference, as a part of the larger of the two; 0 where both are zero.
    """
    of_head = decay_head * weight.double().T @ weight.double()
    of_features = decay_features * h.double().T @ h.double()
    larger = max(float(of_head.norm()), float(of_features.norm()))
    return float((of_head - of_features).norm()) / larger if larger > 0 else 0.0


def balancing_decay(h: Tensor, weight: Tensor, *, decay_head: float) -> float:
    r"""The decay of features at which their norm and that of the head balance, $\lambda_H=\lambda_W\|W\|^2/\|H\|^2$.

    Args:
        h: H, (n, d), not zero.
        weight: W, (k, d).
        decay_head: lambda_W.

    Returns:
        lambda_H, of the squared norm of all features together.

    Raises:
        InputError: If features or head are zero.
    """
    of_head, of_features = float(weight.double().square().sum()), float(h.double().square().sum())
    if not (of_head > 0 and of_features > 0 and math.isfinite(of_head + of_features)):
        raise InputError(f"features and head must not be zero, got squared norms {of_features} and {of_head}")
    return decay_head * of_head / of_features
