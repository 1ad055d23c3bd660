"""What quantities of a moving network are given: samples that stay the same, and a network left as it was."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError
from collapselab.dynamics import Found, Quantity, Sight, tangent_kernel
from collapselab.dynamics._tangent import rows_at_once
from collapselab.experiments import Observed, Probe
from collapselab.experiments.events import Snapshot
from collapselab.experiments.looking import Places
from collapselab.experiments.probe import observed
from collapselab.records.numbers import declared
from collapselab.training import Training
from collapselab.training.data.digits import Digits
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.networks.mlp import MLP
from collapselab.training.optimisers import SGD
from collapselab.training.plan import Plan
from collapselab.training.schedules import StepSchedule

SIZE = declared("size", "size", "Mean of the absolute logits.", symbol="s", source="papyan2020", family="sizes")
PAIRS = declared("pairs", "pairs", "Pairs of classes.", symbol="P", source="papyan2020", family="sizes")


@dataclass(frozen=True)
class Size(Quantity):
    """Looks at a few samples of each class."""

    def look(self, sight: Sight) -> Found:
        x, y = sight.take(sight.few_of_each(3, "size"))
        assert torch.bincount(y).tolist() == [3] * sight.num_classes
        assert not sight.network.training
        value = float(sight.network(x).detach().abs().mean()) + float(sight.loss_of(x, y).detach().mean())
        return Found(((SIZE, value),), ((PAIRS, np.eye(sight.num_classes)),))


def training() -> Training:
    data = Digits(samples_per_class=10).load(torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    network = MLP(widths=(12, 8)).build(data.shape, data.num_classes)
    plan = Plan(
        epochs=2,
        batch_size=50,
        drop_last=True,
        loss=CrossEntropy(),
        optimiser=SGD(learning_rate=0.05),
        schedule=StepSchedule(),
    )
    return Training(network, data, plan, order=torch.Generator().manual_seed(1), device=torch.device("cpu"))


def test_numbers_join_the_training_row_and_matrices_the_snapshot() -> None:
    made = training()
    made.network.train()
    events = list(observed(made, places=Places(quantities=(Size(),))))
    rows = {event.observation.split: event.observation for event in events if isinstance(event, Observed)}
    assert rows["train"].result["size"] > 0
    assert "size" not in rows["test"].result.measurements
    assert rows["train"].result.declarations["pairs"] == PAIRS
    (snapshot,) = [event for event in events if isinstance(event, Snapshot)]
    assert snapshot.arrays["matrix.pairs"].tolist() == np.eye(10).tolist()
    assert made.network.training
    assert all(p.grad is None for p in made.network.parameters())


def test_a_quantity_looks_at_the_same_samples_at_every_moment() -> None:
    made = training()
    events = Probe.on("cpu").watch(made, at=(0, 1), metrics=("accuracy",), quantities=(Size(),))
    values = [
        e.observation.result["size"] for e in events if isinstance(e, Observed) and e.observation.split == "train"
    ]
    assert len(values) == 3
    sights = [Sight.of(made.network, torch.zeros(30, 64), torch.arange(30) % 3, seed=5) for _ in range(2)]
    first, second = (sight.few_of_each(4, "a") for sight in sights)
    assert first.tolist() == second.tolist()
    assert (sights[0].y[first] == torch.arange(3).repeat_interleave(4)).all()


def test_a_smaller_class_gives_all_it_has() -> None:
    sight = Sight.of(nn.Linear(2, 4), torch.zeros(5, 2), torch.tensor([0, 0, 0, 2, 2]), num_classes=4)
    assert sight.y[sight.few_of_each(2, "a")].tolist() == [0, 0, 2, 2]
    assert sight.y[sight.few_of_each(9, "a")].tolist() == [0, 0, 0, 2, 2]


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(InputError, match=r"labels must lie in 0..2, got 3 at index 1"):
        Sight.of(nn.Linear(2, 4), torch.zeros(2, 2), torch.tensor([0, 3]), num_classes=3)
    with pytest.raises(InputError, match="labels"):
        Sight.of(nn.Linear(2, 4), torch.zeros(2, 2), torch.tensor([0.0, 1.0]))


def test_inner_products_of_gradients_of_single_samples_are_those_of_autograd() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)).double().eval()
    network[0].bias.requires_grad_(False)
    x, y = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    kernel = tangent_kernel(network, x, y, read=lambda z, label: z.gather(0, label[None]).sum() - z.sum() / 2)
    leaves = [p for p in network.parameters() if p.requires_grad]
    rows = []
    for one, label in zip(x, y, strict=True):
        z = network(one[None])[0]
        wanted = torch.autograd.grad(z[label] - z.sum() / 2, leaves)
        rows.append(torch.cat([part.flatten() for part in wanted]))
    assert torch.allclose(kernel, torch.stack(rows) @ torch.stack(rows).T, rtol=1e-12, atol=1e-14)


def test_without_trained_parameters_there_is_nothing_to_measure() -> None:
    network = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(InputError, match="must have parameters that require gradients, got Linear with none"):
        rows_at_once(network)
