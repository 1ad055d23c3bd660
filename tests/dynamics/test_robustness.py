"""Distances to the boundary: closed forms, attacks that must match them, failures, and what is refused."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics import Robustness, Sight
from collapselab.dynamics.robustness import (
    Perturbations,
    deepfool,
    least_perturbations,
    linear_l2,
    linear_linf,
    lipschitz_bounds,
    pgd_l2,
    pgd_linf,
)
from tolerances import REFERENCE, Relative

# Attacks come back along their way by 27 halvings; 1e-8 is what is left of the largest way.
HALVED = Relative("HALVED", 1e-7)

Case = tuple[nn.Linear, torch.Tensor, torch.Tensor]


def linear(generator: torch.Generator, *, classes: int = 4, size: float = 1.0) -> Case:
    """A linear classifier, and samples of which some are misclassified."""
    network = nn.Linear(6, classes).double()
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(size * torch.randn(p.shape, generator=generator))
    x = 2 * torch.randn(40, 6, generator=generator, dtype=torch.float64)
    y = network(x).argmax(1)
    y[:5] = (y[:5] + 1) % classes
    return network, x, y


def curved(generator: torch.Generator) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3)).double()
    x = torch.rand(30, 2, 3, generator=generator, dtype=torch.float64)
    return network, x, network(x).argmax(1)


def reference_linear(w: np.ndarray, b: np.ndarray, x: np.ndarray, y: np.ndarray, dual: float) -> list[float]:
    """Spec 4.1 for slopes that are known: sample by sample, class by class."""
    found = []
    for one, label in zip(x, y, strict=True):
        z = w @ one + b
        others = [(z[label] - z[j]) / np.linalg.norm(w[label] - w[j], ord=dual) for j in range(len(w)) if j != label]
        found.append(max(min(others), 0.0))
    return found


@pytest.mark.parametrize(("exact", "dual", "order"), [(linear_l2, 2, 2), (linear_linf, 1, math.inf)])
def test_linear_distances(
    generator: torch.Generator, exact: Callable[..., Perturbations], dual: float, order: float
) -> None:
    network, x, y = linear(generator)
    w, b = network.weight.detach(), network.bias.detach()
    found = exact(w, b, x, y)
    wanted = reference_linear(w.numpy(), b.numpy(), x.numpy(), y.numpy(), dual)
    REFERENCE.check(found.distance, wanted)
    REFERENCE.floor(1.0).check(torch.linalg.vector_norm(found.moved - x, ord=order, dim=1), wanted)
    z = network(found.moved).detach().sort(1, descending=True).values
    assert (z[5:, 0] - z[5:, 1]).abs().max() < 1e-12  # on the boundary
    assert found.distance[:5].tolist() == [0] * 5
    assert found.failures == 0


@pytest.mark.parametrize("size", [1.0, 1e6, 1e-6])
def test_attacks_are_exact_for_linear_classifiers(generator: torch.Generator, size: float) -> None:
    network, x, y = linear(generator, size=size)
    w, b = network.weight.detach(), network.bias.detach()
    l2, linf = linear_l2(w, b, x, y), linear_linf(w, b, x, y)
    HALVED.check(deepfool(network, x, y).distance, l2.distance)
    HALVED.check(pgd_l2(network, x, y, largest=20.0, halvings=2).distance, l2.distance)
    HALVED.check(pgd_linf(network, x, y, largest=10.0, halvings=2).distance, linf.distance)


def test_what_is_found_has_crossed_and_is_no_nearer_than_the_bound(generator: torch.Generator) -> None:
    network, x, y = curved(generator)
    fooled, descended = deepfool(network, x, y), pgd_l2(network, x, y, largest=5.0)
    weights = [p.detach() for p in network.parameters() if p.ndim == 2]
    bounds = lipschitz_bounds(network(x).detach(), y, weights)
    for found in (fooled, descended):
        z = network(found.moved).detach()
        own = z.gather(1, y[:, None]).squeeze(1)
        best_other = z.scatter(1, y[:, None], -math.inf).amax(1)
        assert (best_other >= own)[~found.failed].all()
        assert (found.distance >= bounds).all()
        REFERENCE.check(torch.linalg.vector_norm((found.moved - x).flatten(1), dim=1), found.distance)
    ratio = descended.distance / fooled.distance
    assert 0.9 < float(ratio.median()) <= 1.01
    best = least_perturbations(fooled, descended)
    assert torch.equal(best.distance, torch.minimum(fooled.distance, descended.distance))
    assert network.training


def test_norms_of_boxes_and_balls(generator: torch.Generator) -> None:
    network, x, y = curved(generator)
    free, boxed = deepfool(network, x, y), deepfool(network, x, y, box=(0.0, 1.0))
    descended, flat = (attack(network, x, y, largest=3.0, halvings=4, box=(0.0, 1.0)) for attack in (pgd_l2, pgd_linf))
    assert free.moved.min() < 0
    for found in (boxed, descended, flat):
        assert found.moved.min() >= 0
        assert found.moved.max() <= 1
    assert (descended.failures, flat.failures) == (0, 0)
    assert 0 < boxed.failures < 0.2  # steps that the box cuts short lead nowhere
    assert torch.equal(boxed.moved[boxed.failed], x[boxed.failed])
    assert (flat.distance <= descended.distance * 1.05).all()


def test_no_boundary_within_the_box_is_a_failure() -> None:
    network = nn.Linear(2, 2).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
        network.bias.copy_(torch.tensor([-0.5, 0.0]))
    x, y = torch.tensor([[0.2, 0.2], [0.9, 0.9]]).double(), torch.tensor([1, 0])
    for attack in (deepfool, lambda *args, box: pgd_l2(*args, largest=3.0, box=box)):
        within = attack(network, x, y, box=(0.0, 1.0))
        HALVED.check(within.distance, [0.1 / math.sqrt(2), 1.3 / math.sqrt(2)])
        narrow = attack(network, x, y, box=(0.2, 0.9))
        HALVED.check(narrow.distance[0], 0.1 / math.sqrt(2))
        beyond = attack(network, x, y, box=(0.19, 10.0))  # where x + y = 0.5 is met within, and a far way is clipped
        HALVED.check(beyond.distance, [0.1 / math.sqrt(2), 1.3 / math.sqrt(2)])
    network.bias.data.copy_(torch.tensor([-3.0, 0.0]))
    for found in (
        deepfool(network, x[:1], y[:1], box=(0.0, 1.0)),
        pgd_l2(network, x[:1], y[:1], largest=3.0, box=(0.0, 1.0)),
        pgd_linf(network, x[:1], y[:1], largest=3.0, box=(0.0, 1.0)),
    ):
        assert found.distance.tolist() == [math.inf]
        assert torch.equal(found.moved, x[:1])


def test_a_failure_is_a_failure() -> None:
    constant = nn.Linear(2, 2).double()
    with torch.no_grad():
        constant.weight.zero_()
        constant.bias.copy_(torch.tensor([1.0, 0.0]))
    x, y = torch.ones(3, 2, dtype=torch.float64), torch.tensor([0, 0, 1])
    w, b = constant.weight.detach(), constant.bias.detach()
    for found in (
        linear_l2(w, b, x, y),
        deepfool(constant, x, y),
        pgd_l2(constant, x, y, largest=1.0),
        pgd_linf(constant, x, y, largest=1.0),
    ):
        assert found.distance.tolist() == [math.inf, math.inf, 0.0]
        assert torch.equal(found.moved, x)
        assert found.failures == pytest.approx(2 / 3)
        assert found.robust_accuracy(1e6) == pytest.approx(2 / 3)
        with pytest.raises(UndefinedMetric, match=r"no perturbation was found for 0\.667 of the samples"):
            found.median()


def test_the_largest_ball_is_a_limit(generator: torch.Generator) -> None:
    network, x, y = linear(generator)
    exact = linear_l2(network.weight.detach(), network.bias.detach(), x, y).distance
    largest = float(exact.median())
    found = pgd_l2(network, x, y, largest=largest, steps=40, halvings=1)
    assert torch.equal(found.failed, exact > largest)
    HALVED.check(found.distance[~found.failed], exact[~found.failed])


def test_robust_accuracy_falls_with_the_radius() -> None:
    found = Perturbations(torch.tensor([0.0, 0.5, 1.0, 2.0, math.inf]).double(), torch.zeros(5, 1))
    radii = torch.tensor([0.0, 0.4, 0.5, 1.5, 9.0])
    assert found.robust_accuracies(radii).tolist() == pytest.approx([0.8, 0.8, 0.6, 0.4, 0.2])
    assert [found.robust_accuracy(float(r)) for r in radii] == pytest.approx([0.8, 0.8, 0.6, 0.4, 0.2])
    assert (found.median(), found.quantile(0.0), found.quantile(0.7)) == (1.0, 0.0, 2.0)


def test_the_quantity_tells_distances_of_both_splits(generator: torch.Generator) -> None:
    network, x, y = linear(generator)
    sight = Sight.of(network.eval(), x, y, num_classes=4)
    found = Robustness(per_class=50, radii=(0.5, 1.0)).look(sight)
    numbers = {entry.name: value for entry, value in found.numbers}
    exact = linear_l2(network.weight.detach(), network.bias.detach(), x, y)
    assert numbers["robust_median"] == pytest.approx(exact.median(), rel=1e-7)
    assert numbers["robust_near"] == 0.0
    assert numbers["robust_accuracy_0.5"] == exact.robust_accuracy(0.5)
    assert numbers["robust_failures"] == 0.0
    assert Robustness.splits == ("train", "test")
    with torch.no_grad():
        network.weight.zero_()
    constant = Sight.of(network, x, network.bias.argmax().expand(40), num_classes=4)
    numbers = {entry.name: value for entry, value in Robustness().look(constant).numbers}
    assert "no perturbation was found" in str(numbers["robust_median"])


def test_every_module_gets_its_mode_back(generator: torch.Generator) -> None:
    """A frozen batch normalisation within a network that is trained stays frozen."""
    network = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).train()
    network[1].eval()
    x = torch.randn(5, 6, generator=generator)
    buffers = {name: b.clone() for name, b in network.named_buffers()}
    found = deepfool(network, x, torch.zeros(5, dtype=torch.long))
    assert [module.training for module in network] == [True, False, True, True]
    assert all(torch.equal(buffers[name], b) for name, b in network.named_buffers())
    assert found.distance.dtype == torch.float64


def test_networks_may_write_into_their_inputs(generator: torch.Generator) -> None:
    layer, x = nn.Linear(6, 3).double(), torch.randn(12, 6, generator=generator, dtype=torch.float64)
    plain, writing = (nn.Sequential(nn.LeakyReLU(inplace=inplace), layer) for inplace in (False, True))
    y, given = plain(x).argmax(1), x.clone()
    for attack in (deepfool, lambda *of: pgd_l2(*of, largest=5.0)):
        torch.testing.assert_close(attack(writing, given, y).distance, attack(plain, x, y).distance)
        assert torch.equal(given, x)


BATCH = torch.zeros(2, 3)
LABELS = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: deepfool(n, torch.zeros(2), LABELS), r"x must be floating-point inputs \(samples, ...\)"),
        (lambda n: deepfool(n, torch.full((2, 3), math.nan), LABELS), "x must be finite"),
        (lambda n: deepfool(n, BATCH, torch.tensor([0, 2])), r"labels must lie in 0\.\.1, got 2 at index 1"),
        (lambda n: deepfool(n, BATCH, LABELS, steps=0), "steps must be an integer of at least 1, got 0"),
        (lambda n: deepfool(n, BATCH, LABELS, overshoot=-1.0), "overshoot must be a finite number of at least 0"),
        (lambda n: deepfool(n, BATCH, LABELS, box=(1.0, 0.0)), "box must be two numbers in ascending order"),
        (lambda n: deepfool(n, BATCH, LABELS, box=(1.0, 2.0)), r"x must lie within the box \(1.0, 2.0\), got values"),
        (lambda n: pgd_l2(n, BATCH, LABELS, largest=0.0), "largest must be a finite number above 0, got 0"),
        (lambda n: pgd_linf(n, BATCH, LABELS, largest=1.0, targets=0), "targets must be an integer of at least 1"),
        (lambda n: pgd_l2(n, BATCH, LABELS, largest=1.0, halvings=-1), "halvings must be an integer of at least 0"),
        (lambda n: linear_l2(n.weight, None, torch.zeros(2, 4), LABELS), "x must have 3 columns, as weight has, got 4"),
        (lambda n: linear_l2(n.weight, torch.zeros(3), BATCH, LABELS), "bias must be one number a class"),
        (lambda n: lipschitz_bounds(torch.zeros(2, 2), LABELS, []), "weights must end in a matrix of 2 rows"),
        (
            lambda n: lipschitz_bounds(torch.zeros(2, 2), LABELS, [torch.ones(5, 3), torch.ones(2, 9)]),
            r"weights must be a chain of layers, got shapes \(5, 3\), \(2, 9\)",
        ),
        (lambda n: linear_l2(n.weight, torch.full((2,), math.nan), BATCH, LABELS), "bias must be finite, got nan"),
        (lambda n: deepfool(nn.Linear(3, 1), BATCH, 0 * LABELS), "number of classes must be an integer of at least 2"),
        (lambda n: pgd_l2(nn.Linear(3, 1), BATCH, 0 * LABELS, largest=1.0), "number of classes must be an integer"),
        (lambda n: deepfool(n, BATCH, LABELS, box=("a", "b")), "ends of box must be a finite number, got 'a'"),
        (lambda n: least_perturbations(), "perturbations of the same samples, at least one"),
        (
            lambda n: least_perturbations(*(deepfool(n, BATCH[:some], LABELS[:some]) for some in (1, 2))),
            "perturbations of the same samples",
        ),
        (lambda n: Robustness(per_class=0), "per_class must be an integer of at least 1, got 0"),
        (lambda n: Robustness(radii=()), "radii must be at least one number"),
        (lambda n: Robustness(radii=(0.5, 0.5)), "radii must differ in their first six digits"),
        (
            lambda n: Perturbations(torch.zeros(2), BATCH).robust_accuracies(torch.tensor([-1.0])),
            "radii must be a vector of numbers of at least 0",
        ),
    ],
)
def test_what_is_refused(call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(nn.Linear(3, 2))
