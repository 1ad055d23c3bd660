"""The only home of numerical thresholds: rank-aware spectra and symmetric products in float64."""

import torch
from jaxtyping import Float
from torch import Tensor

EPS = torch.finfo(torch.float64).eps

# Directions of the class means whose singular value is below this part of the largest carry no between-class structure.
# Means near 1 whose differences are near 1e-9 are the worst case met: float64 centring leaves noise of 1e-16 / 1e-9 =
# 1e-7 there. Real between-class spectra were met down to 1e-3.
RANK_TOLERANCE = 1e-7

# A class mean computed from n samples in float64 is off by about sqrt(n / 3) eps times the root mean square norm of its
# samples (the rounding of partial sums adds up like a random walk); 1024 covers three million samples a class. Two
# means closer than their rounding are the same mean as far as anybody can tell.
MEAN_ROUNDING = 1024 * EPS

# A covariance is off by about eps times its largest eigenvalue, times a small power of d: an eigenvalue below this part
# of the largest is taken for zero.
EIGENVALUE_TOLERANCE = 1e-12

# a^2 + b^2 - 2ab loses log10(1 / CLOSE_PAIR) digits at a pair of rows this close, relative to their norms. 1e-3 keeps
# twelve digits; closer pairs are subtracted coordinate by coordinate.
CLOSE_PAIR = 1e-3

# Columns multiplied at once in `add_gram`: small enough to skip most of the lower triangle, large enough for BLAS.
_GRAM_COLUMNS = 128


def accumulator_device(device: torch.device) -> torch.device:
    """Where float64 moments of features on a device are kept.

    Args:
        device: Where the features are.

    Returns:
        The device itself, or the CPU where it has no float64 (Apple's MPS).
    """
    return torch.device("cpu") if device.type == "mps" else device


def mean_rounding(means: Float[Tensor, "k d"], variances: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """How far a class mean may be from its exact value because of float64 rounding, as a distance.

    Args:
        means: Class means, before any centring: a common offset is what the rounding is relative to.
        variances: Trace of each class covariance.

    Returns:
        A distance for each class, 0 only if all its samples are 0.
    """
    return MEAN_ROUNDING * (means.square().sum(1) + variances).sqrt()


def add_gram(total: Float[Tensor, "d d"], rows: Float[Tensor, "n d"]) -> None:
    """Add R^T R to the upper triangle of a matrix in place; `mirrored` completes it.

    Half the work of a full product: blocks below the diagonal are never formed.

    Args:
        total: What to add to.
        rows: R.
    """
    d = rows.shape[1]
    for start in range(0, d, _GRAM_COLUMNS):
        stop = min(start + _GRAM_COLUMNS, d)
        total[start:stop, start:].addmm_(rows[:, start:stop].T, rows[:, start:])


def mirrored(upper: Float[Tensor, "*batch d d"]) -> Float[Tensor, "*batch d d"]:
    """The symmetric matrix whose upper triangle is given.

    Args:
        upper: Matrices whose entries below the diagonal do not count.

    Returns:
        New symmetric matrices.
    """
    above = torch.triu(upper, diagonal=1)
    return above + torch.triu(upper).mT


def right_svd(rows: Float[Tensor, "k d"]) -> tuple[Float[Tensor, " r"], Float[Tensor, "d r"]]:
    """Singular values and right singular vectors, r = min(k, d), without the left ones.

    A tall matrix is first reduced to its triangular factor, so 20,000 x 768 costs one QR and one 768 x 768 SVD and the
    accuracy of a direct SVD is kept (an eigendecomposition of the Gram matrix would lose half the digits).

    Args:
        rows: A matrix.

    Returns:
        Descending singular values and the vectors as columns.
    """
    k, d = rows.shape
    square = torch.linalg.qr(rows, mode="r").R if k > d else rows
    _, s, vh = torch.linalg.svd(square, full_matrices=False)
    return s, vh.T


def structural_rank(s: Float[Tensor, " r"], *, floor: float, most: int) -> int:
    """How many singular values of centred class means carry structure.

    Args:
        s: Singular values, descending.
        floor: Values up to this one are rounding of the means.
        most: The rank the matrix can have.

    Returns:
        A rank; 0 if the means coincide.
    """
    kept = s > max(RANK_TOLERANCE * float(s[0]), floor)
    return min(int(kept.sum()), most)


def quadratic_forms(matrix: Float[Tensor, "d d"], columns: Float[Tensor, "d r"]) -> Float[Tensor, " r"]:
    """v^T A v for each column v of a positive semi-definite A.

    Args:
        matrix: A.
        columns: The vectors.

    Returns:
        Non-negative numbers; what rounding puts below zero is zero.
    """
    return ((matrix @ columns) * columns).sum(0).clamp_min_(0)


def _leading(rows: Float[Tensor, "k t"], rank: int) -> Float[Tensor, "t r"]:
    """Leading right singular vectors, as columns."""
    # A tall matrix takes the short way over R^T R. It blurs small singular values; only the vectors are wanted here.
    if rows.shape[0] <= rows.shape[1]:
        return right_svd(rows)[1][:, :rank]
    return torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -rank:]


def discriminant_shares(
    rows: Float[Tensor, "k d"], within: Float[Tensor, "d d"], *, rank: int
) -> tuple[Float[Tensor, " r"], int]:
    r"""$1/(1+\lambda_j)$ for the generalised eigenvalues of (R^T R, W), and the rank of R^T R + W.

    The pencil is whitened by $R^TR/\operatorname{tr}R^TR+W/\operatorname{tr}W$, in which both parts have the same size
    however small W is, and each share is a quotient of two quadratic forms: nothing cancels, so a share of 1e-12 has
    as many digits as one of 0.5.

    Args:
        rows: R.
        within: W.
        rank: Rank of R, at least 1.

    Returns:
        Shares in [0, 1], `rank` of them unless the sum has a smaller one, and the rank of the sum.
    """
    between, spread = rows.square().sum(), torch.trace(within)
    balanced = rows.T @ (rows / between)
    if float(spread) > 0:
        balanced += within / spread
    eigenvalues, vectors = torch.linalg.eigh(balanced)
    kept = eigenvalues > EIGENVALUE_TOLERANCE * eigenvalues[-1]
    whitening = vectors[:, kept] / eigenvalues[kept].sqrt()
    directions = whitening @ _leading(rows @ whitening, rank)
    inside = quadratic_forms(within, directions)
    outside = (rows @ directions).square().sum(0)
    return inside / (inside + outside), int(kept.sum())


def log_det_one_plus(factor: Float[Tensor, " b"], gram: Float[Tensor, "b m m"]) -> Float[Tensor, " b"]:
    """Logarithm of det(I + f G) for positive semi-definite G, by a Cholesky factor: it neither overflows nor cancels.

    Args:
        factor: f >= 0, one for each matrix.
        gram: G.

    Returns:
        Non-negative numbers, in nats.
    """
    matrices = gram * factor[:, None, None]
    matrices.diagonal(dim1=-2, dim2=-1).add_(1)
    return 2 * torch.linalg.cholesky(matrices).diagonal(dim1=-2, dim2=-1).log().sum(-1)
