"""Features in units of their spread within classes: what the loss on the central path depends on, and its descent."""

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.core.linalg import EIGENVALUE_TOLERANCE
from collapselab.evidence import ClassStats, LabelledFeatures


def signal_to_noise(evidence: ClassStats | LabelledFeatures) -> Tensor:
    r"""Singular values of $\Sigma_W^{-1/2}\bar M^T$, of the centred class means in units of the spread within classes.

    On the central path of balanced classes without decay they are all that the loss depends on: no invertible map of
    the features changes either.

    Args:
        evidence: Moments with scatter, or features with labels; classes of one size.

    Returns:
        The K-1 largest, descending; d where there are fewer features.

    Raises:
        InputError: If classes differ in size.
    """
    stats = evidence if isinstance(evidence, ClassStats) else ClassStats.of(evidence)
    if stats.imbalance != 1:
        raise InputError(f"classes must have one size here, got an imbalance of {stats.imbalance:g}")
    return torch.linalg.svdvals(stats.centred_means @ _whitening(stats))[: stats.num_seen - 1]


def central_path_loss(singular_values: Tensor, num_classes: int) -> Tensor:
    r"""The loss of the least-squares classifier of balanced classes without decay: $\tfrac12\sum_j1/(K+\omega_j^2)$.

    Args:
        singular_values: $\omega$ of `signal_to_noise`, at most K-1; those that are not given are 0.
        num_classes: K.

    Returns:
        0-d float64, from 0 at collapse to $\tfrac12(1-\tfrac1K)$ where all class means coincide.

    Raises:
        InputError: If there are too many.

    Example:
        >>> float(central_path_loss(torch.zeros(3), 4))
        0.375
    """
    k = checks.whole(num_classes, "num_classes", at_least=2)
    if singular_values.ndim != 1 or len(singular_values) >= k:
        raise InputError(f"singular_values must be at most {k - 1} numbers, got {checks.described(singular_values)}")
    missing = (k - 1 - len(singular_values)) / k
    return ((1 / (k + singular_values.double().square())).sum() + missing) / 2


def renormalised(features: LabelledFeatures) -> LabelledFeatures:
    r"""Features times $\Sigma_W^{-1/2}$, so that their covariance within classes is the identity.

    Args:
        features: (n, d) with labels.

    Returns:
        New features in float64.
    """
    root = _whitening(ClassStats.of(features))
    return LabelledFeatures(features.h.to(root) @ root, features.y, features.num_classes)


def renormalised_step(features: LabelledFeatures, step: float) -> LabelledFeatures:
    r"""One step of the renormalised flow on features themselves, which takes nothing of its law for granted.

    Down the gradient of the loss of the least-squares classifier, found by differentiation through it; less the part of
    the gradient that leads away from $\Sigma_W=I$; and back there by `renormalised`. First order in the step.

    Args:
        features: With a covariance within classes equal to the identity.
        step: Length in time.

    Returns:
        New features.
    """
    h = features.h.detach().double().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(_best_loss(h, features), h)
    within = _centred(h.detach(), features)
    inner = within.T @ _centred(slope, features) / features.num_samples
    moved = h.detach() - step * (slope - within @ (inner + inner.T) / 2)
    return renormalised(LabelledFeatures(moved, features.y, features.num_classes))


def _whitening(stats: ClassStats) -> Tensor:
    """The inverse square root of the covariance within classes."""
    eigenvalues, vectors = torch.linalg.eigh(stats.within)
    if float(eigenvalues[0]) <= EIGENVALUE_TOLERANCE * float(eigenvalues[-1]):
        raise UndefinedMetric("the covariance within classes is singular: in some directions there is no spread")
    return vectors / eigenvalues.sqrt() @ vectors.T


def _best_loss(h: Tensor, features: LabelledFeatures) -> Tensor:
    """Half of the mean squared residual of the least-squares fit of one-hot labels, with a bias."""
    targets = torch.nn.functional.one_hot(features.y, features.num_classes).double()
    inputs, targets = h - h.mean(0), targets - targets.mean(0)
    fitted = inputs @ torch.linalg.solve(inputs.T @ inputs, inputs.T @ targets)
    return (targets - fitted).square().sum() / (2 * features.num_samples)


def _centred(rows: Tensor, features: LabelledFeatures) -> Tensor:
    """Rows minus the mean of their class."""
    member = torch.nn.functional.one_hot(features.y, features.num_classes).to(rows.dtype)
    return rows - member @ ((member.T @ rows) / member.sum(0)[:, None])
