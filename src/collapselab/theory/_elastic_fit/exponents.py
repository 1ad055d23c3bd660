r"""$A = \int\alpha$ and $B = \int\beta$ of the locally elastic ODE, from the class means of a training.

Both models have two kinds of modes: one that all classes share, which grows by $a_1 = A + (K-1)B$, and those that tell
them apart, which grow by $a_2 = A - B$; so $B = (a_1-a_2)/K$ and $A = a_2 + B$. How fast each kind has grown is read
from its norm, which unlike a ratio of single entries does not vanish where an entry crosses zero.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.theory._elastic.residuals import residual_projections


class Exponents(NamedTuple):
    """Integrated elasticity since the start, up to a constant that the noise of the start decides.

    Attributes:
        intra: A (..., t).
        inter: B (..., t).
    """

    intra: Tensor
    inter: Tensor


def identity_exponents(means: Tensor, *, baseline: int = 20) -> Exponents:
    r"""A and B of the I-model, in which the mean of all classes and the deviations from it grow.

    $a_1 = K\log(\lVert\bar\ell(t)\rVert/\lVert\bar\ell(0)\rVert)$ with $\bar\ell$ the mean of the class means, and
    $a_2$ likewise of $\lVert\bar X - \bar\ell\rVert_F$.

    Args:
        means: Class means (..., t, k, p).
        baseline: The norms at the start are averaged over that many iterations. Norms, not means: averaged means would
            have less noise than those of later iterations, and A would grow by noise alone.

    Returns:
        The exponents.

    Raises:
        UndefinedMetric: If a norm vanishes.
    """
    means = as_paths(means)
    shared = means.mean(-2, keepdim=True)
    return _exponents(
        means.shape[-2] * _grown(beyond_rounding(shared.flatten(-2).norm(dim=-1), means), baseline),
        means.shape[-2] * _grown(beyond_rounding((means - shared).flatten(-2).norm(dim=-1), means), baseline),
        means.shape[-2],
    )


def residual_exponents(means: Tensor, *, baseline: int = 20) -> Exponents:
    r"""A and B of the residual-aligned L-model, in which each class moves along its own residual.

    $a_1 = \tfrac K\kappa\log(|\bar s(t)|/|\bar s(0)|)$ and $a_2$ likewise of $\lVert s - \bar s\rVert$, with $s_k$ as
    in `residual_projections`.

    Args:
        means: Class means of logits (..., t, k, k).
        baseline: See `identity_exponents`.

    Returns:
        The exponents.

    Raises:
        InputError: If there are not as many features as classes.
        UndefinedMetric: If a norm vanishes.
    """
    means = as_logits(means)
    k, parts = means.shape[-2], residual_projections(means)
    shared, scale = parts.mean(-1), k * k / (k - 1)
    return _exponents(
        scale * _grown(beyond_rounding(shared.abs(), means), baseline),
        scale * _grown(beyond_rounding((parts - shared[..., None]).norm(dim=-1), means), baseline),
        k,
    )


def identity_exponents_reference(means: Tensor) -> Exponents:
    r"""A and B of the I-model as the published code estimates them, by ratios of single entries to those at the start.

    With $c_0 = \bar\ell(0)$ and $c_k = \bar X_k(0) - c_0$, averaged over classes and then entries:
    $B = -\langle\log|(c_0/c_k)(\bar X_k-\bar\ell)/\bar\ell|\rangle$ and
    $A = \langle\log|\bar\ell(\bar X_k-\bar\ell)^{K-1}/(c_0c_k^{K-1})|\rangle$. An entry that crosses zero throws them
    off, and the single first iteration decides the constant.

    Args:
        means: Class means (..., t, k, p).

    Returns:
        The exponents.

    Raises:
        UndefinedMetric: If an entry is zero.
    """
    means = as_paths(means)
    shared = means.mean(-2, keepdim=True)
    common = _grown(shared.abs(), 1, axis=-3)
    apart = _grown((means - shared).abs(), 1, axis=-3)
    over = (-2, -1)
    return Exponents((common + (means.shape[-2] - 1) * apart).mean(over), (common - apart).mean(over))


def residual_exponents_reference(means: Tensor) -> Exponents:
    r"""A and B of the L-model as the published code estimates them, for three classes.

    $a_1$ and $a_2$ are K times the logarithms of how much the projections on $d = (d_1;d_2;d_3)$ and, of what is left,
    on $(d_1;d_2;0)$ have grown; $A = (a_1+(K-1)a_2)/K$ and $B = (a_2-a_1)(K-1)/K$. That inverts the spectrum of another
    model than the paper's, in which class k moves along the residuals of all classes; one of the K-1 directions that
    tell classes apart stands for all; and projections that cross zero throw it off.

    Args:
        means: Class means of logits (..., t, 3, 3).

    Returns:
        The exponents.

    Raises:
        InputError: If there are not three classes and features.
        UndefinedMetric: If a projection is zero.
    """
    means = as_logits(means)
    k = means.shape[-2]
    if k != 3:
        raise InputError(f"means must be of three classes for the published estimator, got {k}")
    parts = residual_projections(means)
    shared = parts.mean(-1)
    one, two = (k * _grown(x.abs(), 1) for x in (shared, (parts - shared[..., None])[..., :2].sum(-1)))
    return Exponents((one + (k - 1) * two) / k, (two - one) * (k - 1) / k)


def _exponents(shared: Tensor, apart: Tensor, num_classes: int) -> Exponents:
    inter = (shared - apart) / num_classes
    return Exponents(apart + inter, inter)


def _grown(norms: Tensor, baseline: int, *, axis: int = -1) -> Tensor:
    """Logarithm of norms over their mean at the start; iterations are along the axis."""
    checks.whole(baseline, "baseline", at_least=1)
    if baseline > norms.shape[axis]:
        raise InputError(f"baseline must be at most the {norms.shape[axis]} iterations there are, got {baseline}")
    if not bool((norms > 0).all()):
        raise UndefinedMetric("a mode of the class means vanishes at an iteration, so that its growth has no logarithm")
    return norms.log() - norms.narrow(axis, 0, baseline).mean(axis, keepdim=True).log()


# Roundings of the largest entry that sums over classes can leave of a mode that is not there.
_ROUNDINGS = 64


def beyond_rounding(norms: Tensor, means: Tensor) -> Tensor:
    """Norms (...) of parts of means (..., k, p), those that rounding alone can have left as 0."""
    least = _ROUNDINGS * torch.finfo(torch.float64).eps * means.abs().amax((-2, -1))
    return torch.where(norms > least, norms, 0.0)


def as_paths(means: Tensor) -> Tensor:
    if means.ndim < 3 or means.shape[-2] < 2 or means.numel() == 0:
        raise InputError(f"means must be (..., iterations, classes, features), got {checks.described(means)}")
    return checks.finite(means.double(), "means")


def as_logits(means: Tensor) -> Tensor:
    means = as_paths(means)
    if means.shape[-1] != means.shape[-2]:
        raise InputError(f"means must be of logits, as many as classes, got {checks.described(means)}")
    return means


def as_exponents(exponents: Exponents) -> Exponents:
    if exponents.intra.shape != exponents.inter.shape:
        raise InputError(
            f"inter must be of the shape of intra, {tuple(exponents.intra.shape)}, got {tuple(exponents.inter.shape)}"
        )
    return Exponents(*(as_course(one, name) for one, name in zip(exponents, ("intra", "inter"), strict=True)))


def as_course(values: Tensor, name: str) -> Tensor:
    if values.ndim < 1 or values.numel() == 0:
        raise InputError(f"{name} must be (..., iterations), got {checks.described(values)}")
    return checks.finite(values.double(), name)
