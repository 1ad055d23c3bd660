"""The training loop: same seed, same bits; state in the middle of an epoch; pieces, precisions, stop rules."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from collapselab.core.errors import InputError, NotConverged
from collapselab.training import LOSSES, Classifier, Samples, Splits, Training
from collapselab.training.data.augmentation import Augmentation
from collapselab.training.data.balance import Balance
from collapselab.training.loop import require_finite
from collapselab.training.losses import Loss, Outputs
from collapselab.training.networks.cnn import CNN
from collapselab.training.optimisers import OPTIMISERS, SGD
from collapselab.training.penalties import Penalty
from collapselab.training.plan import Plan
from collapselab.training.schedules import StepSchedule
from collapselab.training.stop import Stop
from collapselab.training.watched import Watched
from tolerances import EXACT, IDENTITY, PRECISION, REFERENCE, Relative


class Noisy(nn.Module):
    """Draws from the global generator in train mode, as dropout does."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x) if self.training else x


def plan(**changes: Any) -> Plan:
    settings = {
        "epochs": 4,
        "batch_size": 8,
        "drop_last": True,
        "loss": LOSSES["cross_entropy"].make(),
        "optimiser": SGD(learning_rate=0.1),
        "schedule": StepSchedule((0.5,), 0.1),
    }
    return Plan(**(settings | changes))


def training(*, noisy: bool = True, norm: bool = True, **changes: Any) -> Training:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 1, 4, generator=generator), torch.randint(0, 3, (30,), generator=generator)
    torch.manual_seed(1)
    layers = [nn.Flatten(), nn.Linear(4, 6), nn.BatchNorm1d(6) if norm else nn.Identity()]
    body = nn.Sequential(*layers, Noisy() if noisy else nn.Identity(), nn.ReLU())
    data = Splits(Samples(x[:20], y[:20]), Samples(x[20:], y[20:]), 3)
    order = torch.Generator().manual_seed(2)
    return Training(Classifier(body, nn.Linear(6, 3)), data, plan(**changes), order=order, device=torch.device("cpu"))


def weights(of: Training) -> list[Tensor]:
    return [tensor.clone() for tensor in of.network.state_dict().values()]


def gradient(of: Training, rows: Tensor, **options: Any) -> list[Tensor]:
    of.network.zero_grad()
    of.accumulate(rows, **options)
    return [parameter.grad.clone() for parameter in of.network.parameters() if parameter.grad is not None]


@pytest.mark.parametrize(("drop_last", "steps"), [(True, 2), (False, 3)])
def test_steps_and_epochs(drop_last: bool, steps: int) -> None:
    seen = list(training(drop_last=drop_last).steps())
    assert [p.step for p in seen] == list(range(1, 4 * steps + 1))
    assert [p.epoch for p in seen if p.loss is not None] == [1, 2, 3, 4]
    rates = [p.learning_rate for p in seen if p.loss is not None]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01], rel=1e-15)
    assert [p.last for p in seen] == [False] * (4 * steps - 1) + [True]


def test_same_seed_same_bits() -> None:
    one = training()
    first = list(one.steps())
    two = training()
    assert list(two.steps()) == first
    for a, b in zip(weights(one), weights(two), strict=True):
        EXACT.check(a, b)


EVERYTHING: dict[str, Any] = {
    "epochs": 2,
    "drop_last": False,
    "augmentation": Augmentation(shift=1, noise=0.1),
    "balance": Balance(oversample=True),
    "clip_norm": 0.5,
    "stop": Stop(zero_error_epochs=50),
}

