"""Rings and nuisance blobs: where their points lie, and what their labels hide."""

import math

import pytest
import torch
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.training.data.nuisance_blobs import NuisanceBlobs
from collapselab.training.data.rings import Rings
from tolerances import EXACT, MONTE_CARLO

MANY = 20000


@pytest.mark.parametrize("settings", [Rings(samples_per_class=31), NuisanceBlobs(samples_per_class=31)])
def test_groups_belong_to_the_samples(settings: Rings | NuisanceBlobs, generator: torch.Generator) -> None:
    drawn = settings.draw(generator)
    EXACT.check(drawn.splits.train.y, drawn.train.clamp(max=1))
    EXACT.check(drawn.splits.test.y, drawn.test.clamp(max=1))
    assert torch.bincount(drawn.train).tolist() == [31, 16, 15]
    assert torch.bincount(drawn.test).tolist() == [100, 50, 50]
    again = settings.load(torch.Generator().manual_seed(0))
    EXACT.check(again.train.x, drawn.splits.train.x)
    fewer = type(settings)(samples_per_class=5).draw(torch.Generator().manual_seed(0))
    EXACT.check(fewer.test, drawn.test)


def test_rings_lie_where_they_should(generator: torch.Generator) -> None:
    settings, groups = Rings(), torch.arange(3).repeat_interleave(MANY)
    x = settings.points(groups, generator)
    radius, angle = x.norm(dim=1), torch.atan2(x[:, 1], x[:, 0])
    for group, wanted in ((1, 1.0), (0, 2.0), (2, 3.0)):
        own = radius[groups == group]
        MONTE_CARLO.check(own, wanted)
        MONTE_CARLO.check((own - wanted).square(), 0.01)
        MONTE_CARLO.check((angle[groups == group] > math.pi / 2).double(), 0.25)


def test_blobs_lie_where_they_should(generator: torch.Generator) -> None:
    settings, groups = NuisanceBlobs(), torch.arange(3).repeat_interleave(MANY)
    x = settings.points(groups, generator)

    def check(values: Tensor, mean: float, variance: float) -> None:
        MONTE_CARLO.check(values, mean)
        MONTE_CARLO.check((values - mean).square(), variance)

    for group, place in ((0, 0.0), (1, -2.0), (2, 2.0)):
        own = x[groups == group]
        check(own[:, 0], place, 0.16)
        check(own[:, 1], 0.0, 12.0)  # uniform on (-6, 6)
        check(own[:, 2:], 0.0, 0.09)
        assert float(own[:, 1].abs().max()) <= 6


@pytest.mark.parametrize(
    ("make", "fields", "message"),
    [
        (Rings, {"radii": (1.0, 3.0, 2.0)}, "radii must be three different numbers in ascending order"),
        (Rings, {"radii": (1.0, 2.0)}, "radii must be three different numbers in ascending order"),
        (Rings, {"radii": (0.0, 2.0, 3.0)}, "every entry of radii must be a finite number above 0, got 0.0"),
        (Rings, {"radii": ("a", 2.0, 3.0)}, "every entry of radii must be a finite number above 0, got 'a'"),
        (Rings, {"noise": -0.1}, "noise must be a finite number of at least 0, got -0.1"),
        (Rings, {"test_per_class": 0}, "test_per_class must be an integer of at least 1, got 0"),
        (NuisanceBlobs, {"num_features": 1}, "num_features must be an integer of at least 2, got 1"),
        (NuisanceBlobs, {"distance": 0.0}, "distance must be a finite number above 0"),
        (NuisanceBlobs, {"spread": -1.0}, "spread must be a finite number of at least 0"),
    ],
)
def test_bad_fields(make: type, fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**fields)
