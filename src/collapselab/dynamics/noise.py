"""Gradient noise: its size beside the signal, and what that allows learning rate and batch size to be."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from collapselab.core import checks
from collapselab.core.errors import UndefinedMetric
from collapselab.dynamics._noise.equations import (
    critical_batch_size,
    largest_scaling,
    least_noise_to_signal,
    noisy_weights,
    ornstein_uhlenbeck_variance,
    squared_norm_at_rest,
    svag_coefficients,
    svag_loss,
)
from collapselab.dynamics._noise.gradients import minibatch_gradient_moments, sample_gradient_moments
from collapselab.dynamics._noise.moments import (
    MinibatchGradients,
    SampleGradients,
    noise_to_signal,
    noise_to_signal_interval,
    noise_with_replacement,
    noise_without_replacement,
    unbiased_noise,
    unbiased_signal,
)
from collapselab.dynamics._spec import Found, Quantity, Sight, quantity
from collapselab.dynamics._tangent import trained
from collapselab.records.numbers import Extra, declared
from collapselab.records.schema import Declaration

__all__ = [
    "GradientNoise",
    "MinibatchGradients",
    "SampleGradients",
    "critical_batch_size",
    "largest_scaling",
    "least_noise_to_signal",
    "minibatch_gradient_moments",
    "noise_to_signal",
    "noise_to_signal_interval",
    "noise_with_replacement",
    "noise_without_replacement",
    "noisy_weights",
    "ornstein_uhlenbeck_variance",
    "sample_gradient_moments",
    "squared_norm_at_rest",
    "svag_coefficients",
    "svag_loss",
    "unbiased_noise",
    "unbiased_signal",
]


def _declared(name: str, label: str, summary: str, *, symbol: str, at_collapse: float | None = None) -> Declaration:
    return declared(
        name, label, summary, symbol=symbol, source="li2021", family="gradient_noise", at_collapse=at_collapse
    )


SIGNAL = _declared(
    "squared_gradient_norm",
    "signal: squared norm of the gradient",
    "Squared norm of the gradient of the mean loss, decay apart, by all trained parameters.",
    symbol=r"G=\|\nabla L\|^2",
)
NOISE = _declared(
    "gradient_noise_trace",
    "noise: trace of the covariance of a minibatch",
    "Trace of the covariance of the gradient of a minibatch of different samples.",
    symbol=r"N=\operatorname{tr}\Sigma",
)
RATIO = _declared(
    "noise_to_signal",
    "noise to signal",
    "Trace of the covariance of the gradient of a minibatch by the squared norm of the gradient.",
    symbol="N/G",
)
RATIO_LOW = _declared(
    "noise_to_signal_low",
    "noise to signal, lower end",
    "Lower end of the 95 % confidence interval of the noise-to-signal ratio, over minibatches.",
    symbol=r"(N/G)_{-}",
)
RATIO_HIGH = _declared(
    "noise_to_signal_high",
    "noise to signal, upper end",
    "Upper end of the 95 % confidence interval of the noise-to-signal ratio, over minibatches.",
    symbol=r"(N/G)_{+}",
)
SCALING = _declared(
    "largest_scaling_factor",
    "largest scaling factor",
    "Factor of learning rate and batch size beyond which the linear scaling rule cannot hold at rest.",
    symbol=r"C^2(1+N/G)",
)
CRITICAL = _declared(
    "critical_batch_size",
    "critical batch size",
    "Batch size at which the noise of a minibatch is as large as the signal.",
    symbol=r"B^*",
)
SIZE = _declared(
    "squared_parameter_norm",
    "squared norm of the parameters",
    "Squared norm of all trained parameters together.",
    symbol=r"R=\|x\|^2",
)


@quantity("gradient_noise", label="gradient noise", source="li2021")
@dataclass(frozen=True)
class GradientNoise(Quantity):
    """Signal and noise of the gradient of the training loss, and what their ratio allows.

    Exact by default, from the gradients of all samples of the split; with `minibatches`, unbiased estimates from as
    many minibatches, which costs less where the split is large. The network is looked at in eval mode, and decay is no
    part of the loss.

    Attributes:
        batch_size: Samples of a minibatch, B; that of the training by default.
        minibatches: How many to estimate from, with an interval; None for all samples, exactly.
        closeness: C, the factor within which two stationary states count as alike.
    """

    batch_size: int | None = None
    minibatches: int | None = None
    closeness: float = math.sqrt(2)

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.batch_size is not None:
            checks.whole(self.batch_size, "batch_size", at_least=1)
        if self.minibatches is not None:
            checks.whole(self.minibatches, "minibatches", at_least=3)
        checks.real(self.closeness, "closeness", above=1)

    def look(self, sight: Sight) -> Found:
        """Measure.

        Args:
            sight: The network and the samples; left as they were.

        Returns:
            Signal, noise, their ratio and what follows, and the squared norm of the parameters.
        """
        size = (SIZE, float(sum(p.double().square().sum() for p in trained(sight.network).values())))
        batch_size = sight.batch_size if self.batch_size is None else self.batch_size
        why = _missing(batch_size, len(sight.y))
        if why or batch_size is None:
            own = _NUMBERS if self.minibatches is None else (*_NUMBERS, RATIO_LOW, RATIO_HIGH)
            return Found((*((entry, why) for entry in own), size))
        measured = self._exact if self.minibatches is None else self._estimated
        return Found((*measured(sight, batch_size), size))

    def _exact(self, sight: Sight, batch_size: int) -> Iterator[Extra]:
        moments = sample_gradient_moments(sight)
        noise = noise_without_replacement(moments.variance, batch_size, num_samples=moments.num_samples)
        return self._numbers(moments.squared_mean, noise, batch_size, moments.num_samples)

    def _estimated(self, sight: Sight, batch_size: int) -> Iterator[Extra]:
        moments = minibatch_gradient_moments(sight, batch_size=batch_size, minibatches=self.minibatches or 0)
        yield from self._numbers(unbiased_signal(moments), unbiased_noise(moments), batch_size, len(sight.y))
        try:
            low, high = noise_to_signal_interval(moments)
        except UndefinedMetric as undefined:
            yield from ((entry, str(undefined)) for entry in (RATIO_LOW, RATIO_HIGH))
            return
        for entry, end in ((RATIO_LOW, low), (RATIO_HIGH, high)):
            yield entry, "the minibatches do not show that there is a signal" if end == math.inf else end

    def _numbers(self, signal: float, noise: float, batch_size: int, num_samples: int) -> Iterator[Extra]:
        """The numbers that both ways give, in the order of `_NUMBERS`."""
        try:
            ratio = noise_to_signal(noise, signal)
        except UndefinedMetric as undefined:
            yield SIGNAL, str(undefined) if signal < 0 else signal
            yield NOISE, noise
            yield from ((entry, str(undefined)) for entry in (RATIO, SCALING, CRITICAL))
            return
        yield from ((SIGNAL, signal), (NOISE, noise), (RATIO, ratio))
        yield SCALING, largest_scaling(ratio, closeness=self.closeness)
        try:
            yield CRITICAL, critical_batch_size(batch_size, ratio, num_samples=num_samples)
        except UndefinedMetric as undefined:
            yield CRITICAL, str(undefined)


_NUMBERS = (SIGNAL, NOISE, RATIO, SCALING, CRITICAL)


def _missing(batch_size: int | None, num_samples: int) -> str:
    """Why there is no noise of a minibatch; empty where there is."""
    if batch_size is None:
        return "the training has no minibatches, and no batch_size was given"
    return f"a minibatch of {batch_size} is larger than the {num_samples} samples" if batch_size > num_samples else ""
