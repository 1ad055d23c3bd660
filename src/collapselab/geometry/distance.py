"""How far a configuration is from an ideal one, up to position in space and size."""

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric


def gram_distance(rows: Tensor, ideal: Tensor) -> Tensor:
    r"""Distance of normalised Gram matrices, $\|G/\|G\|_F-G^*/\|G^*\|_F\|_F$.

    Row k is compared with row k. Rows are not centred here.

    Args:
        rows: (k, d) configuration.
        ideal: (k, r) ideal configuration.

    Returns:
        Number in [0, sqrt 2]; 0 where the two differ by a rotation, a reflection and a scale.
    """
    a, b = _pair(rows, ideal)
    return torch.linalg.matrix_norm(_unit(a @ a.T) - _unit(b @ b.T))


def procrustes_distance(rows: Tensor, ideal: Tensor) -> Tensor:
    r"""Smallest $\|X/\|X\|_F\,R-X^*/\|X^*\|_F\|_F$ over isometries R.

    Row k is compared with row k. Rows are not centred here.

    Args:
        rows: (k, d) configuration.
        ideal: (k, r) ideal configuration.

    Returns:
        Number in [0, sqrt 2]; 0 where the two differ by a rotation, a reflection and a scale.
    """
    a, b = _pair(rows, ideal)
    a, b = _unit(a), _unit(b)
    width = max(a.shape[1], b.shape[1])
    a, b = (torch.nn.functional.pad(x, (0, width - x.shape[1])) for x in (a, b))
    u, _, vh = torch.linalg.svd(a.T @ b)
    return torch.linalg.matrix_norm(a @ (u @ vh) - b)


def _unit(x: Tensor) -> Tensor:
    size = torch.linalg.matrix_norm(x)
    if float(size) == 0:
        raise UndefinedMetric("every row of a configuration is zero: it has no shape")
    return x / size


def _pair(rows: Tensor, ideal: Tensor) -> tuple[Tensor, Tensor]:
    a = checks.matrix(rows, "rows", axes="(classes, features)").double()
    b = checks.matrix(ideal, "ideal", axes="(classes, features)").to(a.device).double()
    if a.shape[0] != b.shape[0]:
        raise InputError(f"ideal must have {a.shape[0]} rows, got {checks.described(ideal)}")
    return a, b
