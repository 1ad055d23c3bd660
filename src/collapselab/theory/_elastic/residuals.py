"""Residual directions: what separates the one-hot label of a class from uniform ones."""

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError


def residual_directions(num_classes: int) -> Tensor:
    r"""The residuals $d_k=e_k-\tfrac1K\mathbf 1$ of all classes, in which order they form a simplex.

    Args:
        num_classes: K, at least 2.

    Returns:
        (K, K); row k is $d_k$, of squared norm $\kappa=(K-1)/K$.

    Example:
        >>> residual_directions(2).tolist()
        [[0.5, -0.5], [-0.5, 0.5]]
    """
    checks.whole(num_classes, "num_classes", at_least=2)
    return torch.eye(num_classes, dtype=torch.float64) - 1 / num_classes


def residual_projections(means: Tensor) -> Tensor:
    r"""How far each class lies along its own residual: $s_k=\langle d_k,\bar X_k\rangle/\kappa$.

    Args:
        means: (..., K, K) logits, one row a class.

    Returns:
        (..., K).

    Raises:
        InputError: If they are not as many logits as classes.

    Example:
        >>> residual_projections(3.0 * residual_directions(4)).tolist()
        [3.0, 3.0, 3.0, 3.0]
    """
    classes = means.shape[-1]
    if means.ndim < 2 or means.shape[-2] != classes:
        raise InputError(f"means must be as many logits as classes, got {checks.described(means)}")
    own = torch.diagonal(means, dim1=-2, dim2=-1)
    return (own - means.mean(-1)) * classes / (classes - 1)
