"""Ideal configurations: K unit rows in d dimensions, float64, with an exact Gram matrix.

Without a generator the rows are in a fixed position, zeros filled in up to d; with one they are turned by a uniformly
random rotation or reflection. The Gram matrix is the same either way.
"""

import math

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError


def canonical_simplex(num_classes: int) -> Tensor:
    """Vertices of a regular simplex in K-1 dimensions, in a fixed position (Helmert's basis).

    Args:
        num_classes: K >= 2.

    Returns:
        (K, K-1) unit rows with pairwise inner product -1/(K-1); the first lies on the first axis.

    Example:
        >>> canonical_simplex(2).tolist()
        [[1.0], [-1.0]]
    """
    k = checks.whole(num_classes, "num_classes", at_least=2)
    # Column j of Helmert's basis is 0 above row j, (m - 1) a on it and -a below, with m = K - j and a^2 m (m - 1) = 1.
    m = torch.arange(k, 1, -1, dtype=torch.float64)
    below = (m * (m - 1)).rsqrt()
    rows = (-below).expand(k, k - 1).tril(-1)
    rows.diagonal().copy_((m - 1) * below)
    return rows * math.sqrt(k / (k - 1))


def simplex_etf(num_classes: int, num_features: int, *, generator: torch.Generator | None = None) -> Tensor:
    """A simplex equiangular tight frame: the largest equal angle that K directions can have.

    Args:
        num_classes: K >= 2.
        num_features: d >= K-1.
        generator: Turns the frame at random; None leaves it in its fixed position.

    Returns:
        (K, d) unit rows with pairwise inner product -1/(K-1) and sum zero.

    Example:
        >>> rows = simplex_etf(3, 5)
        >>> [round(x, 12) for x in (rows @ rows[0]).tolist()]
        [1.0, -0.5, -0.5]
    """
    return _placed(canonical_simplex(num_classes), num_features, generator)


def orthogonal_frame(num_classes: int, num_features: int, *, generator: torch.Generator | None = None) -> Tensor:
    """K orthonormal rows.

    Args:
        num_classes: K >= 1.
        num_features: d >= K.
        generator: Turns the frame at random; None leaves it in its fixed position.

    Returns:
        (K, d) rows with the identity as Gram matrix.
    """
    k = checks.whole(num_classes, "num_classes", at_least=1)
    return _placed(torch.eye(k, dtype=torch.float64), num_features, generator)


def orthoplex(num_classes: int, num_features: int, *, generator: torch.Generator | None = None) -> Tensor:
    """K/2 orthonormal directions and their opposites: the largest smallest distance for d + 2 <= K <= 2d.

    Args:
        num_classes: K, even.
        num_features: d >= K/2.
        generator: Turns the configuration at random; None leaves it in its fixed position.

    Returns:
        (K, d) unit rows; row k + K/2 is opposite to row k, all others are orthogonal to it.

    Raises:
        InputError: If the number of classes is odd.
    """
    k = checks.whole(num_classes, "num_classes", at_least=2)
    if k % 2:
        raise InputError(f"num_classes of an orthoplex must be even, got {k}")
    half = torch.eye(k // 2, dtype=torch.float64)
    return _placed(torch.cat([half, -half]), num_features, generator)


def cube(num_classes: int, num_features: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Corners of a cube.

    Args:
        num_classes: K, a power of two.
        num_features: d >= log2 K.
        generator: Turns the cube at random; None leaves it in its fixed position.

    Returns:
        (K, d) unit rows; the signs of row k are the binary digits of k, most significant first.

    Raises:
        InputError: If the number of classes is not a power of two.
    """
    k = checks.whole(num_classes, "num_classes", at_least=2)
    if k & (k - 1):
        raise InputError(f"num_classes of a cube must be a power of two, got {k}")
    places = torch.arange(k.bit_length() - 2, -1, -1)
    digits = (torch.arange(k)[:, None] >> places) & 1
    return _placed((1.0 - 2.0 * digits.double()) / math.sqrt(places.shape[0]), num_features, generator)


def _placed(rows: Tensor, num_features: int, generator: torch.Generator | None) -> Tensor:
    """Embed r-dimensional rows in d >= r dimensions, in fixed position or turned at random."""
    k, r = rows.shape
    d = checks.whole(num_features, "num_features", at_least=1)
    if d < r:
        raise InputError(f"num_features must be at least {r} for {k} classes in this configuration, got {d}")
    if generator is None:
        return torch.nn.functional.pad(rows, (0, d - r))
    draw = torch.randn(d, r, generator=generator, dtype=torch.float64, device=generator.device)
    q, upper = torch.linalg.qr(draw)
    # Without the signs the distribution would depend on the sign convention of the library's QR.
    return rows.to(q.device) @ (q * torch.where(upper.diagonal() < 0, -1.0, 1.0)).T
