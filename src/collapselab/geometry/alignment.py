"""Where features lie relative to the simplex: the isometry that lays the class means on it as well as possible."""

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.geometry.configurations import canonical_simplex


def align(means: Tensor, ideal: Tensor | None = None) -> Tensor:
    """The isometry that best maps the centred rows of one matrix on the rows of another (Procrustes).

    Rotations and reflections are both allowed, in the larger of the two spaces, with zeros filled in for the other. For
    d >= r only the r columns that reach the ideal's space are given, orthonormal: what is orthogonal to the means is
    dropped. For d < r the rows are orthonormal: all distances are kept.

    Args:
        means: (k, d) class means, k >= 2; centred here.
        ideal: (k, r) what to map them on; by default the canonical simplex, r = k-1.

    Returns:
        (d, r) matrix R in float64: rows are mapped by ``(means - means.mean(0)) @ R``.

    Raises:
        InputError: If there are fewer than two rows, or the numbers of rows differ.
    """
    centred = _centred(means)
    target = canonical_simplex(centred.shape[0]) if ideal is None else checks.matrix(ideal, "ideal").double()
    if target.shape[0] != centred.shape[0]:
        raise InputError(f"ideal must have {centred.shape[0]} rows like the means, got {tuple(target.shape)}")
    u, _, vh = torch.linalg.svd(centred.T @ target.to(centred.device), full_matrices=False)
    return u @ vh


def simplex_coordinates(h: Tensor, means: Tensor) -> Tensor:
    """Features in the coordinates of the canonical simplex, in units of the size of the configuration of means.

    Centred at the mean of class means, mapped by `align`, divided by the root mean square norm of the centred means. At
    full collapse every sample lies on its class's vertex of `canonical_simplex`.

    Args:
        h: (n, d) features.
        means: (k, d) class means.

    Returns:
        (n, k-1) coordinates in float64.

    Raises:
        InputError: If the widths differ.
        UndefinedMetric: If the means coincide, so that there is no unit of length.
    """
    centred = _centred(means)
    h = checks.matrix(h, "features")
    if h.shape[1] != centred.shape[1]:
        raise InputError(f"features must have {centred.shape[1]} columns like the means, got {checks.described(h)}")
    rms = centred.square().sum(1).mean().sqrt()
    if float(rms) == 0:
        raise UndefinedMetric("the class means coincide: their configuration has no size")
    centre = means.double().mean(0)
    return (h.to(centred.device).double() - centre) @ (align(means) / rms)


def _centred(means: Tensor) -> Tensor:
    rows = checks.matrix(means, "means", axes="(classes, features)").double()
    if rows.shape[0] < 2:
        raise InputError(f"means must have at least two rows, got {checks.described(means)}")
    return rows - rows.mean(0)
