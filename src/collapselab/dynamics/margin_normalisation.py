r"""Margins, what the loss says of the smallest of them, and what they are divided by (Lyu and Li)."""

import math
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics._margin.doubled import Doubled, norm_of
from collapselab.dynamics._tangent import trained
from collapselab.dynamics.log_loss import log_mean, log_sum, logits_and_labels

Inverse = Callable[[Tensor], Tensor]
"""Logarithm of a loss to the margin that has it."""


_LARGEST = math.log(sys.float_info.max)


def sample_margins(z: Tensor, y: Tensor) -> Tensor:
    r"""Logit of the own class above the largest of the others, $q_n = z_{y_n} - \max_{j\ne y_n} z_j$.

    Args:
        z: Logits (n, k), k of at least 2.
        y: Labels (n,).

    Returns:
        (n,) in float64, differentiable; negative where the sample is classified wrongly.
    """
    return sample_margins_of(*logits_and_labels(z, y))


def sample_margins_of(z: Tensor, y: Tensor) -> Tensor:
    """`sample_margins` of what has been checked.

    Args:
        z: Logits (n, k).
        y: Labels (n,).

    Returns:
        (n,).
    """
    others = z.scatter(1, y[:, None], -math.inf)
    return z.gather(1, y[:, None]).squeeze(1) - others.max(1).values


def inverse_exponential(log_loss: Tensor) -> Tensor:
    r"""The margin whose exponential loss this is, $\log(1/\mathcal L)$.

    Args:
        log_loss: Logarithm of the loss.

    Returns:
        Margin of the same shape, in float64.
    """
    return -log_loss.double()


def inverse_logistic(log_loss: Tensor) -> Tensor:
    r"""The margin whose logistic loss this is, $-\log(e^{\mathcal L} - 1)$; the same for the cross-entropy.

    Args:
        log_loss: Logarithm of the loss.

    Returns:
        Margin of the same shape, in float64: it neither underflows for tiny losses nor overflows for large ones.

    Example:
        >>> float(inverse_logistic(torch.tensor(-2000.0)))
        2000.0
    """
    log_loss = log_loss.double()
    small = log_loss.clamp(max=0.0)
    loss = log_loss.clamp(min=0.0).exp()
    # e^l - 1 is l times (e^l - 1) / l below 1, and e^l times (1 - e^-l) above.
    tiny = small.clamp(min=-700.0).exp()
    below = small + (tiny.expm1() / tiny).log()
    return -torch.where(log_loss < 0, below, loss + torch.log(-torch.expm1(-loss)))


def sandwich(log_losses: Tensor, inverse: Inverse) -> tuple[Tensor, Tensor]:
    r"""Two numbers between which the smallest margin lies.

    $\ell^{-1}(\sum_n\ell_n) \le q_{\min} \le \ell^{-1}(\frac1N\sum_n\ell_n)$. The first is the smoothed margin. For the
    exponential loss the second is the first plus log N. For the logistic loss that sum is an upper bound only in the
    limit of small losses, and this is one always. For the cross-entropy they bound the smallest of the smooth margins;
    the smallest margin is never below that, and at most log(K - 1) above it.

    Args:
        log_losses: Logarithms of the losses (n,).
        inverse: `inverse_exponential` or `inverse_logistic`.

    Returns:
        Both bounds, 0-d.
    """
    return inverse(log_sum(log_losses)), inverse(log_mean(log_losses))


def support_samples(q: Tensor, *, decades: float = 1.0) -> int:
    r"""How many margins lie within a factor $10^k$ of loss of the smallest, $\#\{q_n < q_{\min} + k\log 10\}$.

    Args:
        q: Margins (n,).
        decades: k, above 0.

    Returns:
        At least 1.

    Raises:
        InputError: If there are no margins, or one is not finite.
    """
    checks.real(decades, "decades", above=0)
    if q.ndim != 1 or len(q) == 0 or not q.is_floating_point():
        raise InputError(f"margins must be a vector of one number or more, got {checks.described(q)}")
    checks.finite(q, "margins")
    return int((q < q.min() + decades * math.log(10)).sum())


def parameter_norm(network: nn.Module) -> float:
    r"""Norm of all trained parameters together, $\rho$.

    Args:
        network: Any module.

    Returns:
        Non-negative number.
    """
    return Doubled.of(network).norm


def layer_norms(network: nn.Module) -> dict[str, float]:
    r"""Norm of the trained parameters of each layer, $\lVert W_k\rVert_F$; a bias counts with its weight.

    Args:
        network: Any module.

    Returns:
        Norm by name of the module that holds the parameters.
    """
    grouped: dict[str, dict[str, Tensor]] = {}
    for name, part in trained(network).items():
        grouped.setdefault(name.rpartition(".")[0], {})[name] = part.double()
    return {name: float(norm_of(parts)) for name, parts in grouped.items()}


def normalised_margin(margin: float, norm: float, order: float) -> float:
    r"""A margin, smallest or smoothed, over the norm of the parameters to the power of the order, $q / \rho^L$.

    Args:
        margin: The smallest margin, or the smoothed one.
        norm: Norm of all trained parameters.
        order: L, see `order_of_homogeneity`.

    Returns:
        The number, which does not change where all parameters are scaled.

    Raises:
        InputError: If norm or order are not above 0.
        UndefinedMetric: If it is too large for a number of float64.
    """
    checks.real(norm, "norm", above=0)
    checks.real(order, "order", above=0)
    if not math.isfinite(margin):
        raise InputError(f"margin must be a finite number, got {margin!r}")
    power = math.log(abs(margin)) - order * math.log(norm) if margin else -math.inf
    if power > _LARGEST:
        raise UndefinedMetric(f"the norm of the parameters, {norm:.3g}, is too small for a margin over a power of it")
    return math.copysign(math.exp(power), margin)


def layer_normalised_margin(margin: float, network: nn.Module, order: float) -> float:
    r"""A margin over the product of the norms of the layers, $q / \prod_k \lVert W_k\rVert_F$.

    Args:
        margin: The smallest margin, or the smoothed one.
        network: Whose layers.
        order: L, see `order_of_homogeneity`.

    Returns:
        The number, which does not change where any layer is scaled.

    Raises:
        UndefinedMetric: If there are more or fewer layers than L: then the product is not of that order.
    """
    norms = layer_norms(network)
    if len(norms) != order:
        raise UndefinedMetric(f"{len(norms)} layers have trained parameters, but the order of the network is {order:g}")
    mean = math.exp(sum(math.log(norm) for norm in norms.values()) / len(norms)) if all(norms.values()) else 0.0
    if mean == 0:
        raise UndefinedMetric("the parameters of a layer are all 0")
    return normalised_margin(margin, mean, order)
