"""What every quantity of a moving network states about itself is held against it."""

import math
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from collapselab.core.cite import references
from collapselab.dynamics import QUANTITIES, Found, Sight
from collapselab.records.families import MOVING

K = 3
NAMES = tuple(QUANTITIES)

# float32 against float64, of numbers that are sums over samples and parameters, some of them of iterations.
PRECISION = {"rel": 2e-3, "abs": 1e-4}


def mlp() -> nn.Module:
    """Homogeneous, without anything that a quantity might refuse."""
    return nn.Sequential(nn.Linear(6, 10, bias=False), nn.ReLU(), nn.Linear(10, K, bias=False))


def cnn() -> nn.Module:
    """Batch normalisation, biases, places."""
    return nn.Sequential(
        nn.Conv1d(1, 4, 3, padding=1),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(3),
        nn.Flatten(),
        nn.Linear(12, K),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {"mlp": mlp, "cnn": cnn}


def samples(kind: str) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    y = torch.arange(24) % K
    x = 2 * torch.eye(K, 6)[y] + 0.4 * torch.randn(24, 6, generator=draw)
    return (x if kind == "mlp" else x[:, None]), y


@cache
def network_at(kind: str, steps: int) -> nn.Module:
    """The same network after so many steps, in eval mode; not to be changed."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = NETWORKS[kind]().train()
    x, y = samples(kind)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimiser.step()
    optimiser.zero_grad()
    return network.eval()


def sight_of(kind: str, network: nn.Module, dtype: torch.dtype = torch.float32) -> Sight:
    x, y = samples(kind)
    x = x.to(dtype)
    return Sight(network, lambda rows: (x[rows], y[rows]), y, K, seed=3, batch_size=8, learning_rate=0.1)


@cache
def found(name: str, kind: str, steps: int) -> Found:
    return QUANTITIES[name].cls().look(sight_of(kind, network_at(kind, steps)))


def numbers(one: Found) -> dict[str, float | str]:
    return {declared.name: value for declared, value in one.numbers}


def at_every_moment(test: Callable[..., None]) -> Any:
    test = pytest.mark.parametrize("steps", [0, 40], ids=["before", "after"])(test)
    return of_every_network(test)


def of_every_network(test: Callable[..., None]) -> Any:
    test = pytest.mark.parametrize("kind", list(NETWORKS))(test)
    return pytest.mark.parametrize("name", NAMES)(test)


def test_there_are_quantities_and_each_has_words() -> None:
    assert len(NAMES) > 0
    for name in NAMES:
        assert QUANTITIES[name].label, name
        assert QUANTITIES[name].summary, name
        assert set(QUANTITIES[name].cls.splits) <= {"train", "test"}, name


@pytest.mark.parametrize("name", NAMES)
def test_the_same_numbers_are_declared_at_every_moment_of_every_network(name: str) -> None:
    every = [found(name, kind, steps) for kind in NETWORKS for steps in (0, 40)]
    assert every[0].numbers
    for other in every[1:]:
        assert [declared for declared, _ in other.numbers] == [declared for declared, _ in every[0].numbers]
    pictures = [[declared for declared, _ in one.matrices] for one in every]
    longest = max(pictures, key=len)
    assert all(shown in ([], longest) for shown in pictures)


@pytest.mark.parametrize("name", NAMES)
def test_declarations_have_sources_a_family_with_a_heading_and_names_of_their_own(name: str) -> None:
    one = found(name, "mlp", 40)
    declared = [declared for declared, _ in (*one.numbers, *one.matrices)]
    assert QUANTITIES[name].source in references()
    assert {each.source for each in declared} <= set(references())
    assert {each.family for each in declared} <= set(MOVING)
    assert len({each.name for each in declared}) == len(declared)
    for each in declared:
        assert each.label
        assert each.symbol
        assert each.summary.endswith(".")
        assert not each.per_class


def test_no_two_quantities_share_a_number() -> None:
    declared = [
        each.name for name in NAMES for each, _ in (*found(name, "mlp", 40).numbers, *found(name, "mlp", 40).matrices)
    ]
    assert len(set(declared)) == len(declared)


@at_every_moment
def test_values_lie_in_the_declared_range_or_have_a_reason(name: str, kind: str, steps: int) -> None:
    for declared, value in found(name, kind, steps).numbers:
        if isinstance(value, str):
            assert value.strip(), declared.name
            continue
        assert type(value) is float, declared.name
        assert math.isfinite(value), declared.name
        assert declared.lower is None or value >= declared.lower, declared.name
        assert declared.upper is None or value <= declared.upper, declared.name
    for declared, matrix in found(name, kind, steps).matrices:
        assert matrix.shape == (K, K), declared.name
        assert np.isfinite(matrix).all(), declared.name
        assert declared.lower is None or matrix.min() >= declared.lower, declared.name
        assert declared.upper is None or matrix.max() <= declared.upper, declared.name


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_defined_for_a_trained_homogeneous_network(name: str) -> None:
    reasons = {key: value for key, value in numbers(found(name, "mlp", 40)).items() if isinstance(value, str)}
    assert reasons == {}


def state(network: nn.Module) -> list[Any]:
    tensors = [*network.parameters(), *network.buffers()]
    return [
        *(t.detach().clone().numpy().tobytes() for t in tensors),
        *((p.requires_grad, None if p.grad is None else p.grad.numpy().tobytes()) for p in network.parameters()),
        *(module.training for module in network.modules()),
        *(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()),
        random.getstate(),
        np.random.get_state()[1].tobytes(),  # noqa: NPY002
        torch.get_rng_state().numpy().tobytes(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
    ]


@of_every_network
def test_the_network_and_global_randomness_are_left_alone(name: str, kind: str) -> None:
    network = network_at(kind, 40)
    first = next(network.parameters())
    first.grad = torch.ones_like(first)
    before = state(network)
    try:
        again = QUANTITIES[name].cls().look(sight_of(kind, network))
        assert state(network) == before
    finally:
        first.grad = None
    assert numbers(again) == numbers(found(name, kind, 40))
    for (_, matrix), (_, other) in zip(again.matrices, found(name, kind, 40).matrices, strict=True):
        assert np.array_equal(matrix, other)


@of_every_network
def test_precision_of_the_network_changes_little(name: str, kind: str) -> None:
    network = NETWORKS[kind]().double().eval()
    network.load_state_dict(network_at(kind, 40).state_dict())
    exact = numbers(QUANTITIES[name].cls().look(sight_of(kind, network, torch.float64)))
    for key, value in numbers(found(name, kind, 40)).items():
        other = exact[key]
        assert isinstance(value, str) == isinstance(other, str), key
        if not isinstance(value, str):
            assert value == pytest.approx(other, **PRECISION), key
