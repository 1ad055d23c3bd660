r"""The norm of a deep homogeneous classifier under the squared error (Poggio & Liao 2020), derived for means.

A network that is homogeneous of degree one in each of its L layers is $\rho f$: f has layers of unit norm, and $\rho$
is the product of the norms. Targets y are +1 and -1 with one output, or one-hot rows; the loss is the mean of
$\|y-\rho f\|^2$ over samples, without a half, plus decay. With $c=\overline{y\cdot f}$ and $e=\overline{\|f\|^2}$,

- decay $\lambda\rho^2$ and normalised layers: $\dot\rho=2(c-\rho e)-2\lambda\rho$, at rest at $\rho=c/(\lambda+e)$;
- decay $\lambda\sum\|W_l\|^2$ of layers of equal norm: $\dot\rho=2L\rho^{2-2/L}(c-\rho e)-2L\lambda\rho$, at rest at
  zero or where $\rho^{1-2/L}(c-\rho e)=\lambda$: the equation of a mode of a deep linear network.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._deep.linear_roots import regularised_roots


class MarginForm(NamedTuple):
    r"""The loss at the best norm in terms of margins $m=y\cdot f$, for targets of unit length.

    Its value is $(\lambda+s^2+o)/(\lambda+s^2+o+\mu^2)$: it falls as margins become larger on average, and rises as
    they spread. Without decay it is zero exactly where all margins are equal and nothing is left over.

    Attributes:
        mean: $\mu$, mean of the margins.
        variance: $s^2$, their variance over samples.
        rest: o, mean squared norm of what outputs have beside their target's direction; 0 for one output.
        value: The loss.
    """

    mean: float
    variance: float
    rest: float
    value: float


def norm_velocity(norm: float, outputs: Tensor, targets: Tensor, decay: float) -> float:
    r"""Speed of the norm where layers are normalised, $2(c-\rho e)-2\lambda\rho$.

    Args:
        norm: rho.
        outputs: (n, k) of the normalised network.
        targets: (n, k).
        decay: lambda, of the squared norm.

    Returns:
        Its derivative by time.
    """
    correlation, energy = _moments(outputs, targets)
    return 2 * (correlation - norm * energy) - 2 * decay * norm


def equilibrium_norm(outputs: Tensor, targets: Tensor, decay: float) -> float:
    r"""Norm at rest where layers are normalised, $\overline{y\cdot f}/(\lambda+\overline{\|f\|^2})$.

    Args:
        outputs: (n, k) of the normalised network, not all zero unless there is decay.
        targets: (n, k).
        decay: lambda >= 0, of the squared norm.

    Returns:
        rho; not positive where outputs do not agree with their targets on average.

    Raises:
        InputError: If outputs are zero and there is no decay.

    Example:
        >>> equilibrium_norm(torch.tensor([[0.5], [-0.5]]), torch.tensor([[1.0], [-1.0]]), 0.25)
        1.0
    """
    correlation, energy = _moments(outputs, targets)
    total = checks.real(decay, "decay", at_least=0) + energy
    if total == 0:
        raise InputError("outputs must not all be zero where there is no decay")
    return correlation / total


def norm_trajectory(
    start: float, outputs: Tensor, targets: Tensor, *, decay: float, times: Sequence[float] | Tensor
) -> Tensor:
    r"""The norm over time where layers are normalised and held fixed: $\rho^*+(\rho_0-\rho^*)e^{-2(\lambda+e)t}$.

    Args:
        start: rho at time 0.
        outputs: (n, k) of the normalised network.
        targets: (n, k).
        decay: lambda >= 0, of the squared norm.
        times: (t,).

    Returns:
        (t,) norms.
    """
    rest = equilibrium_norm(outputs, targets, decay)
    rate = 2 * (decay + _moments(outputs, targets)[1])
    return rest + (start - rest) * torch.exp(-rate * torch.as_tensor(times, dtype=torch.float64))


def decayed_equilibrium_norms(outputs: Tensor, targets: Tensor, decay: float, *, layers: int) -> tuple[float, ...]:
    r"""Norms other than zero at rest where every layer is decayed: $\rho^{1-2/L}(c-\rho e)=\lambda$.

    Args:
        outputs: (n, k) of the network with layers of unit norm, not all zero.
        targets: (n, k).
        decay: lambda > 0, of the squared norm of each layer.
        layers: L.

    Returns:
        In ascending order; the larger is stable. None where decay is too strong or outputs do not agree with targets.
        For three layers and more zero is stable as well.
    """
    correlation, energy = _moments(outputs, targets)
    if correlation <= 0:
        return ()
    return regularised_roots(correlation / energy, decay / energy, layers=layers)


def margin_form(outputs: Tensor, targets: Tensor, decay: float) -> MarginForm:
    r"""The loss at the norm that is best for the outputs, in terms of margins.

    Args:
        outputs: (n, k) of the normalised network.
        targets: (n, k) of unit length: +1 and -1, or one-hot rows.
        decay: lambda >= 0, of the squared norm.

    Returns:
        Mean and variance of the margins, what is beside them, and the loss.

    Raises:
        InputError: If a target is not of unit length.

    Example:
        >>> form = margin_form(torch.tensor([[0.5], [-0.5]]), torch.tensor([[1.0], [-1.0]]), 0.25)
        >>> form.mean, form.variance, form.value
        (0.5, 0.0, 0.5)
    """
    f, y = _pair(outputs, targets)
    if bool(((y.square().sum(1) - 1).abs() > 1e-9).any()):
        raise InputError("targets must have unit length, +1 and -1 or one-hot rows")
    margins = (y * f).sum(1)
    variance = float(margins.var(correction=0))
    rest = float((f - margins[:, None] * y).square().sum(1).mean())
    mean, loss = float(margins.mean()), checks.real(decay, "decay", at_least=0) + variance + rest
    return MarginForm(mean, variance, rest, 1.0 if mean == 0 else loss / (loss + mean * mean))


def largest_spread(mean: float, equal_margin: float, decay: float) -> float:
    r"""How much margins can spread at a global minimiser, $\lambda(\mu^2-m^2)/m^2\ge s^2+o$.

    For every network that is at least as good as one of equal margins m, with the norm at its best. It says when equal
    margins, the collapse of outputs, follow: in the limit of no decay, and not at any decay above zero.

    Args:
        mean: mu, mean of its margins.
        equal_margin: m > 0, a margin that all samples can have at once, with nothing beside it.
        decay: lambda >= 0, of the squared norm.

    Returns:
        Bound of variance plus rest; negative where no network with that mean is as good.
    """
    m = checks.real(equal_margin, "equal_margin", above=0)
    return checks.real(decay, "decay", at_least=0) * (mean * mean - m * m) / (m * m)


def _moments(outputs: Tensor, targets: Tensor) -> tuple[float, float]:
    """Mean product of outputs and targets, and mean squared output."""
    f, y = _pair(outputs, targets)
    return float((y * f).sum(1).mean()), float(f.square().sum(1).mean())


def _pair(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    f = checks.matrix(outputs, "outputs", axes="(samples, outputs)").double()
    y = checks.matrix(targets, "targets", axes="(samples, outputs)").double()
    if f.shape != y.shape:
        raise InputError(f"outputs and targets must have one shape, got {tuple(f.shape)} and {tuple(y.shape)}")
    return f, y
