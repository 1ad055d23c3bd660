"""SGD with momentum beside its slow twin, and the step schedule."""

import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError
from collapselab.training.optimisers import SGD
from collapselab.training.schedules import StepSchedule
from tolerances import REFERENCE


def test_sgd_is_heavy_ball_with_decay_on_every_parameter() -> None:
    """v <- m v + (g + lambda w), w <- w - eta v, for a weight and a bias alike."""
    layer = nn.Linear(1, 1, dtype=torch.float64)
    optimiser = SGD(learning_rate=0.1, momentum=0.8, weight_decay=0.05).build(layer.parameters())
    w, b, velocity_w, velocity_b = layer.weight.item(), layer.bias.item(), 0.0, 0.0
    for _ in range(5):
        optimiser.zero_grad()
        (0.5 * layer(torch.tensor([[2.0]], dtype=torch.float64)).square()).sum().backward()
        optimiser.step()
        gradient = 2.0 * w + b
        velocity_w = 0.8 * velocity_w + (2.0 * gradient + 0.05 * w)
        velocity_b = 0.8 * velocity_b + (gradient + 0.05 * b)
        w, b = w - 0.1 * velocity_w, b - 0.1 * velocity_b
    REFERENCE.check(layer.weight, [[w]])
    REFERENCE.check(layer.bias, [b])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0}, "learning_rate must be a finite number above 0, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number above 0, got nan"),
        ({"learning_rate": "fast"}, "learning_rate must be a finite number above 0, got 'fast'"),
        ({"weight_decay": -1e-3}, "weight_decay must be a finite number of at least 0, got -0.001"),
        ({"momentum": 1.0}, "momentum must be a finite number of at least 0 and below 1, got 1.0"),
        ({"momentum": -0.1}, "momentum must be a finite number of at least 0 and below 1, got -0.1"),
    ],
)
def test_bad_settings_of_sgd(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SGD(**settings)


def test_rates_of_the_default_schedule() -> None:
    schedule = StepSchedule()
    scales = [schedule.scale(epoch, epochs=300) for epoch in (0, 179, 180, 254, 255, 299)]
    assert scales == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01], rel=1e-15)


def test_no_milestones() -> None:
    assert StepSchedule(()).scale(299, epochs=300) == 1


@pytest.mark.parametrize(
    ("milestones", "factor", "message"),
    [
        ((0.85, 0.6), 0.1, "milestones must ascend"),
        ((0.6, 1.0), 0.1, "every entry of milestones must be a finite number above 0 and below 1, got 1.0"),
        ((60,), 0.1, "every entry of milestones must be a finite number above 0 and below 1, got 60"),
        ((0.0,), 0.1, "every entry of milestones must be a finite number above 0"),
        ((0.6,), 0.0, "factor must be a finite number above 0, got 0.0"),
    ],
)
def test_bad_schedules(milestones: tuple[float, ...], factor: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        StepSchedule(milestones, factor)