KINDS: dict[str, dict[str, Any]] = {
    "sgd": {"drop_last": False},
    "adam and all at once": EVERYTHING | {"optimiser": OPTIMISERS["adam"].make()},
    "svag": EVERYTHING | {"optimiser": OPTIMISERS["svag"].make()},
    "parameter noise": EVERYTHING | {"optimiser": OPTIMISERS["parameter_noise"].make()},
    "pieces in float64": {"drop_last": False, "micro_batch": 2, "precision": "float64"},
    "bfloat16": {"drop_last": False, "precision": "bfloat16"},
    "l-bfgs": {"optimiser": OPTIMISERS["lbfgs"].make(), "epochs": 5},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_after_any_step_changes_no_bit(kind: str) -> None:
    """Also in the middle of an epoch, with batch normalisation, momentum and noise from the global generator."""
    settings = KINDS[kind] | {"noisy": kind != "l-bfgs"}
    whole = training(**settings)
    expected = list(whole.steps())
    for cut in range(len(expected) + 1):
        first = training(**settings)
        steps = first.steps()
        before = [next(steps) for _ in range(cut)]
        state = copy.deepcopy(first.state())
        torch.manual_seed(99)  # what happens in between does not matter
        second = training(**settings)
        second.restore(state)
        assert before + list(second.steps()) == expected
        for a, b in zip(weights(second), weights(whole), strict=True):
            EXACT.check(a, b)


def test_going_on_leaves_the_state_as_it_was() -> None:
    """It may be gone on from twice."""
    first = training(drop_last=False, stop=Stop(zero_error_epochs=9))
    next(first.steps())
    state = copy.deepcopy(first.state())
    ends = []
    for _ in range(2):
        second = training(drop_last=False, stop=Stop(zero_error_epochs=9))
        second.restore(state)
        ends.append(list(second.steps()))
    assert ends[0] == ends[1]


def test_every_sample_is_seen_once_an_epoch() -> None:
    one = training(epochs=1, drop_last=False)
    seen: list[int] = []
    for _ in one.steps():
        seen.extend(one.rows[0].tolist())
    assert sorted(seen) == list(range(20))
    assert seen != sorted(seen)


def test_oversampled_classes_come_equally_often() -> None:
    one = training(epochs=1, drop_last=False, balance=Balance(oversample=True))
    counts = torch.zeros(3, dtype=torch.int64)
    for _ in one.steps():
        counts += torch.bincount(one.data.train.y[one.rows[0]], minlength=3)
    largest = int(torch.bincount(one.data.train.y).max())
    assert counts.tolist() == [largest] * 3
    assert one.step == -(-3 * largest // 8)


def test_epoch_loss_is_the_mean_over_samples_seen() -> None:
    """At a learning rate of almost nothing and without noise it is the loss of the untrained network."""
    one = training(noisy=False, epochs=1, drop_last=False, batch_size=20, optimiser=SGD(learning_rate=1e-12))
    one.network.train()
    x, y = one.data.train.take(torch.arange(20))
    expected = one.plan.loss(one.watched.look(x), y).mean()
    (progress,) = one.steps()
    Relative("float32 loss", 1e-6).check(progress.loss, expected)


@pytest.mark.parametrize("micro_batch", [1, 3, 8, 100])
def test_pieces_have_the_gradient_of_the_whole(micro_batch: int) -> None:
    settings = {"noisy": False, "norm": False, "precision": "float64"}
    whole, pieces = training(**settings), training(micro_batch=micro_batch, **settings)
    rows = torch.arange(1, 14)
    factors = torch.linspace(-1, 2, 13, dtype=torch.float64)
    for options in ({}, {"weights": factors}, {"each": lambda outputs, _y: outputs.features.square().sum(1)}):
        found, expected = gradient(pieces, rows, **options), gradient(whole, rows, **options)
        for a, b in zip(found, expected, strict=True):
            IDENTITY.floor(float(b.abs().max())).check(a, b)


def test_weights_of_samples_and_classes() -> None:
    """Twin: the gradient of (1/n) sum_i w_i c_{y_i} l_i, one sample at a time."""
    settings = {"noisy": False, "norm": False, "precision": "float64"}
    one, plain = training(balance=Balance(class_weights="inverse"), **settings), training(**settings)
    rows, factors = torch.arange(2, 9), torch.linspace(-1, 2, 7, dtype=torch.float64)
    y = one.data.train.y
    counts = torch.bincount(y).double()
    of_class = 1 / counts * len(y) / 3  # the mean over all samples is 1
    expected = [torch.zeros_like(parameter) for parameter in plain.network.parameters()]
    for row, factor in zip(rows.tolist(), factors.tolist(), strict=True):
        for total, part in zip(expected, gradient(plain, torch.tensor([row])), strict=True):
            total += factor * of_class[y[row]] * part / 7
    for a, b in zip(gradient(one, rows, weights=factors), expected, strict=True):
        Relative("class weights are float32", 1e-6).floor(float(b.abs().max())).check(a, b)
    per_sample = plain.evaluate() * of_class[y]
    Relative("class weights are float32", 1e-6).check(one.evaluate(), per_sample)
    EXACT.check(
        one.losses(one.watched.look(one.data.train.x), y), plain.losses(plain.watched.look(one.data.train.x), y)
    )


def test_gradients_add_up_until_they_are_cleared() -> None:
    one = training(noisy=False, norm=False, precision="float64")
    rows = torch.arange(5)
    once = gradient(one, rows)
    one.accumulate(rows, weights=torch.full((5,), -3.0, dtype=torch.float64))
    for parameter, first in zip(one.network.parameters(), once, strict=True):
        REFERENCE.floor(float(first.abs().max())).check(parameter.grad, -2 * first)


def test_clipping() -> None:
    """The step of plain SGD is then as long as the rate times the limit."""
    optimiser = SGD(learning_rate=0.5, momentum=0.0, weight_decay=0.0)
    one = training(noisy=False, optimiser=optimiser, clip_norm=1e-3, precision="float64")
    before = torch.cat([parameter.detach().flatten().clone() for parameter in one.network.parameters()])
    next(one.steps())
    after = torch.cat([parameter.detach().flatten() for parameter in one.network.parameters()])
    # torch adds 1e-6 to the norm that it divides by
    Relative("clipped step", 1e-4).check((after - before).norm(), 0.5e-3)


def test_float64() -> None:
    one, single = (training(precision=name, noisy=False, norm=False) for name in ("float64", "float32"))
    assert {parameter.dtype for parameter in one.network.parameters()} == {torch.float64}
    x, y = one.data.test.take(torch.arange(10))
    assert (x.dtype, y.dtype) == (torch.float64, torch.int64)
    rows = torch.arange(20)
    for a, b in zip(gradient(single, rows), gradient(one, rows), strict=True):
        PRECISION.at(20).floor(float(b.abs().max())).check(a, b)
    assert one.evaluate().dtype == torch.float64


def test_bfloat16_is_for_the_forward_pass_in_training_alone() -> None:
    one, single = (training(precision=name, noisy=False, norm=False) for name in ("bfloat16", "float32"))
    seen = []

    def features(outputs: Outputs, _y: Tensor) -> Tensor:
        seen.append(outputs)
        return outputs.features.square().sum(1)

    rows = torch.arange(20)
    for a, b in zip(gradient(one, rows, each=features), gradient(single, rows, each=features), strict=True):
        Relative("bfloat16", 0.05).floor(float(b.abs().max())).check(a, b)
    assert seen[0].features.dtype == seen[0].logits.dtype == seen[0].weight.dtype == torch.float32
    EXACT.check(seen[0].features, seen[0].features.bfloat16().float())
    assert not torch.equal(seen[0].features, seen[1].features)
    assert {parameter.dtype for parameter in one.network.parameters()} == {torch.float32}
    single.network.load_state_dict(one.network.state_dict())
    EXACT.check(one.evaluate(), single.evaluate())


def test_augmentation_is_for_training_alone_and_the_same_in_pieces() -> None:
    augmentation = Augmentation(noise=1.0)
    settings = {"noisy": False, "norm": False, "precision": "float64", "augmentation": augmentation}
    one, pieces, plain = training(**settings), training(micro_batch=3, **settings), training(**settings)
    rows = torch.arange(7)
    first, second = gradient(one, rows), gradient(one, rows)
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    for a, b in zip(gradient(pieces, rows), first, strict=True):
        IDENTITY.floor(float(b.abs().max())).check(a, b)
    EXACT.check(one.evaluate(), plain.evaluate())


def test_channels_last_changes_the_layout_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 3, 8, 8, generator=generator), torch.arange(12) % 3
    found = []
    for channels_last in (False, True):
        torch.manual_seed(0)
        network = CNN(widths=(8, 8), batch_norm=False).build((3, 8, 8), 3)
        data = Splits(Samples(x, y), Samples(x, y), 3)
        order = torch.Generator().manual_seed(0)
        settings = plan(channels_last=channels_last, batch_size=12, precision="float64")
        found.append(Training(network, data, settings, order=order, device=torch.device("cpu")))
    convolution = next(module for module in found[1].network.modules() if isinstance(module, nn.Conv2d))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    rows = torch.arange(12)
    for a, b in zip(gradient(found[1], rows), gradient(found[0], rows), strict=True):
        IDENTITY.floor(float(b.abs().max())).check(a, b)


def test_stop_at_a_loss() -> None:
    whole = [p.loss for p in training(noisy=False, epochs=20).steps() if p.loss is not None]
    limit = sum(whole[4:6]) / 2
    one = training(noisy=False, epochs=20, stop=Stop(loss_below=limit))
    seen = list(one.steps())
    expected = next(epoch for epoch, loss in enumerate(whole, 1) if loss < limit)
    assert seen[-1].epoch == expected < 20
    assert [p.last for p in seen] == [False] * (len(seen) - 1) + [True]
    assert one.stopped
    assert list(one.steps()) == []


@pytest.mark.parametrize("in_a_row", [1, 3])
def test_stop_without_errors(in_a_row: int) -> None:
    """Twin: the batches of each epoch are looked at beside the loop, just before their step."""
    settings = {"noisy": False, "norm": False, "drop_last": False, "epochs": 400, "schedule": StepSchedule((), 0.1)}
    one = training(stop=Stop(zero_error_epochs=in_a_row), **settings)
    beside, before = training(**settings), training(**settings)  # the second stays a step behind the first
    errors = [0]
    for progress in beside.steps():
        x, y = before.data.train.take(beside.rows[0])
        errors[-1] += int((before.watched.look(x).logits.argmax(1) != y).sum())
        before.network.load_state_dict(beside.network.state_dict())
        if progress.loss is not None:
            if errors[-in_a_row:] == [0] * in_a_row:
                break
            errors.append(0)
    assert list(one.steps())[-1].epoch == len(errors) < 400
    assert sum(error > 0 for error in errors) > 3


@pytest.mark.parametrize("name", ["lbfgs", "gradient_flow"])
def test_an_optimiser_that_looks_at_nothing_makes_no_errors_vanish(name: str) -> None:
    """At rest there is no gradient to compute; with so much decay the minimum has errors."""
    optimiser = OPTIMISERS[name].make(weight_decay=1.0)
    one = training(noisy=False, norm=False, optimiser=optimiser, epochs=60, stop=Stop(zero_error_epochs=3))
    for _ in one.steps():
        assert not one.stopped
    assert int((one.watched.look(one.data.train.x).logits.argmax(1) != one.data.train.y).sum()) > 0


def test_noise_of_the_optimiser_leaves_the_order_as_it_was() -> None:
    orders = []
    for name in ("sgd", "parameter_noise"):
        one = training(optimiser=OPTIMISERS[name].make(), epochs=3)
        orders.append([one.rows[0].tolist() for _ in one.steps()])
    assert orders[0] == orders[1]


def test_stop_rules_are_checked() -> None:
    with pytest.raises(InputError, match="zero_error_epochs must be an integer of at least 1, got 0"):
        Stop(zero_error_epochs=0)
    with pytest.raises(InputError, match="loss_below must be a finite number, got nan"):
        Stop(loss_below=float("nan"))


def test_a_batch_must_fit() -> None:
    with pytest.raises(InputError, match=r"batch_size must be at most 20, the number of training samples, .* got 21"):
        training(batch_size=21)
    assert len(list(training(batch_size=21, drop_last=False, epochs=2).steps())) == 2


@dataclasses.dataclass(frozen=True)
class Compares(Penalty):
    """Looks at the whole batch."""

    unit = "1"
    separable = False

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        return outputs.features.square().mean().expand(len(y))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"epochs": 2.0}, "epochs must be an integer of at least 1, got 2.0"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"micro_batch": 0}, "micro_batch must be an integer of at least 1, got 0"),
        (
            {"micro_batch": 2, "penalty": Compares()},
            "micro_batch must be None with a loss or penalty that compares .* got 2 with Compares",
        ),
        (
            {"loss": LOSSES["mcr2"].make(), "balance": Balance(class_weights="inverse")},
            "class_weights must be none with a loss that is one number .* got inverse with CodingRateReduction",
        ),
        ({"clip_norm": 0.0}, r"clip_norm must be a finite number above 0, got 0\.0"),
        ({"precision": "float16"}, "precision must be one of float32, bfloat16, float64, got 'float16'"),
        ({"decay_on": "body"}, "decay_on must be one of all, weights, head, got 'body'"),
        ({"channels_last": 1}, "channels_last must be true or false, got 1"),
        ({"channels_last": True}, r"channels_last must be false except for images \(c, h, w\), got .* \(1, 4\)"),
        ({"sync_batch_norm": True}, "sync_batch_norm must be false except on cuda, got device cpu"),
        (
            {"augmentation": Augmentation(flip=True)},
            r"crop, flip and cutout must be off except for images .* \(8, 1, 4\)",
        ),
        (
            {"optimiser": OPTIMISERS["lbfgs"].make(), "balance": Balance(oversample=True)},
            "oversample must be false with an optimiser of the whole training set",
        ),
    ],
)
def test_bad_plans(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        training(**change)


def test_one_sample_cannot_be_normalised() -> None:
    """Known before the first step, although the batch in question is the last of the epoch."""
    for sizes in ({"micro_batch": 7}, {"batch_size": 19, "drop_last": False}):
        with pytest.raises(InputError, match=r"batch normalisation needs 2 samples or more in all .* got 1; change"):
            training(**sizes)
    torch.manual_seed(3)
    expected = torch.rand(1)
    x, y = torch.randn(9, 1, 4, 4, generator=torch.Generator()), torch.arange(9) % 3
    settings = plan(batch_size=8, drop_last=False, epochs=1)
    network = CNN(widths=(4,)).build((1, 4, 4), 3)  # one sample has sixteen places
    torch.manual_seed(3)
    order, data = torch.Generator(), Splits(Samples(x, y), Samples(x, y), 3)
    one = Training(network, data, settings, order=order, device=torch.device("cpu"))
    EXACT.check(torch.rand(1), expected)  # trying it out drew nothing
    EXACT.check(one.network.state_dict()["body.layer1.1.running_mean"], torch.zeros(4))
    assert [progress.step for progress in one.steps()] == [1, 2]


def test_a_device_or_processes() -> None:
    one = training()
    for places in ({}, {"device": torch.device("cpu"), "fabric": one.fabric}):
        with pytest.raises(InputError, match="device must be given where fabric is not, and only there"):
            Training(one.network, one.data, one.plan, order=torch.Generator(), **places)


class Deep(Loss):
    """Looks at a stage of the body."""

    unit = "1"
    layers = ("1",)

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        return outputs.layers["1"].square().sum(1) + 0 * y


def test_stages_are_kept_only_where_a_loss_asks() -> None:
    one, plain = training(loss=Deep(), noisy=False, norm=False, precision="float64"), training()
    (progress, *_) = one.steps()
    assert progress.step == 1
    x, _ = one.data.train.take(torch.arange(3))
    EXACT.check(one.watched.look(x).layers["1"], one.network.body[1](x.flatten(1)))  # pyright: ignore[reportIndexIssue]
    assert plain.watched.look(x.float()).layers == {}
    assert not any(module._forward_hooks for module in one.network.modules())
    with pytest.raises(InputError, match="stages of the body or modules in them, 0, 1, 2, 3, 4, got 'conv'"):
        Watched(one.network, ("conv",))


class Waits(TorchDispatchMode):
    """Notes the operations that Python would wait for on a device: numbers, and shapes that depend on numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if name.startswith(("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten._unique")):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["sgd", "svag"])
def test_a_step_waits_for_nothing(kind: str) -> None:
    """Except at the ends of epochs, where the sum of the losses and the count of the errors become numbers."""
    settings = EVERYTHING | {"optimiser": OPTIMISERS[kind].make(), "balance": Balance(class_weights="inverse")}
    one = training(noisy=False, norm=False, micro_batch=3, **settings)
    for _ in range(one.plan.epochs):
        progress = None
        with Waits() as waits:
            steps = one.steps()
            while progress is None or progress.loss is None:
                assert waits.seen == []
                progress = next(steps)
            assert len(waits.seen) == 2


def test_divergence_names_epoch_and_rate() -> None:
    one = training()
    with torch.no_grad():
        one.network.head.bias.fill_(float("nan"))
    with pytest.raises(NotConverged, match=r"the loss became nan in epoch 1 at learning rate 0\.1; lower"):
        list(one.steps())
    with pytest.raises(NotConverged, match="the loss became inf in epoch 0 before any step"):
        require_finite(float("inf"), epoch=0, learning_rate=None)
