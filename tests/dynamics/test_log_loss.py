"""Losses as logarithms against a thousand digits, from margins of -800 to losses of 1e-868 and beyond."""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core.errors import InputError
from collapselab.dynamics import (
    log_cross_entropy,
    log_exponential,
    log_logistic,
    log_mean,
    log_sum,
    scaled_losses,
    smooth_margins,
)
from tolerances import REFERENCE, Relative

F64 = Relative("float64 of a logarithm", 1e-14).floor(1.0)


def in_digits(make: Callable[[], Decimal]) -> float:
    """A number worked out in a thousand digits and exponents of a hundred million."""
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 1000, -(10**8), 10**8
        return float(make())


def cross_entropy(z: list[float], y: int) -> Decimal:
    """-log(e^{z_y} / sum_j e^{z_j})."""
    exponentials = [Decimal(logit).exp() for logit in z]
    return -(exponentials[y] / sum(exponentials)).ln()


def gradient(z: list[float], y: int) -> list[Decimal]:
    """softmax(z) - e_y; its entry y is minus the sum of the others, as 1 minus a thousand nines would need digits."""
    exponentials = [Decimal(logit).exp() for logit in z]
    p = [entry / sum(exponentials) for entry in exponentials]
    others = sum(entry for j, entry in enumerate(p) if j != y)
    return [-others if j == y else entry for j, entry in enumerate(p)]


@pytest.mark.parametrize("margin", [-800.0, -3.0, 0.0, 5.0, 36.5, 37.5, 104.0, 760.0, 1900.0])
def test_log_of_the_losses(margin: float) -> None:
    z, y = [0.25, margin, -0.5, 0.125], torch.tensor([1])
    tensor = torch.tensor([z], dtype=torch.float64)
    F64.check(log_cross_entropy(tensor, y), [in_digits(lambda: cross_entropy(z, 1).ln())])
    others = in_digits(lambda: -sum((Decimal(z[j] - margin).exp() for j in (0, 2, 3)), Decimal(0)).ln())
    F64.check(smooth_margins(tensor, y), [others])
    logistic = in_digits(lambda: (1 + Decimal(-margin).exp()).ln().ln())
    F64.check(log_logistic(torch.tensor([margin])), [logistic])
    F64.check(log_exponential(torch.tensor([margin])), [-margin])


def test_margin_2000() -> None:
    """Acceptance row 14: log10 of the loss is -868.6 where float64 has 0, and the scaled gradient is (-1, 1)."""
    z, y = torch.tensor([[2000.0, 0.0]], dtype=torch.float64, requires_grad=True), torch.tensor([0])
    assert float(functional.cross_entropy(z.detach(), y)) == 0.0
    assert float(log_cross_entropy(z, y).detach()) / math.log(10) == pytest.approx(-868.589, abs=1e-3)
    scaled_losses(log_cross_entropy(z, y)).mean().backward()
    REFERENCE.check(z.grad, [[-1.0, 1.0]])


def test_scaled_gradient_is_that_of_the_log_of_the_mean_loss() -> None:
    """Margins of 700 to 900 in one batch: the weights of the samples against a thousand digits, and any other scale."""
    rows = [[0.5, -700.25, -710.0], [1.0, 701.0, -3.0], [900.0, 20.0, 100.0], [-1.0, -2.0, 699.5]]
    y, labels = torch.tensor([0, 1, 0, 2]), [0, 1, 0, 2]
    z = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 1000, -(10**8), 10**8
        total = sum(cross_entropy(row, label) for row, label in zip(rows, labels, strict=True))
        expected = [[float(e / total) for e in gradient(row, label)] for row, label in zip(rows, labels, strict=True)]
        log_total = float(Decimal(total).ln())
    found = log_cross_entropy(z, y)
    F64.check(log_sum(found), log_total)
    F64.check(log_mean(found), log_total - math.log(4))
    for loss in (scaled_losses(found).mean(), log_mean(found), log_sum(found)):
        (slope,) = torch.autograd.grad(loss, z, retain_graph=True)
        Relative("weights", 1e-12).floor(1e-3).check(slope, expected)
    (slope,) = torch.autograd.grad(scaled_losses(found, log_scale=log_total).sum(), z)
    Relative("weights", 1e-12).floor(1e-3).check(slope, expected)


@pytest.mark.parametrize("q", [-19.9, -20.1, -25.0, -35.9, -39.9, -40.1, -1e4, 36.9, 37.1])
def test_losses_are_exact_on_both_sides_of_where_the_formula_changes(q: float) -> None:
    expected = in_digits(lambda: ((-Decimal(q)).exp() + 1).ln().ln())
    Relative("last bits of float64", 4e-16).check(log_logistic(torch.tensor(q, dtype=torch.float64)), expected)


def test_sums_of_minibatches() -> None:
    """Over the scale of the whole set, scaled losses of minibatches of one size have gradients that average to it."""
    z = torch.randn(12, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).mul(300).requires_grad_()
    y = z.detach().argmax(1)
    scale = log_mean(log_cross_entropy(z, y)).detach()
    assert float(scale) < -3
    (whole,) = torch.autograd.grad(log_mean(log_cross_entropy(z, y)), z)
    parts = [
        torch.autograd.grad(scaled_losses(log_cross_entropy(z[rows], y[rows]), log_scale=scale).mean(), z)[0]
        for rows in torch.arange(12).split(4)
    ]
    REFERENCE.check(sum(parts[1:], parts[0]) / 3, whole)


def test_margins_and_smooth_margins() -> None:
    """q - log(K - 1) <= q~ <= q, with equality on the left where all others are alike, and on the right for K = 2."""
    z = torch.tensor([[3.0, 1.0, 1.0, 1.0], [1.0, 2.0, 0.0, -1.0]])
    found = smooth_margins(z, torch.tensor([0, 1]))
    REFERENCE.check(found[0], 2 - math.log(3))
    assert 1 - math.log(3) < float(found[1]) < 1
    REFERENCE.check(smooth_margins(z[:, :2], torch.tensor([0, 0])), [2.0, -1.0])


@pytest.mark.parametrize(
    ("z", "y", "message"),
    [
        (torch.zeros(2, 1), torch.tensor([0, 0]), "classes of the logits must be an integer of at least 2, got 1"),
        (torch.zeros(2), torch.tensor([0, 0]), "logits must be a matrix"),
        (torch.full((1, 2), math.nan), torch.tensor([0]), "logits must be finite, got nan"),
        (torch.zeros(2, 3), torch.tensor([0]), "labels must be one per row: 2 rows, 1 labels"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), r"labels must lie in 0..2, got 3 at index 1"),
    ],
)
def test_bad_input(z: Tensor, y: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        log_cross_entropy(z, y)
