"""How far each class vector is from the convex hull of all others."""

import numpy as np
import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, NotConverged

# Relative to the largest entry of a problem whose solution is of order 1: rounding, and nothing that could be mass.
_ROUNDING = 1e-13


def one_versus_rest_distances(rows: Tensor) -> Tensor:
    r"""Distance of each row from the convex hull of the others, exact to rounding.

    $\min_{\lambda\ge0,\,\sum\lambda=1}\|w_k-\sum_{j\ne k}\lambda_jw_j\|$. The smallest of them is what a softmax code
    makes as large as possible, and the second metric of generalised neural collapse (Jiang et al.). Nothing is
    normalised here.

    Args:
        rows: (k, d) class vectors, k >= 2.

    Returns:
        (k,) distances in float64 on the CPU; 0 up to rounding for a row inside the hull. No gradient flows back.

    Raises:
        InputError: If there are fewer than two rows.

    Example:
        >>> [round(x, 12) for x in one_versus_rest_distances(torch.tensor([[1.0], [-2.0], [0.0]])).tolist()]
        [1.0, 2.0, 0.0]
    """
    w = checked_rows(rows)
    return torch.tensor([np.linalg.norm(way_to_hull(w, k)) for k in range(len(w))], dtype=torch.float64)


def ways_to_rest(rows: Tensor) -> Tensor:
    """What leads from each row to the nearest point of the convex hull of the others.

    Args:
        rows: (k, d) class vectors, k >= 2.

    Returns:
        (k, d) differences in float64 on the CPU, with `one_versus_rest_distances` as norms: normals of the widest gap
        between a row and the rest.
    """
    w = checked_rows(rows)
    return torch.from_numpy(np.stack([way_to_hull(w, k) for k in range(len(w))]))


def checked_rows(rows: Tensor) -> np.ndarray:
    """Class vectors as an array.

    Args:
        rows: (k, d).

    Returns:
        (k, d) float64.

    Raises:
        InputError: If there are fewer than two.
    """
    given = checks.matrix(rows, "rows", axes="(classes, features)")
    if given.shape[0] < 2:
        raise InputError(f"rows must be at least two, got {checks.described(given)}")
    return given.cpu().double().numpy()


def way_to_hull(rows: np.ndarray, k: int) -> np.ndarray:
    """What leads from one row to the nearest point of the convex hull of the others, exact to rounding.

    Args:
        rows: (k, d).
        k: Which row.

    Returns:
        (d,).
    """
    point, others = rows[k], np.delete(rows, k, 0)
    # With the differences P as columns let l >= 0 minimise |P l|^2 + (1'l - 1)^2. For fixed proportions l / 1'l the
    # best total 1'l leaves an increasing function of the distance: l / 1'l is the nearest convex combination.
    differences = (others - point).T
    size = np.abs(differences).max()
    if size == 0:
        return np.zeros(len(point))
    system = np.vstack([differences / size, np.ones(differences.shape[1])])
    target = np.zeros(len(system))
    target[-1] = 1.0
    amounts = _nonnegative_least_squares(system, target)
    return differences @ (amounts / amounts.sum())


def _nonnegative_least_squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The x >= 0 that minimises |a x - b|, by the active-set method of Lawson and Hanson."""
    x, free = np.zeros(a.shape[1]), np.zeros(a.shape[1], dtype=bool)
    for _ in range(10 * sum(a.shape)):
        pull = np.where(free, -np.inf, a.T @ (b - a @ x))
        entering = int(pull.argmax())
        if pull[entering] <= _ROUNDING:
            return x
        free[entering] = True
        best = _on(free, a, b)
        if best[entering] <= 0:  # what pulled was rounding
            return x
        while best[free].min() <= 0:
            blocked = free & (best <= 0)
            x += (x[blocked] / (x[blocked] - best[blocked])).min() * (best - x)
            free &= x > _ROUNDING
            x[~free] = 0.0
            best = _on(free, a, b)
        x = best
    raise NotConverged(f"least squares with non-negative unknowns did not end in {10 * sum(a.shape)} steps")


def _on(free: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Least squares over the free unknowns, zero for the others."""
    x = np.zeros(len(free))
    x[free] = np.linalg.lstsq(a[:, free], b, rcond=None)[0]
    return x
