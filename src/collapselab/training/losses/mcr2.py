"""Maximal coding rate reduction."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.training.losses._features import FeatureLoss, unit_rows
from collapselab.training.losses._spec import loss


@loss("mcr2", label="coding rate reduction", source="yu2020")
@dataclass(frozen=True)
class CodingRateReduction(FeatureLoss):
    r"""Minus the nats that knowing the classes saves when the features of a batch are coded to a precision.

    One number for the batch, which every sample is given, so that their mean is that number: a factor on some classes
    does not weigh them. Rows of Z are the n features divided by their norms, $Z_k$ those of class k. It wants classes
    in orthogonal subspaces, each filled, and so no collapse of variability. At most 0; for equal classes and $d=Kr$ at
    least $-\tfrac d2\log(1+\varepsilon^{-2})+\tfrac r2\log(1+K\varepsilon^{-2})$, where each class is a tight frame of
    an r-dimensional subspace orthogonal to all others, unless $\varepsilon$ is so large that fewer dimensions are
    cheaper.

    Attributes:
        probe: Whether the cross-entropy of the head on detached features is added. It trains the head and leaves the
            features alone; without it the head stays as it was initialised.
        epsilon_squared: Squared precision.
    """

    weighable: ClassVar[bool] = False

    epsilon_squared: float = 0.5

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.epsilon_squared, "epsilon_squared", above=0)

    def of_features(self, h: Tensor, y: Tensor, num_classes: int) -> Tensor:
        r"""$\sum_k\frac{n_k}{2n}\log\det(I+\frac{d}{n_k\varepsilon^2}Z_k^TZ_k)-\frac12\log\det(I+\frac{d}{n\varepsilon^2}Z^TZ)$.

        Args:
            h: Features (n, d).
            y: Labels (n,).
            num_classes: K.

        Returns:
            The same number for each sample.
        """
        z = unit_rows(h)
        n, d = z.shape
        gram = z @ z.T if n <= d else z.T @ z
        whole = log_pivots(gram * (d / (n * self.epsilon_squared))).sum()
        return (self._classes(z, y, num_classes) - whole).expand(n)

    def _classes(self, z: Tensor, y: Tensor, num_classes: int) -> Tensor:
        """The sum over classes, on the side of the samples or of the features, whichever is cheaper."""
        n, d = z.shape
        own = functional.one_hot(y, num_classes).to(z.dtype)
        counts = own.sum(0)
        factors = d / (counts.clamp_min(1) * self.epsilon_squared)
        if n**3 <= num_classes * d**3:
            # Samples of different classes do not meet, so one Cholesky factor holds those of all classes.
            same = y[:, None] == y
            pivots = log_pivots(torch.where(same, z @ z.T, 0.0) * factors[y][:, None])
            return (counts[y] * pivots).sum() / n
        grams = torch.einsum("nk,nd,ne->kde", own, z, z)
        return (counts * log_pivots(grams * factors[:, None, None]).sum(1)).sum() / n


def log_pivots(matrices: Tensor) -> Tensor:
    r"""Logarithms of the diagonal of the Cholesky factor of I + A, whose sum is $\tfrac12\log\det(I+A)$.

    Args:
        matrices: Positive semi-definite A (..., m, m).

    Returns:
        (..., m); NaN where A is, so that the training loop can say that it diverged.
    """
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    factor, failed = torch.linalg.cholesky_ex(identity + matrices)  # looking at `failed` would wait for the device
    pivots = factor.diagonal(dim1=-2, dim2=-1).log()
    return torch.where(failed[..., None] == 0, pivots, torch.nan)
