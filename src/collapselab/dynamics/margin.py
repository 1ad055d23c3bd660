"""Margins of a homogeneous network over training, however small its loss has become."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import UndefinedMetric
from collapselab.dynamics._margin.doubled import Doubled
from collapselab.dynamics._spec import Found, Quantity, Sight, quantity
from collapselab.dynamics.homogeneity import order_of_homogeneity
from collapselab.dynamics.kkt import Certificate, kkt_cross_entropy
from collapselab.dynamics.log_loss import log_cross_entropy, log_mean, log_sum
from collapselab.dynamics.margin_normalisation import (
    inverse_logistic,
    layer_normalised_margin,
    normalised_margin,
    sample_margins,
    support_samples,
)
from collapselab.records.numbers import Extra, declared

_ROWS = 2048
"""Samples that go forward at once."""

_PROBES = 64
"""Samples that homogeneity is tried on."""

T = TypeVar("T")

_declared = partial(declared, source="lyu2020", family="margins", at_collapse=None, lower=None)

SMALLEST = _declared(
    "smallest_margin", "smallest margin", "Smallest logit margin of a sample.", symbol=r"q_{\min}", unit="nat"
)
NORMALISED = _declared(
    "normalised_margin",
    "normalised margin",
    "Smallest margin over the norm of the parameters to the power of the order.",
    symbol=r"\bar\gamma = q_{\min}/\rho^L",
)
SMOOTHED = _declared(
    "smoothed_normalised_margin",
    "smoothed normalised margin",
    "The margin that alone would have the summed cross-entropy, normalised.",
    symbol=r"\tilde\gamma = -\log(e^{\mathcal L}-1)/\rho^L",
)
BY_LAYERS = _declared(
    "layer_normalised_margin",
    "margin over the norms of the layers",
    "Smallest margin over the product of the Frobenius norms of the layers.",
    symbol=r"q_{\min}/\prod_k\lVert W_k\rVert_F",
)
LOG10_LOSS = _declared(
    "log10_loss",
    "log10 of the loss",
    "Decimal logarithm of the mean cross-entropy, exact where the loss itself is 0 in floating point.",
    symbol=r"\log_{10}(\mathcal L/N)",
)
NORM = _declared(
    "parameter_norm", "norm of the parameters", "Norm of all trained parameters.", symbol=r"\rho", lower=0.0
)
SUPPORT = _declared(
    "support_samples",
    "samples near the smallest margin",
    "Samples whose margin exceeds the smallest by less than a factor of loss of some decades.",
    symbol=r"\#\{q_n < q_{\min} + k\log 10\}",
    lower=1.0,
)
ORDER = _declared(
    "homogeneity_order",
    "order of homogeneity",
    "Power of a common factor of all trained parameters that the logits grow with, where they are homogeneous.",
    symbol="L",
    lower=0.0,
)
ALIGNMENT = _declared(
    "kkt_alignment",
    "alignment of parameters and descent",
    "Cosine of the parameters and minus the gradient of the loss; 1 at a stationary point of the margin problem.",
    symbol=r"\beta",
    lower=-1.0,
    upper=1.0,
)
STATIONARITY = _declared(
    "kkt_stationarity",
    "what stationarity lacks",
    "Norm of the difference between the parameters at margin 1 and the weighted gradients of the margins.",
    symbol=r"\lVert\tilde\theta-\sum\lambda\nabla s(\tilde\theta)\rVert",
    lower=0.0,
)
COMPLEMENTARITY = _declared(
    "kkt_complementarity",
    "what complementarity lacks",
    "Sum over pairs of multipliers times what the margin exceeds the smallest by, at margin 1.",
    symbol=r"\sum\lambda(s(\tilde\theta)-1)",
    lower=0.0,
)


@quantity("margins", label="margins and certificate of their maximisation", source="lyu2020")
@dataclass(frozen=True)
class Margins(Quantity):
    """Margins, normalised in three ways, the logarithm of the loss and the conditions of a largest margin.

    The network is computed in float64, whatever the type of its weights; the loss is the cross-entropy of its logits,
    whatever is trained. What needs a homogeneous network says why where it is none.

    Attributes:
        decades: Factor of loss, in decades, within which samples count as near the smallest margin.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    decades: float = 1.0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.decades, "decades", above=0)

    def look(self, sight: Sight) -> Found:
        """Measure.

        Args:
            sight: The network and the samples; left as they were.

        Returns:
            The numbers; the conditions of a largest margin on the training split alone.
        """
        here = Doubled.of(sight.network)
        z = _logits(here, sight)
        q, log_losses = sample_margins(z, sight.y), log_cross_entropy(z, sight.y)
        smallest, smoothed, norm = float(q.min()), float(inverse_logistic(log_sum(log_losses))), here.norm
        order = _or_why(lambda: _order(sight))

        numbers: tuple[Extra, ...] = (
            (SMALLEST, smallest),
            (NORMALISED, _by(order, lambda power: normalised_margin(smallest, norm, power))),
            (SMOOTHED, _by(order, lambda power: normalised_margin(smoothed, norm, power))),
            (BY_LAYERS, _by(order, lambda power: layer_normalised_margin(smallest, sight.network, power))),
            (LOG10_LOSS, float(log_mean(log_losses)) / math.log(10)),
            (NORM, norm),
            (SUPPORT, float(support_samples(q, decades=self.decades))),
            (ORDER, order),
        )
        return Found(numbers + _conditions(sight, order))


def _by(order: float | str, value: Callable[[float], float]) -> float | str:
    return order if isinstance(order, str) else _or_why(partial(value, order))


def _logits(here: Doubled, sight: Sight) -> Tensor:
    with torch.no_grad():
        rows = torch.arange(len(sight.y), device=sight.y.device).split(_ROWS)
        return torch.cat([here.logits(sight.take(part)[0]) for part in rows])


def _order(sight: Sight) -> float:
    x, _ = sight.take(sight.few_of_each(4, "samples for homogeneity")[:_PROBES])
    return order_of_homogeneity(sight.network, x, generator=sight.generator("homogeneity"))


def _conditions(sight: Sight, order: float | str) -> tuple[Extra, ...]:
    """The three numbers of the certificate, or why there are none."""
    found = _certificate(sight, order)
    if isinstance(found, str):
        return tuple((one, found) for one in (ALIGNMENT, STATIONARITY, COMPLEMENTARITY))
    return (
        (ALIGNMENT, found.alignment),
        (STATIONARITY, found.stationarity),
        (COMPLEMENTARITY, found.complementarity),
    )


def _certificate(sight: Sight, order: float | str) -> Certificate | str:
    if sight.split != "train":
        return "the conditions of a largest margin are those of the samples that are trained on"
    return order if isinstance(order, str) else _or_why(partial(kkt_cross_entropy, sight, order=order))


def _or_why(value: Callable[[], T]) -> T | str:
    try:
        return value()
    except UndefinedMetric as undefined:
        return str(undefined)
