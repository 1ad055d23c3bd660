"""Networks trained side by side against one network at a time."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from collapselab.core.errors import InputError, NotConverged
from collapselab.core.random import child_seed, generators
from collapselab.training._stacked import stacked
from collapselab.training.data import Samples, Splits
from collapselab.training.heads.simplex_etf import SimplexETF
from collapselab.training.networks import Network
from collapselab.training.networks.cnn import CNN
from collapselab.training.networks.convnet1d import ConvNet1d
from collapselab.training.networks.lenet import LeNet
from collapselab.training.networks.mlp import MLP
from collapselab.training.trials import Trials
from tolerances import EXACT, REFERENCE

IMAGES, FLAT = (1, 16, 16), (5,)


def data(shape: tuple[int, ...], *, samples: int = 12) -> Splits:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, samples, *shape, generator=generator)
    y = torch.arange(samples) % 3
    return Splits(Samples(x[0], y), Samples(x[1], y), 3)


def alone(network: Network, splits: Splits, trial: int, *, batch_size: int, steps: int) -> tuple[nn.Module, list[Any]]:
    """One trial by torch's own optimiser, in float64: eq. of SGD, a sample or a few at a time."""
    torch.manual_seed(child_seed(7, f"network {trial}"))
    model = network.build(splits.shape, 3).double()
    (draw,) = generators(7, f"draws {trial}")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    rows = torch.randint(len(splits.train), (steps, batch_size), generator=draw)
    seen = []
    for step in range(steps):
        x, y = splits.train.take(rows[step])
        logits = model(x.double())
        losses = functional.cross_entropy(logits, y, reduction="none")
        seen.append((logits.detach(), y, losses.detach()))
        optimiser.zero_grad()
        losses.mean().backward()
        optimiser.step()
    return model, seen


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (MLP((6, 4), batch_norm=False), FLAT),
        (LeNet((2, 3), (5,)), IMAGES),
        (LeNet((2,), (5,), last_activation=False), (2, 9, 8)),
        (CNN((3, 4), batch_norm=False), IMAGES),
        (MLP((4,), batch_norm=False, bias=False, activation="identity"), IMAGES),
        (ConvNet1d((2, 3)), (1, 20)),
    ],
)
def test_each_trial_is_what_it_is_alone(network: Network, shape: tuple[int, ...], batch_size: int) -> None:
    splits = data(shape)
    given: dict[str, Any] = {"learning_rate": 0.1, "batch_size": batch_size, "seed": 7, "dtype": torch.float64}
    trials = Trials.fresh(network, splits, trials=3, **given)
    drawn = [trials.steps(9), trials.steps(3)]
    assert trials.step == 12
    for trial in range(3):
        model, seen = alone(network, splits, trial, batch_size=batch_size, steps=12)
        for name, values in model.state_dict().items():
            REFERENCE.floor(1).check(trials.weights(trial)[name], values)
        for part, expected in zip(("logits", "labels", "losses"), zip(*seen, strict=True), strict=True):
            found = torch.cat([getattr(one, part) for one in drawn])[:, trial]
            REFERENCE.floor(1).check(found, torch.stack(expected))
        x, _ = splits.test.take(torch.arange(12))
        REFERENCE.floor(1).check(trials.logits(splits.test)[trial], model(x.double()).detach())


@pytest.mark.parametrize(
    ("network", "shape", "known"),
    [
        (MLP((6, 4), batch_norm=False).build(FLAT, 3), FLAT, True),
        (LeNet().build((1, 32, 32), 3), (1, 32, 32), True),
        (CNN((3, 4), batch_norm=False).build(IMAGES, 3), IMAGES, True),
        (ConvNet1d((2, 3)).build((1, 20), 3), (1, 20), False),
        (MLP((4,), batch_norm=False).build(FLAT, 3, head=SimplexETF()), FLAT, False),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), IMAGES, False),
        (nn.Sequential(nn.Flatten(2), nn.Linear(256, 3)), IMAGES, False),
        (nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(512, 3)), IMAGES,
         False),
    ],
)  # fmt: skip
def test_networks_of_simple_layers_are_one(network: nn.Module, shape: tuple[int, ...], known: bool) -> None:
    assert (stacked(network, shape, 2) is not None) is known


