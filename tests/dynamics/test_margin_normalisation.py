"""Margins and what the loss says of the smallest, against loops and a thousand digits."""

import math
from decimal import Decimal

import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics import (
    inverse_exponential,
    inverse_logistic,
    layer_normalised_margin,
    layer_norms,
    log_cross_entropy,
    log_exponential,
    log_logistic,
    log_sum,
    normalised_margin,
    parameter_norm,
    sample_margins,
    sandwich,
    smooth_margins,
    support_samples,
)
from dynamics.test_log_loss import F64, in_digits
from tolerances import EXACT, REFERENCE


def test_margins_of_samples() -> None:
    z = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    y = torch.arange(20) % 4
    twin = [float(z[n, y[n]]) - max(float(z[n, j]) for j in range(4) if j != y[n]) for n in range(20)]
    REFERENCE.check(sample_margins(z, y), twin)
    EXACT.check(sample_margins(torch.tensor([[2000.0, 1.0]]), torch.tensor([1])).tolist(), [-1999.0])


def power_minus_1(loss: Decimal) -> Decimal:
    """e^L - 1, by its series where L is tiny and the difference would have no digits."""
    return loss + loss**2 / 2 + loss**3 / 6 if loss < Decimal("1e-40") else loss.exp() - 1


@pytest.mark.parametrize("log_loss", [-5000.0, -745.5, -600.0, -37.0, -1.0, -1e-9, 0.0, 1e-9, 0.5, 3.0, 30.0, 200.0])
def test_inverses(log_loss: float) -> None:
    """Losses from 1e-2171 to 1e86, where neither e^L nor L itself need be a float."""
    found = inverse_logistic(torch.tensor(log_loss, dtype=torch.float64))
    if log_loss < 10:
        F64.check(found, in_digits(lambda: -power_minus_1(Decimal(log_loss).exp()).ln()))
    else:
        F64.times(1 / 1e-2).check(found, -math.exp(log_loss))
    F64.check(inverse_exponential(torch.tensor(log_loss, dtype=torch.float64)), -log_loss)


@pytest.mark.parametrize("q", [-20.0, -1.0, 0.0, 2.0, 36.0, 40.0, 800.0, 3000.0])
def test_inverses_undo_the_losses(q: float) -> None:
    margin = torch.tensor(q, dtype=torch.float64)
    REFERENCE.floor(1.0).check(inverse_logistic(log_logistic(margin)), q)
    EXACT.check(inverse_exponential(log_exponential(margin)), margin)


@pytest.mark.parametrize("size", [0.1, 1.0, 10.0, 100.0, 1e4])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_smallest_margin_lies_between(size: float, classes: int) -> None:
    """Acceptance row 13: for all three losses and at any size of the logits."""
    z = size * torch.randn(30, classes, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y = z.argmax(1)
    q = sample_margins(z, y)
    low, high = sandwich(log_exponential(q), inverse_exponential)
    assert low <= q.min() <= high
    REFERENCE.check(high - low, math.log(30))
    low, high = sandwich(log_logistic(q), inverse_logistic)
    assert low - 1e-9 <= q.min() <= high + 1e-9
    low, high = sandwich(log_cross_entropy(z, y), inverse_logistic)
    assert low - 1e-9 <= smooth_margins(z, y).min() <= high + 1e-9
    assert low - 1e-9 <= q.min() <= high + math.log(classes - 1) + 1e-9


def test_log_n_is_no_bound_for_the_logistic_loss() -> None:
    """Two equal margins q: the smoothed margin is q - log(2 + e^-q), further below q than log 2."""
    q = torch.tensor([0.5, 0.5], dtype=torch.float64)
    low, high = sandwich(log_logistic(q), inverse_logistic)
    REFERENCE.check(low, 0.5 - math.log(2 + math.exp(-0.5)))
    assert low + math.log(2) < 0.5 - 0.2
    REFERENCE.check(high, 0.5)


def test_samples_near_the_smallest_margin() -> None:
    q = torch.tensor([1.0, 1.0, 3.0, 4.0, 9.0])  # log 10 = 2.30
    assert support_samples(q) == 3
    assert support_samples(q, decades=2) == 4
    assert support_samples(q, decades=4) == 5
    assert support_samples(q, decades=1e-6) == 2
    with pytest.raises(InputError, match="decades must be a finite number above 0, got 0"):
        support_samples(q, decades=0)
    with pytest.raises(InputError, match="margins must be finite, got nan at index"):
        support_samples(torch.tensor([1.0, math.nan]))
    with pytest.raises(InputError, match="margins must be a vector of one number or more, got Tensor of shape"):
        support_samples(torch.zeros(0))


def test_norms_and_what_they_divide() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3, bias=False))
    first = math.sqrt(sum(float(w) ** 2 for p in network[0].parameters() for w in p.detach().flatten()))
    second = math.sqrt(sum(float(w) ** 2 for w in network[2].weight.detach().flatten()))
    norms = layer_norms(network)
    assert list(norms) == ["0", "2"]
    REFERENCE.check(list(norms.values()), [first, second])
    norm = parameter_norm(network)
    REFERENCE.check(norm, math.hypot(first, second))
    REFERENCE.check(normalised_margin(3.0, norm, 2), 3 / norm**2)
    REFERENCE.check(normalised_margin(-3.0, norm, 2), -3 / norm**2)
    assert normalised_margin(0.0, norm, 2) == 0.0
    with pytest.raises(UndefinedMetric, match="the norm of the parameters, 1e-200, is too small for a margin"):
        normalised_margin(3.0, 1e-200, 2)
    REFERENCE.check(layer_normalised_margin(3.0, network, 2), 3 / (first * second))
    with pytest.raises(UndefinedMetric, match="2 layers have trained parameters, but the order of the network is 3"):
        layer_normalised_margin(3.0, network, 3)
    nn.init.zeros_(network[2].weight)
    with pytest.raises(UndefinedMetric, match="the parameters of a layer are all 0"):
        layer_normalised_margin(3.0, network, 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((1.0, 0.0, 2.0), "norm must be a finite number above 0, got 0.0"),
        ((1.0, 1.0, 0.0), "order must be a finite number above 0, got 0.0"),
        ((math.inf, 1.0, 1.0), "margin must be a finite number, got inf"),
    ],
)
def test_bad_input(given: tuple[float, float, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        normalised_margin(*given)


def test_the_sum_is_what_is_smoothed() -> None:
    q = torch.tensor([800.0, 801.0, 900.0])
    expected = in_digits(lambda: -sum((Decimal(-v).exp() for v in (800, 801, 900)), Decimal(0)).ln())
    F64.check(inverse_logistic(log_sum(log_logistic(q))), expected)
