"""What closed forms say of the class means of a training, from where they began, and how near they come.

Growth is measured on the very means that are to be predicted: these are fits within the sample. They say how much of a
training the modes of a model can hold, and predict nothing.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError, NotConverged, UndefinedMetric
from collapselab.theory._elastic.residuals import residual_directions, residual_projections
from collapselab.theory._elastic_fit.exponents import (
    Exponents,
    as_exponents,
    as_logits,
    as_paths,
    beyond_rounding,
)


class Goodness(NamedTuple):
    r"""How near predicted class means come to measured ones, over all iterations given.

    Attributes:
        error: $\lVert\hat X-\bar X\rVert/\lVert\bar X\rVert$.
        cosine: Of the two.
    """

    error: Tensor
    cosine: Tensor


def goodness(predicted: Tensor, measured: Tensor) -> Goodness:
    """Compare two courses of class means.

    Args:
        predicted: (..., t, k, p).
        measured: Likewise.

    Returns:
        Error and cosine (...,).

    Raises:
        InputError: If they are not of the same iterations, classes and features.
        UndefinedMetric: If one of them is zero.
    """
    if predicted.shape[-3:] != measured.shape[-3:]:
        raise InputError(
            f"predicted must have the iterations, classes and features of measured, {tuple(measured.shape[-3:])}, got"
            f" {checks.described(predicted)}"
        )
    one, two = (as_paths(means).flatten(-3) for means in (predicted, measured))
    sizes = one.norm(dim=-1), two.norm(dim=-1)
    if not bool((sizes[0] > 0).all() and (sizes[1] > 0).all()):
        raise UndefinedMetric("class means are zero, so that nothing can be compared with them")
    return Goodness((one - two).norm(dim=-1) / sizes[1], (one * two).sum(-1) / (sizes[0] * sizes[1]))


def residual_path(start: Tensor, exponents: Exponents) -> Tensor:
    r"""Class means of the residual-aligned L-model in closed form.

    $\bar X_k(t) = \bar X_k(0) - s_kd_k + [\bar s\,e^{\kappa(A+(K-1)B)/K} + (s_k-\bar s)\,e^{\kappa(A-B)/K}]\,d_k$.

    Args:
        start: Class means of logits at the start (..., k, k).
        exponents: A and B (..., t).

    Returns:
        (..., t, k, k).

    Raises:
        InputError: If the start is not one row of logits a class, or not all numbers are finite.
        NotConverged: If the means grow beyond what numbers can hold.
    """
    start, exponents = _as_start(start), as_exponents(exponents)
    k = start.shape[-2]
    per = (k - 1) / k**2
    shared, apart = exponents.intra + (k - 1) * exponents.inter, exponents.intra - exponents.inter
    return _along_residuals(start, _growth(per * shared), _growth(per * apart))


def identity_path(start: Tensor, exponents: Exponents) -> Tensor:
    r"""Class means of the I-model in closed form.

    $\bar X_k(t) = c_0e^{(A+(K-1)B)/K} + c_ke^{(A-B)/K}$, with $c_0$ their mean at the start and $c_k$ the rest.

    Args:
        start: Class means at the start (..., k, p).
        exponents: A and B (..., t).

    Returns:
        (..., t, k, p).

    Raises:
        InputError: If the start is not one row a class, or not all numbers are finite.
        NotConverged: If the means grow beyond what numbers can hold.
    """
    start, exponents = _as_start(start), as_exponents(exponents)
    k = start.shape[-2]
    shared, apart = exponents.intra + (k - 1) * exponents.inter, exponents.intra - exponents.inter
    return _from_centre(start, _growth(shared / k), _growth(apart / k))


def fitted_residual_path(means: Tensor, *, baseline: int = 20, window: int = 151) -> Tensor:
    """The L-model with growth that is measured, sign included, by projecting the course on where its modes began.

    Args:
        means: Class means of logits (..., t, k, k).
        baseline: Iterations over which the start is averaged.
        window: Iterations over which growth is averaged.

    Returns:
        (..., t, k, k).
    """
    means = as_logits(means)
    start, parts = _start(means, baseline), residual_projections(means)
    shared, began = parts.mean(-1, keepdim=True), residual_projections(start)
    middle = began.mean(-1, keepdim=True)
    common = _projected(shared, middle[..., None, :], start, window)
    apart = _projected(parts - shared, (began - middle)[..., None, :], start, window)
    return _along_residuals(start, common, apart)


def fitted_identity_path(means: Tensor, *, baseline: int = 20, window: int = 151) -> Tensor:
    """The I-model with growth that is measured, sign included, by projecting the course on where its modes began.

    Args:
        means: Class means (..., t, k, p).
        baseline: Iterations over which the start is averaged.
        window: Iterations over which growth is averaged.

    Returns:
        (..., t, k, p).
    """
    means = as_paths(means)
    start, shared = _start(means, baseline), means.mean(-2, keepdim=True)
    middle = start.mean(-2, keepdim=True)
    common = _projected(shared.flatten(-2), middle.flatten(-2)[..., None, :], start, window)
    apart = _projected((means - shared).flatten(-2), (start - middle).flatten(-2)[..., None, :], start, window)
    return _from_centre(start, common, apart)


def frozen_path(means: Tensor, *, baseline: int = 20) -> Tensor:
    """Class means that stay as they began: the least that a prediction must beat.

    Args:
        means: (..., t, k, p).
        baseline: Iterations over which the start is averaged.

    Returns:
        (..., t, k, p).
    """
    means = as_paths(means)
    return _start(means, baseline)[..., None, :, :].expand(means.shape)


def extrapolated_path(means: Tensor, *, seen: int) -> Tensor:
    """Class means that go on as straight as the line that fits the first iterations best.

    Args:
        means: (..., t, k, p).
        seen: Iterations that the line is fitted to.

    Returns:
        (..., t, k, p).
    """
    means = as_paths(means)
    _require_iterations(seen, "seen", means, at_least=2)
    times = torch.arange(means.shape[-3], dtype=torch.float64)
    centred = times - times[:seen].mean()
    first, past = means[..., :seen, :, :], centred[:seen]
    slope = torch.einsum("t,...tkp->...kp", past, first) / (past @ past)
    return first.mean(-3, keepdim=True) + centred[:, None, None] * slope[..., None, :, :]


def _as_start(start: Tensor) -> Tensor:
    if start.ndim < 2 or start.shape[-2] < 2 or start.shape[-1] < 1:
        raise InputError(f"start must be (..., classes, features), got {checks.described(start)}")
    return checks.finite(start.double(), "start")


def _growth(exponent: Tensor) -> Tensor:
    grown = exponent.exp()
    if not bool(torch.isfinite(grown).all()):
        raise NotConverged(f"class means grow beyond what numbers can hold, by exp({float(exponent.max()):.6g})")
    return grown


def _start(means: Tensor, baseline: int) -> Tensor:
    _require_iterations(baseline, "baseline", means)
    return means[..., :baseline, :, :].mean(-3)


def _require_iterations(value: int, name: str, means: Tensor, *, at_least: int = 1) -> None:
    checks.whole(value, name, at_least=at_least)
    if value > means.shape[-3]:
        raise InputError(f"{name} must be at most the {means.shape[-3]} iterations there are, got {value}")


def _along_residuals(start: Tensor, common: Tensor, apart: Tensor) -> Tensor:
    """The L-model by the growth (..., t) of both kinds of modes."""
    directions, began = residual_directions(start.shape[-2]), residual_projections(start)
    middle = began.mean(-1, keepdim=True)
    parts = middle[..., None, :] * common[..., None] + (began - middle)[..., None, :] * apart[..., None]
    still = start - began[..., None] * directions
    return still[..., None, :, :] + parts[..., None] * directions


def _from_centre(start: Tensor, common: Tensor, apart: Tensor) -> Tensor:
    """The I-model by the growth (..., t) of both kinds of modes."""
    middle = start.mean(-2, keepdim=True)
    grown = common[..., None, None] * middle[..., None, :, :]
    return grown + apart[..., None, None] * (start - middle)[..., None, :, :]


def _projected(course: Tensor, began: Tensor, start: Tensor, window: int) -> Tensor:
    """How often what was there at the start is in the course (..., t, m), averaged over windows cut at the ends."""
    size = (began * began).sum(-1)
    if not bool((beyond_rounding(began.squeeze(-2).norm(dim=-1), start) > 0).all()):
        raise UndefinedMetric("a mode of the class means vanishes at the start, so that nothing can grow from it")
    growth = (course * began).sum(-1) / size
    checks.whole(window, "window", at_least=1)
    flat = growth.reshape(-1, 1, growth.shape[-1])
    kernel = torch.ones(1, 1, window, dtype=torch.float64)
    pads = (window // 2, window - 1 - window // 2)
    total = functional.conv1d(functional.pad(flat, pads), kernel)
    count = functional.conv1d(functional.pad(torch.ones_like(flat[:1]), pads), kernel)
    return (total / count).reshape(growth.shape)