def test_a_trial_does_not_depend_on_how_many_there_are() -> None:
    network, splits = MLP((6,), batch_norm=False), data(FLAT)
    few, many = (Trials.fresh(network, splits, trials=n, learning_rate=0.1, dtype=torch.float64) for n in (1, 4))
    REFERENCE.floor(1).check(few.steps(20).logits[:, 0], many.steps(20).logits[:, 0])


def test_goes_on_to_the_same_bits() -> None:
    network, splits = MLP((6,), batch_norm=False), data(FLAT)
    whole, first, second = (Trials.fresh(network, splits, trials=2, learning_rate=0.1, batch_size=2) for _ in range(3))
    expected = whole.steps(10).logits
    EXACT.check(first.steps(4).logits, expected[:4])
    second.restore(first.state())
    EXACT.check(second.steps(6).logits, expected[4:])
    assert second.step == 10


def test_fixed_weights_stay() -> None:
    splits = data(FLAT)
    built = [MLP((6,), batch_norm=False).build(FLAT, 3, head=SimplexETF()) for _ in range(2)]
    trials = Trials(built, splits.train, generators(0, "a", "b"), learning_rate=0.5)
    before = {name: values.clone() for name, values in built[0].state_dict().items()}
    trials.steps(5)
    after = trials.weights(0)
    EXACT.check(after["head.weight"], before["head.weight"])
    assert not torch.equal(after["body.layer1.1.weight"], before["body.layer1.1.weight"])
    EXACT.check(built[0].state_dict()["body.layer1.1.weight"], before["body.layer1.1.weight"])


def test_nothing_global_is_drawn_from() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    Trials.fresh(MLP((3,), batch_norm=False), data(FLAT), trials=2, learning_rate=0.1).steps(2)
    EXACT.check(torch.rand(1), expected)


def test_divergence_is_told() -> None:
    trials = Trials.fresh(MLP((20, 20), batch_norm=False), data(FLAT), trials=2, learning_rate=1e6)
    with pytest.raises(NotConverged, match=r"the loss of trial \d is no longer finite at step \d+ at learning rate 1e"):
        trials.steps(200)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            MLP((4,)).build(FLAT, 3),
            "to be trained side by side, got BatchNorm1d at body.layer1.2",
        ),
        (nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 3)), "got Dropout at 0"),
        (nn.InstanceNorm1d(3, track_running_stats=True), "got InstanceNorm1d at the top"),
    ],
)
def test_what_cannot_be_trained_side_by_side(network: nn.Module, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Trials([network], data(FLAT).train, generators(0, "a"), learning_rate=0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"networks": []}, "networks must be at least one, got none"),
        ({"draws": generators(0, "a", "b")}, "draws must be one generator for each of 1 networks, got 2"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], words: str) -> None:
    given = {"networks": [nn.Linear(5, 3)], "samples": data(FLAT).train, "draws": generators(0, "a")}
    with pytest.raises(InputError, match=words):
        Trials(**{**given, "learning_rate": 0.1, **changes})


def test_bad_counts() -> None:
    with pytest.raises(InputError, match="trials must be an integer of at least 1, got 0"):
        Trials.fresh(MLP((3,), batch_norm=False), data(FLAT), trials=0, learning_rate=0.1)
    trials = Trials.fresh(MLP((3,), batch_norm=False), data(FLAT), trials=2, learning_rate=0.1)
    with pytest.raises(InputError, match="count must be an integer of at least 1, got 0"):
        trials.steps(0)
    with pytest.raises(InputError, match="trial must be one of 0, 1"):
        trials.weights(2)
