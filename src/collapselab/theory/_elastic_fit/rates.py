"""Elasticity itself, as the derivative of what was integrated, and how fast it falls."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.theory._elastic_fit.exponents import Exponents, as_course


class Elasticity(NamedTuple):
    r"""Local elasticity over time, per iteration.

    Attributes:
        intra: $\alpha$ (..., t), how a sample's update moves its own class.
        inter: $\beta$ (..., t), how it moves the other classes.
    """

    intra: Tensor
    inter: Tensor


def elasticity(exponents: Exponents, *, window: int = 151) -> Elasticity:
    r"""$\alpha = A'$ and $\beta = B'$ by `smoothed_derivative`.

    Args:
        exponents: A and B.
        window: Iterations that a parabola is fitted to.

    Returns:
        Both.
    """
    return Elasticity(*(smoothed_derivative(one, window=window) for one in exponents))


def smoothed_derivative(values: Tensor, *, window: int) -> Tensor:
    r"""Derivative of the parabola that fits a window around each iteration best (Savitzky and Golay).

    In the middle of a window of offsets j it is $\sum_j j\,x_{t+j}/\sum_j j^2$; the first and the last half window take
    the derivatives of the first and the last parabola.

    Args:
        values: (..., t).
        window: Iterations in a window; odd.

    Returns:
        (..., t) per iteration.

    Raises:
        InputError: If the window is even or longer than the series, or a value is not finite.

    Example:
        >>> squares = torch.arange(5, dtype=torch.float64) ** 2
        >>> smoothed_derivative(squares, window=3)[1:-1].tolist()
        [2.0, 4.0, 6.0]
    """
    values = as_course(values, "values")
    checks.whole(window, "window", at_least=3)
    if window % 2 == 0 or window > values.shape[-1]:
        raise InputError(f"window must be odd and at most {values.shape[-1]}, the iterations there are, got {window}")
    half = window // 2
    offsets = torch.arange(-half, half + 1, dtype=torch.float64)
    flat = values.reshape(-1, 1, values.shape[-1])
    middle = functional.conv1d(flat, (offsets / (offsets @ offsets))[None, None])[:, 0]
    at = _slopes(offsets)
    start, end = flat[:, 0, :window] @ at[:half].T, flat[:, 0, -window:] @ at[half + 1 :].T
    return torch.cat([start, middle, end], dim=-1).reshape(values.shape)


def _slopes(offsets: Float[Tensor, " w"]) -> Float[Tensor, "w w"]:
    """Weights of the values in a window in the slope of their parabola, at each of the offsets."""
    fit = torch.linalg.pinv(offsets[:, None] ** torch.arange(3))
    return fit[1] + 2 * offsets[:, None] * fit[2]


def tail_index_reference(exponent: Tensor, *, last: int) -> Tensor:
    r"""$1 - \langle\log A(t)/\log t\rangle$ over the last iterations, as the published code has it.

    Meant to tell $\alpha = \omega(1/t)$ (below 1) from $o(1/t)$ (above 1). It does not measure a tail: where A has
    saturated it says no more than whether A is above 1. Where A is mostly negative -A takes its place; iterations of
    the other sign have no logarithm and are left out.

    Args:
        exponent: A or B (..., t), from iteration 0.
        last: How many iterations are averaged over.

    Returns:
        (...,).

    Raises:
        InputError: If there are not that many iterations after the first two, or a value is not finite.
        UndefinedMetric: If the exponent is zero all along.
    """
    values, mask, times = _logarithms(exponent, last)
    return 1 - (values / times * mask).sum(-1) / mask.sum(-1)


def tail_index_local(exponent: Tensor, *, last: int) -> Tensor:
    r"""One minus the slope of $\log|A|$ along $\log t$ over the last iterations: r where $A$ grows like $t^{1-r}$.

    For r below 1 that is how fast $A'$ falls, $t^{-r}$, once a constant in A no longer matters. Where $A'$ falls faster
    A saturates, and the index is about 1, however fast; above 1 it says that $|A|$ shrinks. Signs are treated as in
    `tail_index_reference`.

    Args:
        exponent: A or B (..., t), from iteration 0.
        last: How many iterations the line is fitted to.

    Returns:
        (...,).

    Raises:
        InputError: If there are not that many iterations after the first two, or a value is not finite.
        UndefinedMetric: If fewer than two iterations have a logarithm.

    Example:
        >>> power = 7 * torch.arange(100, dtype=torch.float64) ** 0.25
        >>> round(float(tail_index_local(power, last=50)), 6)
        0.75
    """
    values, mask, times = _logarithms(exponent, last)
    if not bool((mask.sum(-1) >= 2).all()):
        raise UndefinedMetric("fewer than two iterations have a logarithm, so that there is no slope")
    count = mask.sum(-1, keepdim=True)
    x = (times - (times * mask).sum(-1, keepdim=True) / count) * mask
    return 1 - (x * values).sum(-1) / (x * x).sum(-1)


def _logarithms(exponent: Tensor, last: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logarithms of the last values of the prevailing sign (0 for others), which these are, and of their times."""
    exponent = as_course(exponent, "exponent")
    length = exponent.shape[-1]
    checks.whole(last, "last", at_least=2)
    if last > length - 2:
        raise InputError(f"last must be at most {length - 2}, the iterations after the first two, got {last}")
    tail = exponent[..., -last:]
    tail = torch.where(tail.median(-1, keepdim=True).values < 0, -tail, tail)
    mask = tail > 0
    if not bool(mask.any(-1).all()):
        raise UndefinedMetric("the exponent is zero at the end, so that it has no logarithm")
    times = torch.arange(length - last, length, dtype=torch.float64).log()
    return torch.where(mask, tail, 1.0).log(), mask.double(), times
