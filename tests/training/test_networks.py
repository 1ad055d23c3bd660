"""Networks: what every one of them promises. Models of other libraries are tried in ``networks/test_foreign.py``."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import nn

from collapselab.core.cite import references
from collapselab.core.errors import InputError, UnknownName
from collapselab.evidence import feature_tap
from collapselab.training import NETWORKS
from collapselab.training._choice import chosen_from, settings_of
from collapselab.training.networks import Classifier, Network
from collapselab.training.networks.cnn import CNN
from collapselab.training.networks.convnet1d import ConvNet1d
from collapselab.training.networks.densenet import DenseNet
from collapselab.training.networks.lenet import LeNet
from collapselab.training.networks.mlp import MLP
from collapselab.training.networks.resnet import ResNet
from collapselab.training.networks.vgg import VGG
from collapselab.training.networks.wide_resnet import WideResNet
from tolerances import EXACT, IDENTITY

# Tried elsewhere: models of other libraries, and what is no network (with the data set of one-hot inputs).
ELSEWHERE = {"transformers", "torchvision", "timm", "unconstrained_features"}

IMAGES, GREY, SIGNALS = (3, 16, 16), (1, 8, 8), (1, 40)

FOUR = ["layer1", "layer2", "layer3", "layer4"]

# Every network in small, for a shape of input; with the stages and the number of features that it must have.
SMALL: list[tuple[Network, tuple[int, ...], list[str], int]] = [
    (MLP((12, 7)), IMAGES, ["layer1", "layer2"], 7),
    (MLP((12, 7), batch_norm=False), SIGNALS, ["layer1", "layer2"], 7),
    (MLP((9,), bias=False, activation="identity"), GREY, ["layer1"], 9),
    (CNN((12, 7)), IMAGES, ["layer1", "layer2", "pool"], 7),
    (CNN((12, 7), batch_norm=False), SIGNALS, ["layer1", "layer2", "pool"], 7),
    (CNN((12, 7), batch_norm=False, bias=False), GREY, ["layer1", "layer2", "pool"], 7),
    (VGG(11, width=3), GREY, [*FOUR, "layer5", "pool"], 24),
    (VGG(16, width=3, batch_norm=False, num_features=5), IMAGES, [*FOUR, "layer5", "pool"], 5),
    (ResNet(18, width=3), GREY, ["stem", *FOUR, "pool"], 24),
    (ResNet(18, width=3, num_features=2), IMAGES, ["stem", *FOUR, "pool"], 2),
    (ResNet(50, width=2), IMAGES, ["stem", *FOUR, "pool"], 64),
    (ResNet(50, width=2, num_features=5, stem="imagenet"), (3, 32, 32), ["stem", *FOUR, "pool"], 5),
    (ResNet(20, width=3), GREY, ["stem", "layer1", "layer2", "layer3", "pool"], 12),
    (WideResNet(10, widen=1), GREY, ["stem", "layer1", "layer2", "layer3", "norm", "pool"], 64),
    (WideResNet(16, widen=1, num_features=5), IMAGES, ["stem", "layer1", "layer2", "layer3", "norm", "pool"], 5),
    (DenseNet(40, growth=2), GREY, ["stem", "layer1", "layer2", "layer3", "norm", "pool"], 88),
    (DenseNet(121, growth=2, num_features=5), GREY, ["stem", *FOUR, "norm", "pool"], 5),
    (LeNet((4, 5), (7,)), IMAGES, ["conv1", "conv2", "dense1"], 7),
    (LeNet((2,), (6, 4)), GREY, ["conv1", "dense1", "dense2"], 4),
    (ConvNet1d((4, 5)), SIGNALS, ["layer1", "layer2", "flatten"], 50),
    (ConvNet1d((4, 5), batch_norm=True, num_features=6), SIGNALS, ["layer1", "layer2", "flatten", "dense"], 6),
]


def called(network: Network) -> str:
    """The settings of a network that are not the default ones, as the name of a test."""
    default = type(network)()
    changed = {key: value for key, value in vars(network).items() if value != getattr(default, key)}
    return "-".join([type(network).__name__, *(f"{key}={value}" for key, value in changed.items())]).replace(" ", "")


small = pytest.mark.parametrize(
    ("network", "shape", "stages", "num_features"),
    [pytest.param(*entry, id=called(entry[0])) for entry in SMALL],
)

# One of each kind, for what does not depend on settings.
KINDS = list({type(network): (network, shape) for network, shape, *_ in SMALL}.values())


def built(network: Network, shape: tuple[int, ...], *, seed: int = 0, num_classes: int = 5) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network.build(shape, num_classes)


def batch(shape: tuple[int, ...], *, samples: int = 10, dtype: torch.dtype = torch.float32) -> Any:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(samples, *shape, generator=generator, dtype=dtype), torch.arange(samples) % 5


def test_every_network_is_tried() -> None:
    assert {type(network) for network, *_ in SMALL} == {NETWORKS[name].make for name in set(NETWORKS) - ELSEWHERE}
    assert set(NETWORKS) >= ELSEWHERE


@pytest.mark.parametrize("name", NETWORKS)
def test_declaration(name: str) -> None:
    choice = NETWORKS[name]
    assert choice.source in references()
    assert choice.label
    assert choice.summary.endswith(".")


@small
def test_contract(network: Network, shape: tuple[int, ...], stages: list[str], num_features: int) -> None:
    """Features and logits have their shapes; stages come in order; the tap finds the head by itself."""
    model, (x, y) = built(network, shape), batch(shape)
    seen: list[str] = []
    for name, stage in model.body.named_children():
        stage.register_forward_hook(lambda *_, name=name: seen.append(name))
    assert model.features(x).shape == (len(x), num_features)
    assert seen == stages == [name for name, _ in model.body.named_children()]
    assert model(x).shape == (len(x), 5)
    assert model.head.in_features == network.body(shape)[1] == num_features
    tap = feature_tap(model)
    assert tap.probe((x, y)).name == "head"
    normalised = any(isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) for module in model.modules())
    assert normalised is getattr(network, "batch_norm", True)


@small
def test_settings_survive_a_configuration(
    network: Network, shape: tuple[int, ...], stages: list[str], num_features: int
) -> None:
    assert chosen_from(NETWORKS, settings_of(NETWORKS, network)) == network


@small
def test_training(network: Network, shape: tuple[int, ...], stages: list[str], num_features: int) -> None:
    """A gradient reaches every parameter, and three steps lower the loss."""
    model, (x, y) = built(network, shape), batch(shape)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02)
    losses = []
    for _ in range(4):
        loss = nn.functional.cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert bool(torch.isfinite(parameter.grad).all()), name
            assert bool(parameter.grad.any()), name
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[3] < losses[0]


@small
def test_state_round_trips(network: Network, shape: tuple[int, ...], stages: list[str], num_features: int) -> None:
    first, second, (x, _) = built(network, shape), built(network, shape, seed=1), batch(shape)
    first(x)  # moves the running statistics of batch normalisation
    second.load_state_dict(load(save(first.state_dict())))
    EXACT.check(second.eval()(x).detach(), first.eval()(x).detach())


@small
def test_initial_weights_come_from_the_global_generator(
    network: Network, shape: tuple[int, ...], stages: list[str], num_features: int
) -> None:
    one, again, other = (built(network, shape, seed=seed).state_dict() for seed in (5, 5, 6))
    for name, values in one.items():
        EXACT.check(again[name], values)
    drawn = [name for name, values in one.items() if name.endswith("weight") and values.ndim > 1]
    assert drawn
    assert not any(torch.equal(one[name], other[name]) for name in drawn)


@small
def test_nothing_is_changed_in_place(
    network: Network, shape: tuple[int, ...], stages: list[str], num_features: int
) -> None:
    """What a hook keeps of any layer is still what that layer gave when the forward pass has ended."""
    model, (x, _) = built(network, shape), batch(shape)
    kept: list[tuple[str, torch.Tensor, torch.Tensor]] = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _m, _i, out, name=name: kept.append((name, out, out.detach().clone())))
    before = x.clone()
    model(x)
    assert len(kept) > len(stages)
    for name, output, copy in kept:
        assert torch.equal(output, copy), name
    EXACT.check(x, before)


@small
def test_features_are_negative_only_without_the_last_activation(
    network: Network, shape: tuple[int, ...], stages: list[str], num_features: int
) -> None:
    x, _ = batch(shape)
    rectified = getattr(network, "activation", "relu") == "relu"
    assert bool((built(network, shape).features(x) >= 0).all()) is rectified
    free = built(replace(network, last_activation=False), shape)  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert bool((free.features(x) < 0).any())
    assert [name for name, _ in free.body.named_children()] == stages


@pytest.mark.parametrize("network", [network for network, shape in KINDS if len(shape) == 3], ids=called)
def test_channels_last(network: Network) -> None:
    model, (x, _) = built(network, IMAGES).double().eval(), batch(IMAGES, dtype=torch.float64)
    expected = model(x).detach()
    other = model.to(memory_format=torch.channels_last)
    IDENTITY.floor(float(expected.abs().max())).check(other(x.to(memory_format=torch.channels_last)).detach(), expected)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 7), (1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("network", [n for n, s in KINDS if len(s) == 3 and not isinstance(n, MLP | LeNet)], ids=called)
def test_images_of_any_size(network: Network, shape: tuple[int, ...]) -> None:
    assert built(network, shape).eval()(batch(shape)[0]).shape == (10, 5)


def test_lenet_takes_images_that_its_convolutions_leave_a_place_of() -> None:
    assert built(LeNet(), (1, 16, 17))(batch((1, 16, 17))[0]).shape == (10, 5)
    with pytest.raises(InputError, match=r"images must be larger for 2 convolutions of lenet, got \(1, 16, 15\)"):
        LeNet().body((1, 16, 15))


@pytest.mark.slow
@pytest.mark.parametrize("network", [ResNet(18, width=3, num_features=5), MLP((12, 7))], ids=called)
def test_the_head_of_a_compiled_network_is_found(network: Network) -> None:
    model, data = built(network, GREY), batch(GREY)
    model.compile(backend="eager")
    model(data[0])
    assert feature_tap(model).probe(data).name == "head"


# ------------------------------------------------------------------------------------------------ known numbers


def parameters(network: Network, shape: tuple[int, ...], num_classes: int = 10) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in network.build(shape, num_classes).parameters())


# With images of three channels and ten classes, as printed by the implementations that most papers took.
@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (VGG(11), 9_231_114),
        (VGG(13), 9_416_010),
        (VGG(16), 14_728_266),
        (VGG(19), 20_040_522),
        (ResNet(18), 11_173_962),
        (ResNet(34), 21_282_122),
        (ResNet(50), 23_520_842),
        (ResNet(18, stem="imagenet"), 11_181_642),
        (ResNet(50, stem="imagenet"), 23_528_522),
        (WideResNet(28, 10), 36_479_194),
        (WideResNet(28, 2), 1_467_610),
        (WideResNet(40, 2), 2_243_546),
        (DenseNet(40), 1_019_722),
        (DenseNet(121), 6_956_298),
    ],
    ids=lambda value: called(value) if isinstance(value, Network) else "",
)
def test_parameter_counts(network: Network, expected: int) -> None:
    assert parameters(network, (3, 32, 32)) == expected


@pytest.mark.parametrize(("depth", "expected"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032)])
def test_parameter_counts_on_imagenet(depth: Any, expected: int) -> None:
    assert parameters(ResNet(depth, stem="imagenet"), (3, 224, 224), 1000) == expected


def test_parameter_count_on_mnist1d() -> None:
    assert parameters(ConvNet1d(), SIGNALS) == 5210


@pytest.mark.parametrize(
    ("depth", "whole", "left", "saved"), [(18, 11_181_642, 8_867_442, 0.2070), (50, 23_528_522, 22_481_010, 0.0445)]
)
def test_what_a_fixed_head_saves(depth: Any, whole: int, left: int, saved: float) -> None:
    """zhu2021: d = K = 10, and a classifier whose matrix is not trained though its bias is."""
    free, fixed = ResNet(depth, stem="imagenet"), ResNet(depth, stem="imagenet", num_features=10)
    assert parameters(free, (3, 32, 32)) == whole
    assert parameters(fixed, (3, 32, 32)) - 10 * 10 == left
    assert round(1 - left / whole, 4) == saved


# ------------------------------------------------------------------------------------------------ symmetries


@given(
    factor=st.floats(0.25, 4),
    network=st.sampled_from([MLP((6, 5, 4), batch_norm=False, bias=False), CNN((6, 5), batch_norm=False, bias=False)]),
)
def test_without_bias_and_normalisation_features_are_homogeneous(factor: float, network: MLP | CNN) -> None:
    """Weights times c give features times c to the number of layers."""
    body, (x, _) = built(network, GREY).body.double(), batch(GREY, dtype=torch.float64)
    before = body(x).detach()
    with torch.no_grad():
        for parameter in body.parameters():
            parameter *= factor
    after = body(x).detach()
    IDENTITY.floor(float(after.abs().max())).check(after, factor ** len(network.widths) * before)


def test_a_linear_network_is_linear() -> None:
    network = MLP((6, 5), batch_norm=False, bias=False, activation="identity")
    body, (x, _) = built(network, GREY).body.double(), batch(GREY, dtype=torch.float64)
    product = body.layer2[0].weight @ body.layer1[1].weight
    IDENTITY.floor(1.0).check(body(x).detach(), (x.flatten(1) @ product.T).detach())


@pytest.mark.parametrize("network", [VGG(16), ResNet(34), WideResNet(16, 2), DenseNet(40)], ids=called)
def test_convolutions_start_as_in_he2015(network: Network) -> None:
    """The mean square is 2 / (outputs x places), within five standard errors of a normal sample; biases are zero."""
    seen = 0
    for module in built(network, IMAGES).body.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        seen += 1
        weight = module.weight.detach().double()
        variance = 2 / (module.out_channels * math.prod(module.kernel_size))
        assert abs(float(weight.square().mean()) / variance - 1) < 5 * math.sqrt(2 / weight.numel())
        assert module.bias is None or not module.bias.any()
    assert seen > 10


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("make", [MLP, CNN, ConvNet1d])
@pytest.mark.parametrize("widths", [(), [64], 64, (64, 0), (64, -1), (64, 2.5), ("64",)])
def test_bad_widths(make: Any, widths: object) -> None:
    with pytest.raises(InputError, match="widths must be"):
        make(widths=widths)


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (MLP, {"batch_norm": 1}, "batch_norm must be true or false, got 1"),
        (MLP, {"bias": "no"}, "bias must be true or false, got 'no'"),
        (MLP, {"activation": "relu6"}, "activation must be one of relu, identity, got 'relu6'"),
        (CNN, {"last_activation": None}, "last_activation must be true or false, got None"),
        (VGG, {"depth": 12}, "depth must be one of 11, 13, 16, 19, got 12"),
        (VGG, {"width": 0}, "width must be an integer of at least 1, got 0"),
        (VGG, {"num_features": 0}, "num_features must be an integer of at least 1, got 0"),
        (ResNet, {"depth": 19}, "depth must be one of 18, 34, 50, .*, got 19"),
        (ResNet, {"depth": True}, "depth must be one of .*, got True"),
        (ResNet, {"width": -1}, "width must be an integer of at least 1, got -1"),
        (ResNet, {"num_features": 2.0}, r"num_features must be an integer of at least 1, got 2\.0"),
        (ResNet, {"stem": "big"}, "stem must be one of cifar, imagenet, got 'big'"),
        (WideResNet, {"depth": 27}, r"depth must be 6 n \+ 4 .*, got 27"),
        (WideResNet, {"depth": 4}, "depth must be an integer of at least 10, got 4"),
        (WideResNet, {"widen": 0}, "widen must be an integer of at least 1, got 0"),
        (DenseNet, {"depth": 100}, "depth must be one of 40, 121, got 100"),
        (DenseNet, {"growth": 0}, "growth must be an integer of at least 1, got 0"),
        (ConvNet1d, {"num_features": "many"}, "num_features must be an integer of at least 1, got 'many'"),
    ],
)
def test_bad_settings(make: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**settings)


@pytest.mark.parametrize("name", ["vgg", "resnet", "wide_resnet", "densenet"])
@pytest.mark.parametrize("shape", [(64,), (1, 40)])
def test_images_are_needed(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=rf"network {name} needs inputs \(channels, height, width\), got \("):
        NETWORKS[name].make().build(shape, 10)


def test_cnn_needs_places() -> None:
    with pytest.raises(InputError, match=r"network cnn needs inputs .*, got \(64,\)"):
        CNN().build((64,), 10)


@pytest.mark.parametrize("shape", [(64,), (1, 8, 8), (1, 2)])
def test_convnet1d_needs_a_signal(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"network convnet1d needs inputs \(channels, length\) of length 3 or more"):
        ConvNet1d().build(shape, 10)
    assert built(ConvNet1d((2, 2, 2, 2)), (1, 3)).features(torch.zeros(2, 1, 3)).shape == (2, 2)


def test_unknown_network() -> None:
    with pytest.raises(UnknownName, match="no network is called 'mpl'; did you mean 'mlp'"):
        NETWORKS["mpl"]
