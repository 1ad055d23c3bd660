r"""SVAG and what its stationary states say: closed forms, and the conditions that follow from them.

Notation: learning rate η, weight decay λ, the factor l of SVAG (1 is SGD), $R = \mathbb{E}\|x\|^2$,
$G = \mathbb{E}\|\nabla L\|^2$, $N = \mathbb{E}\operatorname{tr}\Sigma$ for a minibatch of SGD.
"""

import math
from typing import TypeVar

from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric

Number = TypeVar("Number", float, Tensor)


def svag_coefficients(factor: int) -> tuple[float, float]:
    r"""Coefficients of the losses of the two minibatches of an SVAG step.

    $\frac{1 \pm \sqrt{2l-1}}{2}$: they add up to 1 and their squares to l, so that the combination of two independent
    minibatches keeps the mean of the gradient and has l times its covariance.

    Args:
        factor: l.

    Returns:
        The two; 1 and 0 for l = 1.

    Example:
        >>> svag_coefficients(1), svag_coefficients(5)
        ((1.0, 0.0), (2.0, -1.0))
    """
    root = math.sqrt(2 * checks.whole(factor, "factor", at_least=1) - 1)
    return (1 + root) / 2, (1 - root) / 2


def svag_loss(first: Number, second: Number, *, factor: int) -> Number:
    """The loss of an SVAG step in a training loop of one's own.

    Draw two minibatches of the size of SGD's independently, take each through the network by itself (batch
    normalisation, dropout and augmentation included), step by SGD without momentum at rate η/l on what this returns,
    and count l steps as one step of SGD. Weight decay stays with the optimiser. The value itself means nothing for
    l > 1, since the coefficients grow with l: report the mean of the two losses.

    Args:
        first: Loss of a minibatch, or anything linear in it such as its gradient.
        second: The same of another minibatch.
        factor: l.

    Returns:
        The combination, differentiable.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from collapselab.dynamics import svag_loss
        >>> draws = torch.Generator().manual_seed(0)
        >>> x, y = torch.randn(64, 3, generator=draws), torch.arange(64) % 2
        >>> network, l = nn.Linear(3, 2), 4
        >>> optimiser = torch.optim.SGD(network.parameters(), lr=0.1 / l)
        >>> halves = [torch.randint(64, (16,), generator=draws) for _ in range(2)]
        >>> losses = [nn.functional.cross_entropy(network(x[rows]), y[rows]) for rows in halves]
        >>> svag_loss(*losses, factor=l).backward()
        >>> optimiser.step()
    """
    one, two = svag_coefficients(factor)
    return one * first + two * second


def noisy_weights(noise: Tensor, *, batch_size: int) -> Tensor:
    r"""Weights of the samples in a step of noisy gradient descent.

    $\delta_i = 1 + \sqrt{n/B}\,(\xi_i - \bar\xi)$: with independent standard normal $\xi_i$ the gradient of
    $\frac1n \sum_i \delta_i \ell_i$ is Gaussian, and has the mean and the covariance of a minibatch of B samples drawn
    with replacement.

    Args:
        noise: (n,) the $\xi_i$.
        batch_size: B.

    Returns:
        (n,) weights of mean 1.

    Raises:
        InputError: If the noise is no vector of floating-point numbers.

    Example:
        >>> import torch
        >>> noisy_weights(torch.tensor([0.5, -0.5]), batch_size=2).tolist()
        [1.5, 0.5]
    """
    if not isinstance(noise, Tensor) or noise.ndim != 1 or not noise.is_floating_point():
        raise InputError(f"noise must be a vector of floating-point numbers, got {checks.described(noise)}")
    scale = math.sqrt(len(noise) / checks.whole(batch_size, "batch_size", at_least=1))
    return 1 + scale * (noise - noise.mean())


def ornstein_uhlenbeck_variance(
    *, curvature: float, noise: float, learning_rate: float, factor: int | None = 1
) -> float:
    r"""Variance at rest of SVAG on a parabola, $L = hx^2/2$ with gradient noise of variance σ².

    $\frac{\eta\sigma^2}{h(2 - \eta h/l)}$, which tends to the $\frac{\eta\sigma^2}{2h}$ of the stochastic differential
    equation as l grows.

    Args:
        curvature: h.
        noise: σ², of the gradient of a minibatch.
        learning_rate: η.
        factor: l; None for the equation.

    Returns:
        Positive number, or 0 without noise.

    Raises:
        UndefinedMetric: If steps are so long that they do not contract, ηh/l >= 2.

    Example:
        >>> round(ornstein_uhlenbeck_variance(curvature=1.0, noise=1.0, learning_rate=0.5, factor=2), 4)
        0.2857
    """
    h = checks.real(curvature, "curvature", above=0)
    eta, sigma2 = checks.real(learning_rate, "learning_rate", above=0), checks.real(noise, "noise", at_least=0)
    left = 2 - eta * h * _inverse(factor)
    if left <= 0:
        raise UndefinedMetric(f"there is no stationary state: learning_rate * curvature / factor is {2 - left:g} >= 2")
    return eta * sigma2 / (h * left)


