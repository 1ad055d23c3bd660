"""Distances that need no attack: exact for linear classifiers, a lower bound for networks of known slope."""

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.dynamics._robustness.perturbations import Perturbations


def linear_l2(weight: Tensor, bias: Tensor | None, x: Tensor, y: Tensor) -> Perturbations:
    r"""Exact distances of samples to the boundary of a linear classifier in the Euclidean norm.

    $\min_{j\ne y}(z_y - z_j)/\lVert w_y - w_j\rVert_2$, and 0 where a difference of logits is negative.

    Args:
        weight: (k, d).
        bias: (k,), or None.
        x: Inputs (n, d).
        y: Labels (n,).

    Returns:
        Distances, and the nearest points of the boundary; infinite where no other class can be reached.

    Raises:
        InputError: If shapes or labels do not fit.

    Example:
        >>> linear_l2(torch.eye(2), None, torch.tensor([[3.0, 1.0]]), torch.tensor([0])).distance
        tensor([1.4142], dtype=torch.float64)
    """
    return _linear(weight, bias, x, y, dual=2.0)


def linear_linf(weight: Tensor, bias: Tensor | None, x: Tensor, y: Tensor) -> Perturbations:
    r"""Exact distances of samples to the boundary of a linear classifier in the largest absolute coordinate.

    $\min_{j\ne y}(z_y - z_j)/\lVert w_y - w_j\rVert_1$, and 0 where a difference of logits is negative.

    Args:
        weight: (k, d).
        bias: (k,), or None.
        x: Inputs (n, d).
        y: Labels (n,).

    Returns:
        Distances, and nearest points of the boundary; infinite where no other class can be reached.

    Raises:
        InputError: If shapes or labels do not fit.

    Example:
        >>> linear_linf(torch.eye(2), None, torch.tensor([[3.0, 1.0]]), torch.tensor([0])).distance
        tensor([1.], dtype=torch.float64)
    """
    return _linear(weight, bias, x, y, dual=1.0)


def _linear(weight: Tensor, bias: Tensor | None, x: Tensor, y: Tensor, *, dual: float) -> Perturbations:
    w, b, x = _checked(weight, bias, x)
    y = checks.labels_in_range(checks.labels(y, num_rows=len(x)), len(w))
    gaps = gaps_of(x @ w.T + b, y)
    slopes = torch.linalg.vector_norm(w[:, None] - w, ord=dual, dim=2)
    distance, nearest = _nearest(gaps, slopes[y])
    direction = w[nearest] - w[y]
    step = direction.sign() if dual == 1 else direction / slopes[y, nearest].clamp(min=math.ulp(0.0))[:, None]
    reach = torch.where(distance.isinf(), 0.0, distance)
    return Perturbations(distance, x + reach[:, None] * step)


def lipschitz_bounds(z: Tensor, y: Tensor, weights: Sequence[Tensor]) -> Tensor:
    r"""Distances in the Euclidean norm that no perturbation can fall below, from margins and norms of layers.

    $\min_{j\ne y}(z_y - z_j)/(\lVert w_y - w_j\rVert_2\prod_l\lVert W_l\rVert_2)$, for a chain of linear layers with
    activations of slope 1 at most between them, ReLU for one. $w_j$ are the rows of the last layer.

    Args:
        z: Logits (n, k) of the samples.
        y: Labels (n,).
        weights: Matrices of the layers from the first to the last, (k, d) being the last.

    Returns:
        (n,) float64, 0 where a sample is misclassified.

    Raises:
        InputError: If shapes or labels do not fit.
    """
    z = checks.matrix(z, "logits", axes="(samples, classes)").double()
    y = checks.labels_in_range(checks.labels(y, num_rows=len(z)), z.shape[1])
    if not weights or len(weights[-1]) != z.shape[1]:
        raise InputError(f"weights must end in a matrix of {z.shape[1]} rows, one a class")
    chain = [checks.matrix(w, "every one of weights", axes="(units, inputs)").double() for w in weights]
    if any(len(before) != after.shape[1] for before, after in itertools.pairwise(chain)):
        raise InputError(
            f"weights must be a chain of layers, got shapes {', '.join(str(tuple(w.shape)) for w in chain)}"
        )
    *inner, last = chain
    slope = math.prod(float(torch.linalg.matrix_norm(w, 2)) for w in inner)
    slopes = slope * torch.linalg.vector_norm(last[:, None] - last, dim=2)
    return _nearest(gaps_of(z, y), slopes[y])[0]


def gaps_of(z: Float[Tensor, "n k"], y: Int[Tensor, " n"]) -> Float[Tensor, "n k"]:
    """How far the logit of the own class is above each other one; infinite at the own class.

    Args:
        z: Logits.
        y: Labels.

    Returns:
        (n, k).
    """
    return (z.gather(1, y[:, None]) - z).scatter(1, y[:, None], math.inf)


def _nearest(gaps: Float[Tensor, "n k"], slopes: Float[Tensor, "n k"]) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """Smallest distance to another class, and which one; infinite where every slope is 0."""
    ratios = torch.where(gaps <= 0, 0.0, torch.where(slopes > 0, gaps / slopes, math.inf))
    smallest = ratios.min(1)
    return smallest.values, smallest.indices


def _checked(weight: Tensor, bias: Tensor | None, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    w = checks.matrix(weight, "weight", axes="(classes, features)").double()
    checks.whole(len(w), "classes of the weight", at_least=2)
    x = checks.matrix(x, "x").double()
    if x.shape[1] != w.shape[1]:
        raise InputError(f"x must have {w.shape[1]} columns, as weight has, got {x.shape[1]}")
    b = torch.zeros(len(w), dtype=w.dtype, device=w.device) if bias is None else checks.as_tensor(bias, "bias").double()
    if b.shape != (len(w),):
        raise InputError(f"bias must be one number a class, got {checks.described(b)}")
    return w, checks.finite(b, "bias"), x
