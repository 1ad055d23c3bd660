"""The squared error of any features and head, taken apart along the central path (Han, Papyan and Donoho 2022)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.core.linalg import EIGENVALUE_TOLERANCE
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead


@dataclass(frozen=True)
class SquaredErrorParts:
    r"""Three parts of the decayed squared error that add up to it exactly; 0-d float64, none negative.

    Attributes:
        nc1: $L_{NC1}=\tfrac12\operatorname{tr}W_{LS}\Sigma_WW_{LS}^T$ and the decay of $W_{LS}$: what variability
            within classes costs the best classifier.
        nc2_nc3: $L_{NC2/3}=\tfrac12\sum_k\tfrac{n_k}N\|W_{LS}\mu_k+b_{LS}-e_k\|^2$: what the places of the class means
            cost it.
        off_path: $L_{LS}^\perp\ge0$: what the classifier costs by not being the best one for its features.
    """

    nc1: Tensor
    nc2_nc3: Tensor
    off_path: Tensor

    @property
    def on_path(self) -> Tensor:
        """The loss of the least-squares classifier on the same features: the point of the central path above them."""
        return self.nc1 + self.nc2_nc3

    @property
    def loss(self) -> Tensor:
        """The loss, decay of the head included."""
        return self.on_path + self.off_path

    @property
    def off_path_share(self) -> Tensor:
        """The part of the loss that is off the path, from 0 (on it) to 1; 0 where there is no loss."""
        return self.off_path / self.loss if float(self.loss) > 0 else torch.zeros_like(self.loss)


def least_squares_head(
    evidence: ClassStats | LabelledFeatures, *, decay: float, decay_bias: float | None = None, bias: bool = True
) -> LinearHead:
    r"""The classifier that minimises the decayed squared error on given features.

    With m the mean of the samples and $\Sigma_T$ their covariance about it, in block form without an extended matrix:
    $W=(PM-pm^T/(1+\lambda_b))(\Sigma_T+\tfrac{\lambda_b}{1+\lambda_b}mm^T+\lambda I)^{-1}$ and
    $b=(p-Wm)/(1+\lambda_b)$, where p are the shares $n_k/N$ of the classes, P is their diagonal matrix, and rows of M
    are class means. Where nothing is decayed and the covariance is singular it is the smallest such W.

    Args:
        evidence: Moments with scatter, or features with labels; classes of any sizes.
        decay: lambda, coefficient of one half of the squared norm of the weight.
        decay_bias: lambda_b, the same for the bias; that of the weight by default.
        bias: Whether it has a bias.

    Returns:
        A head in float64.

    Example:
        >>> features = LabelledFeatures.of([[1.0], [3.0], [-1.0], [-3.0]], [0, 0, 1, 1])
        >>> least_squares_head(features, decay=0.0).weight.flatten().tolist()
        [0.2, -0.2]
    """
    stats, decay, decay_bias = _checked(evidence, decay, decay_bias)
    shares, means = _shares(stats), stats.means
    wanted = torch.zeros(stats.num_classes, stats.num_features, dtype=torch.float64, device=means.device)
    wanted[stats.labels] = shares[:, None] * means
    if not bias:
        return LinearHead(_solved(wanted, stats.within + means.T @ (shares[:, None] * means), decay))
    centre, ahead = stats.sample_mean, torch.zeros(stats.num_classes, dtype=torch.float64, device=means.device)
    ahead[stats.labels] = shares
    away = means - centre
    total = (
        stats.within + away.T @ (shares[:, None] * away) + decay_bias / (1 + decay_bias) * torch.outer(centre, centre)
    )
    # p m^T / (1 + lambda_b) is taken off class by class: of means far from the origin little would be left.
    wanted[stats.labels] = shares[:, None] * (away + decay_bias / (1 + decay_bias) * centre)
    weight = _solved(wanted, total, decay)
    return LinearHead(weight, (ahead - weight @ centre) / (1 + decay_bias))


def squared_error_parts(
    evidence: ClassStats | LabelledFeatures, head: LinearHead, *, decay: float, decay_bias: float | None = None
) -> SquaredErrorParts:
    r"""The loss $\tfrac1{2N}\sum_i\|Wh_i+b-e_{y_i}\|^2+\tfrac\lambda2(\|W\|^2+\|b\|^2)$ in its three parts.

    Exact for any features and head; the decay must be that of the training, or its head is compared with the best one
    for another loss. The mean over the K entries as well, as `torch.nn.MSELoss` takes it, is 2/K times this loss: a
    training with it and a weight decay has $\lambda=K/2$ times that. Classes may differ in size: samples count alike.

    Args:
        evidence: Moments with scatter, or features with labels.
        head: The classifier, with or without bias; of classes that were not seen too.
        decay: lambda, coefficient of one half of the squared norm of the weight.
        decay_bias: The same for the bias; that of the weight by default.

    Returns:
        The parts.

    Raises:
        InputError: If the head does not fit.

    Example:
        >>> features = LabelledFeatures.of([[1.0], [3.0], [-1.0], [-3.0]], [0, 0, 1, 1])
        >>> parts = squared_error_parts(features, LinearHead.of([[0.2], [-0.2]], [0.5, 0.5]), decay=0.0)
        >>> round(float(parts.loss), 12), round(float(parts.off_path), 12)
        (0.05, 0.0)
    """
    stats, decay, decay_bias = _checked(evidence, decay, decay_bias)
    if head.num_classes < stats.num_classes or head.num_features != stats.num_features:
        expected = f"{stats.num_classes} classes or more and {stats.num_features} features"
        raise InputError(f"head must have {expected}, got {head.num_classes} and {head.num_features}")
    stats, own = replace(stats, num_classes=head.num_classes), head.double()
    best = least_squares_head(stats, decay=decay, decay_bias=decay_bias, bias=own.bias is not None)
    off = LinearHead(own.weight.to(best.weight.device) - best.weight, _difference(own.bias, best.bias))
    labels = torch.eye(stats.num_classes, dtype=torch.float64, device=stats.means.device)[stats.labels]
    shares = _shares(stats)
    spread = _quadratic(best.weight, stats.within) + _penalty(best, decay, decay_bias)
    off_path = _quadratic(off.weight, stats.within) + _penalty(off, decay, decay_bias)
    return SquaredErrorParts(
        nc1=spread / 2,
        nc2_nc3=shares @ (best.logits(stats.means) - labels).square().sum(1) / 2,
        off_path=(off_path + shares @ off.logits(stats.means).square().sum(1)) / 2,
    )


def _checked(
    evidence: ClassStats | LabelledFeatures, decay: float, decay_bias: float | None
) -> tuple[ClassStats, float, float]:
    decay = checks.real(decay, "decay", at_least=0)
    own = decay if decay_bias is None else checks.real(decay_bias, "decay_bias", at_least=0)
    return evidence if isinstance(evidence, ClassStats) else ClassStats.of(evidence), decay, own


def _shares(stats: ClassStats) -> Tensor:
    """n_k / N of the classes seen."""
    return stats.counts.double() / stats.num_samples


def _solved(wanted: Tensor, matrix: Tensor, decay: float) -> Tensor:
    """Rows times the inverse of a positive semi-definite matrix with decay; its pseudo-inverse where it is singular."""
    if decay > EIGENVALUE_TOLERANCE * float(matrix.trace()):
        factor = torch.linalg.cholesky(
            matrix + decay * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        )
        return torch.cholesky_solve(wanted.T, factor).T
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    eigenvalues, kept = eigenvalues + decay, eigenvalues > EIGENVALUE_TOLERANCE * eigenvalues[-1]
    vectors = vectors[:, kept]
    return wanted @ vectors / eigenvalues[kept] @ vectors.T


def _quadratic(rows: Tensor, matrix: Tensor) -> Tensor:
    return ((rows @ matrix) * rows).sum().clamp_min(0)


def _penalty(head: LinearHead, decay: float, decay_bias: float) -> Tensor:
    found = decay * head.weight.square().sum()
    return found if head.bias is None else found + decay_bias * head.bias.square().sum()


def _difference(own: Tensor | None, best: Tensor | None) -> Tensor | None:
    return None if own is None or best is None else own.to(best.device) - best
