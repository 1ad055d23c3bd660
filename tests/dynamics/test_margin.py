"""Margins of a moving network: the numbers of a row, also where its loss is 0 in floating point."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError
from collapselab.dynamics import (
    Margins,
    Sight,
    inverse_logistic,
    kkt_cross_entropy,
    layer_norms,
    log_cross_entropy,
    log_sum,
    sample_margins,
)
from collapselab.dynamics import margin as module
from collapselab.dynamics.margin import LOG10_LOSS, NORMALISED, ORDER, SMALLEST, SMOOTHED
from tolerances import REFERENCE


def sight(*, size: float = 1.0, last_bias: bool = False) -> Sight:
    """A network of order 2 and samples of the class of their longest coordinate, all correct but for one."""
    network = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 3, bias=last_bias))
    network[0].weight.data = size * torch.cat([torch.eye(3), -torch.eye(3)])
    network[0].bias.data.zero_()
    network[2].weight.data = size * torch.cat([torch.eye(3), -torch.eye(3)], 1)
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    y = x.argmax(1)
    clear = sample_margins(x, y) > 0.2
    return Sight.of(network.eval(), x[clear], y[clear], num_classes=3)


def numbers(one: Sight, **settings: float) -> dict[str, float | str]:
    return {declaration.name: value for declaration, value in Margins(**settings).look(one).numbers}


def test_all_numbers_of_a_network_that_is_a_multiple_of_its_input() -> None:
    """The network is 4 x, its parameters have norm sqrt(48), its layers sqrt(24) each."""
    given = sight(size=2.0)
    x, y = given.take(torch.arange(len(given.y)))
    q, found = sample_margins(4 * x, y), numbers(given)
    assert found["homogeneity_order"] == 2
    REFERENCE.check(found["smallest_margin"], q.min())
    REFERENCE.check(found["parameter_norm"], math.sqrt(48))
    REFERENCE.check(found["normalised_margin"], q.min() / 48)
    assert list(layer_norms(given.network).values()) == pytest.approx([math.sqrt(24)] * 2)
    REFERENCE.check(found["layer_normalised_margin"], q.min() / 24)
    smoothed = inverse_logistic(log_sum(log_cross_entropy(4 * x, y)))
    REFERENCE.check(found["smoothed_normalised_margin"], smoothed / 48)
    REFERENCE.check(found["log10_loss"], math.log10(float(nn.functional.cross_entropy(4 * x.double(), y))))
    assert found["support_samples"] == int((q < q.min() + math.log(10)).sum())
    assert numbers(given, decades=1000.0)["support_samples"] == len(y)
    certificate = kkt_cross_entropy(given, order=2)
    assert found["kkt_alignment"] == certificate.alignment
    assert found["kkt_stationarity"] == certificate.stationarity
    assert found["kkt_complementarity"] == certificate.complementarity


def test_nothing_underflows_where_the_loss_is_0() -> None:
    """Margins of thousands, where loss and gradient are 0 in float64; the normalised margin is that of small ones."""
    given, large = sight(), sight(size=100.0)
    x, y = large.take(torch.arange(len(large.y)))
    loss = nn.functional.cross_entropy(large.network(x).double(), y)
    (slope,) = torch.autograd.grad(loss, [large.network[2].weight])
    assert float(loss.detach()) == 0.0
    assert not slope.any()
    found = numbers(large)
    assert all(isinstance(value, float) and math.isfinite(value) for value in found.values())
    q = float(found["smallest_margin"])
    assert q > 1900
    REFERENCE.floor(1e3).check(found["log10_loss"], -(q + math.log(len(y))) / math.log(10))
    REFERENCE.check(found["normalised_margin"], numbers(given)["normalised_margin"])
    REFERENCE.check(found["smoothed_normalised_margin"], found["normalised_margin"])
    assert float(found["kkt_complementarity"]) < 1e-12


def test_the_same_numbers_with_reasons_where_they_do_not_exist() -> None:
    full = numbers(sight())
    with_bias, test = sight(last_bias=True), replace(sight(), split="test")
    found = numbers(with_bias)
    assert list(found) == list(full) == list(numbers(test))
    assert {name for name, value in found.items() if not isinstance(value, str)} == {
        "smallest_margin",
        "log10_loss",
        "parameter_norm",
        "support_samples",
    }
    assert "not homogeneous" in str(found["normalised_margin"])
    conditions = {name: value for name, value in numbers(test).items() if name.startswith("kkt_")}
    assert set(conditions.values()) == {
        "the conditions of a largest margin are those of the samples that are trained on"
    }
    wrong = replace(sight(), y=torch.zeros_like(sight().y))
    assert "classified wrongly" in str(numbers(wrong)["kkt_alignment"])
    assert float(numbers(wrong)["normalised_margin"]) < 0


def test_blocks_of_samples_and_what_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    given = sight()
    before = {name: part.clone() for name, part in given.network.state_dict().items()}
    whole = numbers(given)
    monkeypatch.setattr(module, "_ROWS", 3)
    for name, value in numbers(given).items():
        REFERENCE.floor(1.0).check(value, whole[name])
    assert all(p.grad is None and p.requires_grad for p in given.network.parameters())
    assert all(torch.equal(part, before[name]) for name, part in given.network.state_dict().items())


def test_declarations() -> None:
    assert Margins.splits == ("train", "test")
    assert SMALLEST.lower is None
    assert SMALLEST.unit == "nat"
    assert {one.source for one in (SMALLEST, NORMALISED, SMOOTHED, LOG10_LOSS, ORDER)} == {"lyu2020"}
    with pytest.raises(InputError, match="decades must be a finite number above 0, got 0"):
        Margins(decades=0.0)