def squared_norm_at_rest(
    signal: float, noise: float, *, learning_rate: float, weight_decay: float, factor: int | None = 1
) -> float:
    r"""Squared norm that scale-invariant weights come to rest at under SVAG with weight decay.

    $(2 - \eta\lambda/l)\,\lambda R = \eta(G/l + N)$, because the gradient of a scale-invariant loss is orthogonal to
    the weights; $2\lambda R = \eta N$ for the stochastic differential equation. G and N are those at rest.

    Args:
        signal: G.
        noise: N, of a minibatch of SGD.
        learning_rate: η.
        weight_decay: λ.
        factor: l; None for the equation.

    Returns:
        R.

    Raises:
        UndefinedMetric: If decay alone does not contract, ηλ/l >= 2.

    Example:
        >>> round(squared_norm_at_rest(1.0, 6.0, learning_rate=0.1, weight_decay=0.5), 4)
        0.7179
    """
    g, n = checks.real(signal, "signal", at_least=0), checks.real(noise, "noise", at_least=0)
    eta, decay = (
        checks.real(learning_rate, "learning_rate", above=0),
        checks.real(weight_decay, "weight_decay", above=0),
    )
    part = _inverse(factor)
    if eta * decay * part >= 2:
        raise UndefinedMetric("there is no stationary state: learning_rate * weight_decay / factor is at least 2")
    return eta * (g * part + n) / (decay * (2 - eta * decay * part))


def least_noise_to_signal(closeness: float) -> float:
    r"""What N/G must reach at rest for SGD and its stochastic differential equation to agree.

    $N/G \ge \frac{1}{C^2-1}$ is necessary if R and N of the two are within a factor C of each other. It is not
    sufficient.

    Args:
        closeness: C.

    Returns:
        The least ratio.

    Example:
        >>> round(least_noise_to_signal(2**0.5), 12)
        1.0
    """
    return 1 / (checks.real(closeness, "closeness", above=1) ** 2 - 1)


def largest_scaling(ratio: float, *, closeness: float) -> float:
    r"""Beyond which factor the linear scaling rule cannot hold.

    $(\eta, B) \to (\kappa\eta, \kappa B)$ needs $\kappa \le C^2(1 + N/G)$ if the stationary R, N and G of the two, per
    sample, are within a factor C of each other. It is not sufficient.

    Args:
        ratio: N/G at the smaller batch size.
        closeness: C.

    Returns:
        The largest κ that the condition allows.

    Example:
        >>> round(largest_scaling(3.0, closeness=2**0.5), 12)
        8.0
    """
    return checks.real(closeness, "closeness", above=1) ** 2 * (1 + checks.real(ratio, "ratio", at_least=0))


def critical_batch_size(batch_size: int, ratio: float, *, num_samples: int | None = None) -> float:
    r"""Batch size at which signal and noise are alike, $B^* = B\,N/G$: about where linear scaling ends.

    That is for samples drawn with replacement. Of B different samples out of n the noise falls as
    $\frac{n-B}{B}$, and is like the signal at $B^* = \frac{n\,B\,N/G}{n - B + B\,N/G}$, below n.

    Args:
        batch_size: B, at which the ratio was measured.
        ratio: N/G.
        num_samples: n, where a minibatch holds different samples; None where they are drawn with replacement.

    Returns:
        B*.

    Raises:
        InputError: If there are fewer samples than the minibatch has.
        UndefinedMetric: If the minibatch is the whole set: having no noise, it does not tell that of smaller ones.

    Example:
        >>> critical_batch_size(16, 3.0), critical_batch_size(16, 3.0, num_samples=64)
        (48.0, 32.0)
    """
    size = checks.whole(batch_size, "batch_size", at_least=1)
    alike = size * checks.real(ratio, "ratio", at_least=0)
    if num_samples is None:
        return alike
    if size > checks.whole(num_samples, "num_samples", at_least=1):
        raise InputError(f"batch_size must be at most {num_samples}, the number of samples, got {size}")
    if size == num_samples:
        raise UndefinedMetric("a minibatch of all samples has no noise, and does not tell that of smaller ones")
    return num_samples * alike / (num_samples - size + alike)


def _inverse(factor: int | None) -> float:
    """1/l, and 0 in the limit."""
    return 0.0 if factor is None else 1 / checks.whole(factor, "factor", at_least=1)
