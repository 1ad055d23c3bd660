"""Networks: what every one of them promises."""

import pytest
import torch
from torch import nn

from collapselab.core.cite import references
from collapselab.core.errors import InputError, UnknownName
from collapselab.evidence import feature_tap
from collapselab.training import NETWORKS

SHAPES = [(1, 8, 8), (1, 40), (3, 16, 16)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_contract(name: str, shape: tuple[int, ...], batch_norm: bool) -> None:
    """The last width is the number of features; the head is linear with a bias, and the tap finds it by itself."""
    choice = NETWORKS[name]
    assert choice.source in references()
    network = choice.make(widths=(12, 7), batch_norm=batch_norm).build(shape, 5)
    x, y = torch.zeros(4, *shape), torch.tensor([0, 1, 2, 3])
    assert network(x).shape == (4, 5)
    assert network.features(x).shape == (4, 7)
    assert network.head.bias is not None
    tap = feature_tap(network)
    tap.probe((x, y))
    assert tap.layer.name == "head"
    normalised = any(isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) for module in network.modules())
    assert normalised is batch_norm


@pytest.mark.parametrize("name", NETWORKS)
def test_initial_weights_come_from_the_global_generator(name: str) -> None:
    make = NETWORKS[name].make()
    built = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        built.append(make.build((1, 8, 8), 10).head.weight)
    assert torch.equal(built[0], built[1])
    assert not torch.equal(built[0], built[2])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("widths", [(), [64], 64, (64, 0), (64, -1), (64, 2.5), ("64",)])
def test_bad_widths(name: str, widths: object) -> None:
    with pytest.raises(InputError, match="widths must be"):
        NETWORKS[name].make(widths=widths)  # pyright: ignore[reportArgumentType]


def test_cnn_needs_places() -> None:
    with pytest.raises(InputError, match=r"network cnn needs inputs .*, got \(64,\)"):
        NETWORKS["cnn"].make().build((64,), 10)


def test_unknown_network() -> None:
    with pytest.raises(UnknownName, match="no network is called 'mpl'; did you mean 'mlp'"):
        NETWORKS["mpl"]
