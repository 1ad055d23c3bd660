"""Which networks are homogeneous, of which order, and why others are not."""

import math

import pytest
import torch
from torch import Tensor, nn

from collapselab.core.errors import UndefinedMetric
from collapselab.dynamics import homogeneity_of, order_of_homogeneity
from tolerances import REFERENCE, Relative


def linear(inputs: int, outputs: int, *, bias: bool = False) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=bias)


class Squares(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square()


def inputs(*shape: int) -> Tensor:
    return torch.randn(9, *shape, generator=torch.Generator().manual_seed(0))


def made(*layers: nn.Module) -> nn.Sequential:
    """Layers with parameters drawn anew, so that none of them is zero."""
    network, generator = nn.Sequential(*layers), torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 3
    return network.eval()


@pytest.mark.parametrize(
    ("network", "order"),
    [
        (made(linear(4, 3)), 1),
        (made(linear(4, 3, bias=True)), 1),
        (made(linear(4, 8, bias=True), nn.ReLU(), linear(8, 3)), 2),
        (made(linear(4, 8), nn.LeakyReLU(0.1), linear(8, 6), nn.Dropout(), nn.ReLU(), linear(6, 3)), 3),
        (made(linear(4, 8), Squares(), linear(8, 3)), 3),
        (
            made(
                nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 2), nn.MaxPool2d(1), nn.ReLU(), nn.Flatten(), linear(3, 3)
            ),
            2,
        ),
        (made(linear(4, 8), nn.BatchNorm1d(8, affine=False), linear(8, 3)), 2),
    ],
)
def test_orders(network: nn.Module, order: float) -> None:
    """By the slope over four factors, with Euler's identity to the rounding of float64, from weights in float32."""
    found = homogeneity_of(network, inputs(4))
    assert found.order == order
    assert found.holds
    assert found.euler is not None
    assert max(found.residual, found.euler) < 1e-13
    assert order_of_homogeneity(network, inputs(4)) == order


def test_reference_twin() -> None:
    """The slope and Euler's identity logit by logit, with autograd."""
    network = made(linear(4, 8, bias=True), nn.ReLU(), linear(8, 3)).double()
    x, found = inputs(4).double(), homogeneity_of(network, inputs(4))
    z = network(x)
    for i in range(9):
        for k in range(3):
            slopes = torch.autograd.grad(z[i, k], list(network.parameters()), retain_graph=True)
            euler = sum(float((p.detach() * g).sum()) for p, g in zip(network.parameters(), slopes, strict=True))
            REFERENCE.floor(1e-3).check(euler, found.order * float(z[i, k].detach()))


def test_a_frozen_layer_does_not_count() -> None:
    network = made(linear(4, 8), nn.ReLU(), linear(8, 3, bias=True))
    network[2].requires_grad_(False)
    network[2].bias.zero_()
    assert order_of_homogeneity(network, inputs(4)) == 1
    network[2].bias.fill_(1.0)
    with pytest.raises(UndefinedMetric, match="the network is not homogeneous"):
        order_of_homogeneity(network, inputs(4))


def still_zero() -> nn.Sequential:
    network = made(linear(4, 8), nn.ReLU(), linear(8, 3, bias=True))
    network[2].bias.data.zero_()
    return network


@pytest.mark.parametrize(
    ("network", "named"),
    [
        (made(linear(4, 8), nn.ReLU(), linear(8, 6, bias=True), nn.ReLU(), linear(6, 3)), "first layer: 2.bias$"),
        (still_zero(), "biases beyond the first layer: 2.bias$"),
        (made(linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), linear(8, 3)), "batch normalisation: 1$"),
        (made(linear(4, 8), nn.GELU(), linear(8, 3)), "of the largest$"),
        (made(*[linear(4, 4, bias=True) for _ in range(7)]), "1.bias, 2.bias, 3.bias, 4.bias ...$"),
    ],
)
def test_others_are_refused_with_the_reason(network: nn.Module, named: str) -> None:
    """Also biases that training has not moved from zero yet, and statistics that still are 0 and 1."""
    with pytest.raises(UndefinedMetric, match=f"the network is not homogeneous: with all trained .*{named}"):
        order_of_homogeneity(network, inputs(4))
    found = homogeneity_of(network, inputs(4))
    assert not found.holds
    assert found.residual > 1e-4
    assert found.euler is None


def test_logits_that_do_not_grow_or_are_zero() -> None:
    normalised = made(linear(4, 3), nn.LayerNorm(3, eps=0.0, elementwise_affine=False))
    with pytest.raises(UndefinedMetric, match="the logits do not grow with the parameters: their order is"):
        order_of_homogeneity(normalised, inputs(4))
    dead = made(linear(4, 3), nn.ReLU())
    dead[0].weight.data.zero_()
    with pytest.raises(UndefinedMetric, match="the logits are all 0"):
        order_of_homogeneity(dead, inputs(4))


class Broken(nn.Module):
    """Itself up to 0.6, and NaN beyond: what only moved parameters reach."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.where(z.abs() > 0.6, math.nan, z)


def test_logits_that_are_no_numbers_at_the_moved_parameters_are_noticed() -> None:
    """NaN compares as not larger than anything."""
    network = nn.Sequential(linear(4, 2), Broken())
    network[0].weight.data = torch.tensor([[0.1, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.299]])
    generator = torch.Generator().manual_seed(0)
    found = [homogeneity_of(network, torch.eye(4), generator=generator) for _ in range(10)]
    assert {(one.order, one.holds, one.residual == math.inf) for one in found} == {(1, True, False), (1, False, True)}


def test_a_network_that_the_movement_silences_is_judged_where_it_is() -> None:
    network = nn.Sequential(linear(1, 1), nn.ReLU(), linear(1, 2))
    for parameter in network.parameters():
        parameter.data.fill_(0.1)
    generator = torch.Generator().manual_seed(0)
    found = [homogeneity_of(network, torch.ones(3, 1), generator=generator) for _ in range(30)]
    assert all((one.order, one.holds, one.residual < 1e-13) == (2, True, True) for one in found)


def test_the_network_is_left_as_it_was() -> None:
    network = made(linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), linear(8, 3)).train().double()
    before = {name: part.clone() for name, part in network.state_dict().items()}
    homogeneity_of(network, inputs(4))
    for name, part in network.state_dict().items():
        Relative("bits", 0.0).check(part, before[name])
    assert network.training
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
