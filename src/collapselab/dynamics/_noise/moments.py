r"""Signal and noise of gradients: $G = \|\nabla L\|^2$ and the traces of the covariances of samples and minibatches."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric


@dataclass(frozen=True)
class SampleGradients:
    """Moments of the gradients of all samples, exact.

    Attributes:
        num_samples: n.
        squared_mean: Squared norm of the mean gradient, G.
        variance: Trace of the covariance of single samples, divided by n.
    """

    num_samples: int
    squared_mean: float
    variance: float

    @classmethod
    def of(cls, gradients: Any) -> "SampleGradients":
        """The moments of gradients that are all there.

        Args:
            gradients: (n, p), one row a sample.

        Returns:
            The moments, accumulated in float64.

        Example:
            >>> SampleGradients.of([[3.0, 1.0], [3.0, -1.0]])
            SampleGradients(num_samples=2, squared_mean=9.0, variance=1.0)
        """
        return cls.merged([checks.matrix(gradients, "gradients", axes="(samples, parameters)")])

    @classmethod
    def merged(cls, blocks: Iterable[Tensor]) -> "SampleGradients":
        """The moments of gradients that come block by block.

        Scatter is taken about the mean of each block and moved from there, since the difference of raw sums would
        cancel where all gradients are nearly alike.

        Args:
            blocks: Of (m, p) gradients each, one row a sample.

        Returns:
            The moments, accumulated in float64.

        Raises:
            InputError: If there are none, or they are not finite.
        """
        n, mean, scatter = 0, torch.zeros((), dtype=torch.float64), 0.0
        for block in blocks:
            own, m = checks.matrix(block, "gradients", axes="(samples, parameters)").double(), len(block)
            centre = own.mean(0)
            away = centre - mean.to(centre.device)
            scatter += float((own - centre).square().sum() + away.square().sum() * n * m / (n + m))
            mean = mean.to(centre.device) + away * (m / (n + m))
            n += m
        if n == 0:
            raise InputError("gradients must be those of at least one sample, got none")
        return cls(n, float(mean.square().sum()), scatter / n)


@dataclass(frozen=True, eq=False)
class MinibatchGradients:
    r"""What estimates need of the gradients $g_1 \dots g_m$ of independent minibatches.

    Attributes:
        squares: (m,) squared norms.
        along: (m,) inner products with the mean of all m.
    """

    squares: Tensor
    along: Tensor

    @classmethod
    def of(cls, gradients: Any) -> "MinibatchGradients":
        """The numbers of gradients that are all there.

        Args:
            gradients: (m, p), one row a minibatch, two or more.

        Returns:
            The numbers, in float64.

        Raises:
            InputError: If there are fewer than two.
        """
        rows = checks.matrix(gradients, "gradients", axes="(minibatches, parameters)").double()
        if len(rows) < 2:
            raise InputError("gradients must be those of at least 2 minibatches, got 1")
        return cls(rows.square().sum(1), rows @ rows.mean(0))


def unbiased_signal(gradients: MinibatchGradients) -> float:
    r"""Estimate of $G = \|\nabla L\|^2$.

    $\hat G = (m\|\bar g\|^2 - T)/(m-1)$ with $T$ the mean of $\|g_i\|^2$. Unbiased, and negative at times where the
    noise is large.

    Args:
        gradients: Of m minibatches.

    Returns:
        The estimate.

    Example:
        >>> unbiased_signal(MinibatchGradients.of([[3.0, 1.0], [3.0, -1.0]]))
        8.0
    """
    m = len(gradients.squares)
    return float((m * gradients.along.mean() - gradients.squares.mean()) / (m - 1))


def unbiased_noise(gradients: MinibatchGradients) -> float:
    r"""Estimate of the trace N of the covariance of a minibatch.

    $\hat N = T - \hat G$.

    Args:
        gradients: Of m minibatches.

    Returns:
        The estimate, not negative.

    Example:
        >>> unbiased_noise(MinibatchGradients.of([[3.0, 1.0], [3.0, -1.0]]))
        2.0
    """
    m = len(gradients.squares)
    return float((gradients.squares.mean() - gradients.along.mean()).clamp(min=0) * m / (m - 1))


def noise_to_signal(noise: float, signal: float) -> float:
    """The ratio N/G.

    Args:
        noise: Trace of the covariance of a minibatch, N.
        signal: Squared norm of the gradient, G, or its estimate.

    Returns:
        Non-negative number.

    Raises:
        UndefinedMetric: If the signal is not positive, or so small that the ratio is no number of float64.
    """
    noise, signal = checks.real(noise, "noise", at_least=0), checks.real(signal, "signal")
    if signal > 0:
        if noise / signal == math.inf:
            raise UndefinedMetric(f"the signal, {signal:.3g}, is too small to compare the noise with")
        return noise / signal
    if signal == 0:
        raise UndefinedMetric("the mean gradient is zero: there is no signal to compare the noise with")
    raise UndefinedMetric("the estimate of the squared gradient norm is negative: take more minibatches")


def noise_to_signal_interval(gradients: MinibatchGradients, *, confidence: float = 0.95) -> tuple[float, float]:
    r"""Confidence interval of N/G, by leaving out one minibatch at a time.

    The jackknife is applied to the share of the signal, $\hat G/T$ with $T = \hat G + \hat N$, which unlike N/G is well
    behaved where there is little signal; its ends are then turned into ratios.

    Args:
        gradients: Of m minibatches, at least 3.
        confidence: Probability with which such intervals hold the ratio, for many minibatches.

    Returns:
        Lower and upper end; the upper one is infinite where the data do not show that there is a signal at all.

    Raises:
        InputError: If there are fewer than 3 minibatches.
        UndefinedMetric: If all gradients are zero.
    """
    confidence = checks.real(confidence, "confidence", above=0, below=1)
    squares, along, m = gradients.squares, gradients.along, len(gradients.squares)
    if m < 3:
        raise InputError(f"gradients must be those of at least 3 minibatches, got {m}")
    if not float(squares.sum()) > 0:
        raise UndefinedMetric("all gradients are zero: there is neither signal nor noise")
    means = (m**2 * along.mean() - 2 * m * along + squares) / (m - 1) ** 2  # squared norms of means without one
    mean_squares = (squares.sum() - squares) / (m - 1)
    if not bool((mean_squares > 0).all()):
        raise UndefinedMetric("all gradients but one are zero: what is left without that one has no ratio")
    shares = ((m - 1) * means / mean_squares - 1) / (m - 2)
    share = unbiased_signal(gradients) / float(squares.mean())
    error = math.sqrt((m - 1) / m * float((shares - shares.mean()).square().sum()))
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return _ratio(share + reach), _ratio(share - reach)


def _ratio(share: float) -> float:
    """N/G for the share G/(G + N), which sampling may carry out of 0..1."""
    return math.inf if share <= 0 else max(0.0, 1 / share - 1)


def noise_with_replacement(variance: float, batch_size: int) -> float:
    r"""Trace of the covariance of the gradient of a minibatch whose samples are drawn with replacement.

    $N = \operatorname{tr}\Sigma_1 / B$.

    Args:
        variance: Trace of the covariance of single samples.
        batch_size: B.

    Returns:
        Non-negative number.
    """
    return checks.real(variance, "variance", at_least=0) / checks.whole(batch_size, "batch_size", at_least=1)


def noise_without_replacement(variance: float, batch_size: int, *, num_samples: int) -> float:
    r"""Trace of the covariance of the gradient of a minibatch of B different samples out of n.

    $N = \frac{\operatorname{tr}\Sigma_1}{B}\,\frac{n-B}{n-1}$ with $\Sigma_1$ divided by n; 0 for the whole set.

    Args:
        variance: Trace of the covariance of single samples, divided by n.
        batch_size: B.
        num_samples: n.

    Returns:
        Non-negative number.

    Raises:
        InputError: If there are fewer samples than the minibatch has.

    Example:
        >>> noise_without_replacement(8.0, 2, num_samples=5), noise_without_replacement(8.0, 5, num_samples=5)
        (3.0, 0.0)
    """
    n, variance = checks.whole(num_samples, "num_samples", at_least=1), checks.real(variance, "variance", at_least=0)
    if checks.whole(batch_size, "batch_size", at_least=1) > n:
        raise InputError(f"batch_size must be at most {n}, the number of samples, got {batch_size}")
    return 0.0 if n == batch_size else variance / batch_size * (n - batch_size) / (n - 1)
