"""Inputs that say which sample they are, and the free features on them."""

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.training.data.one_hot import OneHot
from collapselab.training.networks.unconstrained_features import UnconstrainedFeatures
from tolerances import EXACT, IDENTITY


def test_every_sample_has_an_axis_of_its_own() -> None:
    splits = OneHot(num_classes=3, samples_per_class=2).load(torch.Generator())
    x, y = splits.train.take(torch.arange(6))
    EXACT.check(x, torch.eye(6))
    EXACT.check(y, torch.tensor([0, 0, 1, 1, 2, 2]))
    assert splits.test is splits.train
    assert splits.num_classes == 3


def test_features_are_free() -> None:
    """The gradient of any function of the features reaches each sample's features and no others."""
    splits = OneHot(num_classes=3, samples_per_class=2).load(torch.Generator())
    torch.manual_seed(0)
    network = UnconstrainedFeatures(num_features=4, size=2.0).build(splits.shape, 3).double()
    weight = network.body.features[1].weight
    h = network.features(splits.train.x.double())
    IDENTITY.check(h, weight.T)
    h[1].sum().backward()
    EXACT.check(weight.grad.T[1], torch.ones(4, dtype=torch.float64))
    assert int(weight.grad.count_nonzero()) == 4


def test_initial_size() -> None:
    torch.manual_seed(0)
    body, d = UnconstrainedFeatures(num_features=64, size=3.0).body((2000,))
    lengths = body.features[1].weight.detach().norm(dim=0)
    assert d == 64
    assert float(lengths.square().mean().sqrt()) == pytest.approx(3.0, rel=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 1}, "num_classes must be an integer of at least 2, got 1"),
        ({"samples_per_class": 0}, "samples_per_class must be an integer of at least 1, got 0"),
        (
            {"num_classes": 1000, "samples_per_class": 500},
            "samples must be at most 20000 in all, got 1000 classes of 500",
        ),
    ],
)
def test_bad_settings(settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        OneHot(**settings)
