"""Networks trained side by side against one network at a time."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from collapselab.core.errors import InputError, NotConverged
from collapselab.core.random import child_seed, generators
from collapselab.training._stacked import stacked
from collapselab.training.data import Samples, Splits
from collapselab.training.heads.simplex_etf import SimplexETF
from collapselab.training.networks import Classifier, Network
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


class Tripled(nn.Flatten):
    """A subclass that does something else."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * super().forward(x)


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def one_activation() -> nn.Module:
    network = layers()
    network[3] = network[1]
    return network


def one_layer_twice() -> nn.Module:
    network = layers()
    network[2] = network[0]
    return network


def one_bias_twice() -> nn.Module:
    network = layers()
    network[2].bias = network[0].bias
    return network


def bias_as_buffer() -> nn.Module:
    network, bias = layers(), torch.ones(5, dtype=torch.float64)
    del network[2].bias
    network[2].register_buffer("bias", bias)
    return network


def hooked() -> nn.Module:
    network = layers()
    network[2].register_forward_hook(lambda _module, _given, found: 2 * found)
    return network


def hooked_at_the_top() -> nn.Module:
    network = layers()
    network.register_forward_pre_hook(lambda _module, given: (given[0] + 1,))
    return network


def subclassed() -> nn.Module:
    return nn.Sequential(Tripled(), layers())


def idle_weights() -> nn.Module:
    network = layers()
    network.register_parameter("idle", nn.Parameter(torch.ones(2, dtype=torch.float64)))
    return network


def aside() -> nn.Module:
    network = Classifier(nn.Sequential(nn.Linear(5, 3), nn.Tanh()), nn.Linear(3, 3)).double()
    network.add_module("aside", nn.Linear(3, 3).double())
    return network


def writes_into_inputs() -> nn.Module:
    return nn.Sequential(nn.ReLU(inplace=True), layers())


ODD = [one_activation, one_layer_twice, one_bias_twice, bias_as_buffer, hooked, hooked_at_the_top, subclassed,
       idle_weights, aside, writes_into_inputs]  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("make", ODD)
def test_networks_that_are_not_quite_a_row_of_layers(make: Callable[[], nn.Module], batch_size: int) -> None:
    splits = data(FLAT)
    x = splits.train.take(torch.arange(12))[0].double()
    samples, networks = Samples(x.clone(), splits.train.y), [make() for _ in range(2)]
    trials = Trials(networks, samples, generators(3, "a", "b"), learning_rate=0.1, batch_size=batch_size)
    drawn = trials.steps(5)
    for trial, (network, draw) in enumerate(zip(networks, generators(3, "a", "b"), strict=True)):
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        for step, rows in enumerate(torch.randint(12, (5, batch_size), generator=draw)):
            logits = network(x[rows])
            REFERENCE.floor(1).check(drawn.logits[step, trial], logits.detach())
            optimiser.zero_grad()
            functional.cross_entropy(logits, samples.y[rows]).backward()
            optimiser.step()
        REFERENCE.floor(1).check(trials.logits(samples)[trial], network(x.clone()).detach())
    EXACT.check(samples.take(torch.arange(12))[0], x)


def test_another_way_is_not_taken_where_it_gives_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a network hides from the eyes of `stacked`, two samples show."""
    splits = data(FLAT)
    given = (MLP((4,), batch_norm=False), splits)
    right = Trials.fresh(*given, trials=2, learning_rate=0.1)
    assert right._stacked is not None

    def wrong(*arguments: Any) -> Any:
        found = stacked(*arguments)
        return found and (lambda parameters, x: 1.1 * found(parameters, x))

    monkeypatch.setattr("collapselab.training.trials.stacked", wrong)
    wary = Trials.fresh(*given, trials=2, learning_rate=0.1)
    assert wary._stacked is None
    rounding = 50 * torch.finfo(torch.float32).eps
    assert float((wary.steps(5).logits - right.steps(5).logits).abs().max()) < rounding


def labelled(y: Tensor) -> Samples:
    return Samples(torch.ones(len(y), 5), y)


def replaced() -> nn.Module:
    network = layers()
    network[0].forward = lambda x: x
    return network


def frozen() -> nn.Module:
    return layers().requires_grad_(False)


def slanted(slope: float) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 3), nn.LeakyReLU(slope))


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        ([replaced()], "networks must pass as their classes say, got a replaced forward at 0"),
        ([frozen()], "networks must have weights that are trained, got none"),
        ([nn.Identity()], "networks must have weights that are trained, got none"),
        ([slanted(0.1), slanted(0.2)], "networks must be of the same layers, got number 1 unlike number 0"),
        ([nn.Linear(5, 3), nn.Linear(5, 3).eval()], "got number 1 unlike number 0"),
        ([nn.Linear(5, 3), nn.Linear(5, 3).requires_grad_(False)], "got number 1 unlike number 0"),
        ([nn.Linear(5, 2)], r"networks must give 3 logits or more for each sample, got outputs of shape \(2, 2\)"),
        ([nn.Linear(4, 3)], r"networks must take inputs of shape \(5,\), each by itself"),
        ([nn.Sequential(nn.Linear(5, 3), nn.RReLU())], "draw nothing at random, got: "),
    ],
)  # fmt: skip
def test_networks_that_cannot_stand_for_each_other(networks: list[nn.Module], words: str) -> None:
    draws = generators(0, "a", "b")[: len(networks)]
    with pytest.raises(InputError, match=words):
        Trials(networks, data(FLAT).train, draws, learning_rate=0.1)


def test_a_state_of_others_is_refused() -> None:
    one, two = (Trials.fresh(MLP((4,), batch_norm=False), data(FLAT), trials=n, learning_rate=0.1) for n in (1, 2))
    with pytest.raises(InputError, match="state must be of 2 trials of the same networks"):
        two.restore(one.state())


def test_samples_of_another_shape_are_refused() -> None:
    trials = Trials.fresh(MLP((4,), batch_norm=False), data(FLAT), trials=2, learning_rate=0.1)
    with pytest.raises(InputError, match=r"samples must be of shape \(5,\), got \(6,\)"):
        trials.logits(data((6,)).test)


def test_logits_that_are_not_finite_are_told() -> None:
    trials = Trials.fresh(MLP((4,), batch_norm=False), data(FLAT), trials=2, learning_rate=0.1)
    state = trials.state()
    state["parameters"] = {name: torch.full_like(values, torch.inf) for name, values in state["parameters"].items()}
    trials.restore(state)
    with pytest.raises(NotConverged, match="a logit of trial 0 is not finite after step 0"):
        trials.logits(data(FLAT).test)


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
        ({"samples": labelled(torch.tensor([0, -100, 1]))}, "labels must lie in 0..1, got -100 at index 1"),
        ({"samples": labelled(torch.tensor([0.0, 1, 1]))}, "labels must be integers of 64 bits"),
        ({"samples": labelled(torch.zeros(0).long())}, "samples must be at least one, got none"),
        ({"networks": [nn.Linear(5, 3)] * 2, "draws": generators(0, "a") * 2}, "a generator of its own for each"),
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
