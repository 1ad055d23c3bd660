"""The training loop: same seed, same bits; state in the middle of an epoch; a loss that is no number."""

import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError, NotConverged
from collapselab.training import LOSSES, Classifier, Samples, Splits, Training
from collapselab.training.loop import Plan, require_finite
from collapselab.training.optimisers import SGD
from collapselab.training.schedules import StepSchedule
from tolerances import EXACT, Relative


class Noisy(nn.Module):
    """Draws from the global generator in train mode, as dropout does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.1 * torch.randn_like(x) if self.training else x


def training(*, epochs: int = 4, batch_size: int = 8, drop_last: bool = True, learning_rate: float = 0.1) -> Training:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 4, generator=generator), torch.randint(0, 3, (30,), generator=generator)
    torch.manual_seed(1)
    body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), Noisy(), nn.ReLU())
    plan = Plan(
        epochs=epochs,
        batch_size=batch_size,
        drop_last=drop_last,
        loss=LOSSES["cross_entropy"].make(),
        optimiser=SGD(learning_rate=learning_rate),
        schedule=StepSchedule((0.5,), 0.1),
    )
    data = Splits(Samples(x[:20], y[:20]), Samples(x[20:], y[20:]), 3)
    order = torch.Generator().manual_seed(2)
    return Training(Classifier(body, nn.Linear(6, 3)), data, plan, order=order, device=torch.device("cpu"))


def weights(of: Training) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in of.network.state_dict().values()]


@pytest.mark.parametrize(("drop_last", "steps"), [(True, 2), (False, 3)])
def test_steps_and_epochs(drop_last: bool, steps: int) -> None:
    seen = list(training(drop_last=drop_last).steps())
    assert [p.step for p in seen] == list(range(1, 4 * steps + 1))
    assert [p.epoch for p in seen if p.loss is not None] == [1, 2, 3, 4]
    rates = [p.learning_rate for p in seen if p.loss is not None]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01], rel=1e-15)


def test_same_seed_same_bits() -> None:
    one = training()
    first = list(one.steps())
    two = training()
    assert list(two.steps()) == first
    for a, b in zip(weights(one), weights(two), strict=True):
        EXACT.check(a, b)


@pytest.mark.parametrize("cut", range(12))
def test_a_cut_after_any_step_changes_no_bit(cut: int) -> None:
    """Also in the middle of an epoch, with batch normalisation, momentum and noise from the global generator."""
    whole = training(drop_last=False)
    expected = list(whole.steps())
    first = training(drop_last=False)
    steps = first.steps()
    before = [next(steps) for _ in range(cut)]
    state = {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in first.state().items()}
    state["network"] = {key: value.clone() for key, value in state["network"].items()}
    torch.manual_seed(99)  # what happens in between does not matter
    second = training(drop_last=False)
    second.restore(state)
    assert before + list(second.steps()) == expected
    for a, b in zip(weights(second), weights(whole), strict=True):
        EXACT.check(a, b)


def test_every_sample_is_seen_once_an_epoch() -> None:
    one = training(epochs=1, drop_last=False)
    seen: list[int] = []
    for _ in one.steps():
        seen.extend(one.rows[0].tolist())
    assert sorted(seen) == list(range(20))
    assert seen != sorted(seen)


def test_epoch_loss_is_the_mean_over_samples_seen() -> None:
    """At a learning rate of almost nothing and without noise it is the loss of the untrained network."""
    one = training(epochs=1, drop_last=False, batch_size=20, learning_rate=1e-12)
    one.network.body[2] = nn.Identity()  # pyright: ignore[reportIndexIssue]
    one.network.train()
    x, y = one.data.train.x, one.data.train.y
    expected = one.plan.loss(one.watched.look(x), y).mean()
    (progress,) = one.steps()
    Relative("float32 loss", 1e-6).check(progress.loss, expected)


def test_a_batch_must_fit() -> None:
    with pytest.raises(InputError, match=r"batch_size must be at most 20, the number of training samples, .* got 21"):
        training(batch_size=21)
    assert len(list(training(batch_size=21, drop_last=False, epochs=2).steps())) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"epochs": 2.0}, "epochs must be an integer of at least 1, got 2.0"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
    ],
)
def test_bad_plans(change: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        training(**change)


def test_divergence_names_epoch_and_rate() -> None:
    one = training()
    with torch.no_grad():
        one.network.head.bias.fill_(float("nan"))
    with pytest.raises(NotConverged, match=r"the loss became nan in epoch 1 at learning rate 0\.1; lower"):
        list(one.steps())
    with pytest.raises(NotConverged, match="the loss became inf in epoch 0 before any step"):
        require_finite(float("inf"), epoch=0, learning_rate=None)
