"""Descent on the log of the loss: equal steps of it, losses of 1e-100, and a smoothed margin that does not fall."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError, NotConverged
from collapselab.dynamics import (
    inverse_logistic,
    log_cross_entropy,
    log_sum,
    normalised_margin,
    sample_margins,
    sandwich,
)
from collapselab.training import LOSSES, NETWORKS
from collapselab.training.optimisers.log_loss_descent import LogLossDescent, scale_of
from lent_work import Lent, built, cross_entropy, separable, two_sides
from tolerances import REFERENCE


def test_one_step() -> None:
    work, optimiser = separable(), LogLossDescent(learning_rate=0.3)
    x, y = two_sides()
    before = work.parameters[0].detach().clone().requires_grad_()
    loss = nn.functional.cross_entropy(x @ before.T, y)
    (slope,) = torch.autograd.grad(loss.log(), before)
    total = float(optimiser.step(work, built(optimiser, work)))
    REFERENCE.check(work.parameters[0].detach(), before.detach() - 0.3 * slope / slope.square().sum())
    assert total == pytest.approx(12 * loss.item(), rel=1e-9)


def test_every_step_lowers_the_log_of_the_loss_by_about_the_rate() -> None:
    work, optimiser = separable(), LogLossDescent(learning_rate=0.01)
    stepper, path = built(optimiser, work), []
    for _ in range(400):
        optimiser.step(work, stepper)
        path.append(scale_of(stepper)["log_scale"])
    steps = [later - earlier for earlier, later in itertools.pairwise(path)]
    assert all(-0.0101 < step < -0.0099 for step in steps)
    assert work.evaluations == 400


def tiny_problem() -> Lent:
    """Random points in 5 dimensions with labels of a random direction; a 5-20-2 ReLU network that gives (-f/2, f/2)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    y = (x @ torch.randn(5, generator=generator, dtype=torch.float64) > 0).long()
    first = nn.Parameter(0.5 * torch.randn(20, 5, generator=generator, dtype=torch.float64))
    second = nn.Parameter(0.3 * torch.randn(1, 20, generator=generator, dtype=torch.float64))

    def look(rows: torch.Tensor) -> torch.Tensor:
        half = torch.relu(x[rows] @ first.T) @ second.T / 2
        return torch.cat([-half, half], 1)

    return Lent([first, second], look, y, cross_entropy)


def test_smoothed_margin_rises_to_losses_of_1e_100() -> None:
    """Acceptance row 13, with steps five times as long: no step from a loss of log 2 on lowers it by more than 1e-5."""
    work, optimiser = tiny_problem(), LogLossDescent(learning_rate=0.1)
    stepper, norms, path = built(optimiser, work), [], []
    while not path or path[-1] > -100 * math.log(10):
        norms.append(torch.cat([p.detach().flatten() for p in work.parameters]).norm())
        if len(path) % 100 == 0:
            check_sandwich(work, float(norms[-1]))
        optimiser.step(work, stepper)
        path.append(scale_of(stepper)["log_scale"])
    log_total = torch.tensor(path, dtype=torch.float64) + math.log(20)
    smoothed = inverse_logistic(log_total) / torch.stack(norms).square()
    smoothed = smoothed[log_total < math.log(math.log(2))]
    assert 2500 < len(smoothed) < 3000
    assert float((smoothed[:-1] - smoothed[1:]).max()) <= 1e-5
    assert float(smoothed[-1]) > 0.12
    assert float(smoothed[0]) < 0.01


def check_sandwich(work: Lent, norm: float) -> None:
    """The smallest margin lies between the smoothed ones of the sum and of the mean; two classes."""
    logits, y = work.evaluate(lambda outputs, _: outputs.logits), work.y
    losses, q = log_cross_entropy(logits, y), sample_margins(logits, y)
    low, high = sandwich(losses, inverse_logistic)
    assert float(low) == pytest.approx(float(inverse_logistic(log_sum(losses))))
    assert normalised_margin(float(low), norm, 2) <= float(q.min()) / norm**2 + 1e-12
    assert normalised_margin(float(high), norm, 2) >= float(q.min()) / norm**2 - 1e-12


def test_a_jump_of_the_loss_is_measured_anew() -> None:
    """Weights moved from outside, so that the loss is 1e-90 of what it was: the step is that of the new place."""
    work, optimiser = separable(), LogLossDescent(learning_rate=0.3)
    stepper = built(optimiser, work)
    for _ in range(20):
        optimiser.step(work, stepper)
    work.parameters[0].data *= 400
    x, y = two_sides()
    place = work.parameters[0].detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(log_sum(log_cross_entropy(x @ place.T, y)), place)
    optimiser.step(work, stepper)
    assert scale_of(stepper)["log_scale"] < -100
    REFERENCE.check(work.parameters[0].detach(), place.detach() - 0.3 * slope / slope.square().sum())


def test_numbers_that_are_none_are_reported() -> None:
    """The loop ends a training whose loss is not finite."""
    work, optimiser = separable(), LogLossDescent()
    work.parameters[0].data.fill_(math.nan)
    assert math.isnan(float(optimiser.step(work, built(optimiser, work))))


def test_refuses_what_is_not_plain_cross_entropy_of_fixed_inputs() -> None:
    loss, other = LOSSES["cross_entropy"].make(), LOSSES["mse"].make()
    network = NETWORKS["mlp"].make(widths=(4,)).build((3,), 2)
    given = {"network": network, "loss": loss, "penalty": None, "class_weights": False}
    flags = {"clipping": False, "augmentation": False}
    LogLossDescent().check(**given, **flags)
    for change, message in (
        ({"loss": other}, "log_loss_descent needs the loss cross_entropy, without penalty and class weights, got "),
        ({"class_weights": True}, "got CrossEntropy with class weights"),
        ({"clipping": True}, "log_loss_descent needs gradients that are not clipped"),
        ({"augmentation": True}, "log_loss_descent needs the same inputs in each evaluation"),
    ):
        with pytest.raises(InputError, match=message):
            LogLossDescent().check(**{**given, **flags, **change})
    assert replace(LogLossDescent(), learning_rate=0.1).learning_rate == 0.1


def test_a_network_that_died_is_told() -> None:
    work = tiny_problem()
    with torch.no_grad():
        work.parameters[1].zero_()
        work.parameters[0].zero_()
    optimiser = LogLossDescent()
    with pytest.raises(NotConverged, match="the gradient is zero and no step can lower the loss"):
        optimiser.step(work, built(optimiser, work))
