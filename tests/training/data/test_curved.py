"""Curves on a torus and folded boxes: where points lie, and how far apart along the curve."""

import itertools
import math

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.training.data.folded_boxes import FoldedBoxes
from collapselab.training.data.interleaved_curves import InterleavedCurves
from tolerances import EXACT, MONTE_CARLO, REFERENCE

Y = torch.arange(2).repeat_interleave(40)


def reference_torus(x: np.ndarray) -> np.ndarray:
    """Angular distance, pair by pair."""
    angles = [math.atan2(b, a) for a, b, _ in x]
    found = np.zeros((len(x), len(x)))
    for i, j in itertools.product(range(len(x)), repeat=2):
        apart = abs(angles[i] - angles[j])
        found[i, j] = min(apart, 2 * math.pi - apart)
    return found


def reference_boxes(x: np.ndarray, s: int) -> np.ndarray:
    """On one sheet c |x1 - x2|; else around either edge; the third coordinate by Pythagoras."""
    m, c = (12 + s) / 1.2, math.sqrt(1 + 1.44)
    found = np.zeros((len(x), len(x)))
    for i, j in itertools.product(range(len(x)), repeat=2):
        around = c * (2 * m - x[i, 0] - x[j, 0])
        same = (x[i, 1] >= 0) == (x[j, 1] >= 0)
        along = c * abs(x[i, 0] - x[j, 0]) if same else min(around, 4 * c * m - around)
        found[i, j] = math.hypot(along, x[i, 2] - x[j, 2])
    return found


def test_points_on_a_torus(generator: torch.Generator) -> None:
    x = InterleavedCurves().points(Y, generator)
    s, ring = 2 * Y - 1, x[:, :2].norm(dim=1)
    REFERENCE.check((ring - 8).square() + x[:, 2].square(), torch.ones(80))
    angle = torch.atan2(x[:, 1], x[:, 0])
    REFERENCE.times(100).floor(1).check(ring - 8, s * (4 * angle).sin())
    for label in (0, 1):
        own = x[label == Y]
        REFERENCE.floor(1).check(InterleavedCurves().distances(own, label), reference_torus(own.numpy()))


def test_points_on_folded_boxes(generator: torch.Generator) -> None:
    x = FoldedBoxes().points(Y, generator)
    REFERENCE.check(x[:, 1].abs() + 1.2 * x[:, 0].abs(), 11.0 + 2 * Y)
    assert float(x[:, 2].abs().max()) <= 1
    for label in (0, 1):
        own = x[label == Y]
        REFERENCE.floor(1).check(FoldedBoxes().distances(own, label), reference_boxes(own.numpy(), 2 * label - 1))
    many = FoldedBoxes().points(torch.ones(20_000, dtype=torch.int64), generator)
    MONTE_CARLO.check((many[:, 1] > 0).double(), 0.5)
    MONTE_CARLO.check((many[:, 0] > 13 / 2.4).double(), 0.25)


def test_known_distances() -> None:
    corner, top, bottom = [13 / 1.2, 0.0, 0.0], [0.0, 13.0, 0.0], [0.0, -13.0, 0.0]
    side = math.hypot(13, 13 / 1.2)
    wanted = [[0, side, side], [side, 0, 2 * side], [side, 2 * side, 0]]
    REFERENCE.check(FoldedBoxes().distances(torch.tensor([corner, top, bottom], dtype=torch.float64), 1), wanted)
    angles = torch.tensor([3.0, -3.0, 0.0], dtype=torch.float64)
    x = InterleavedCurves().at(angles, torch.zeros(3, dtype=torch.int64))
    around = 2 * math.pi - 6
    REFERENCE.check(InterleavedCurves().distances(x, 0), [[0, around, 3], [around, 0, 3], [3, 3, 0]])


@pytest.mark.parametrize("kind", [InterleavedCurves, FoldedBoxes])
def test_points_elsewhere_are_refused(kind: type, generator: torch.Generator) -> None:
    settings = kind()
    x = settings.points(Y, generator)
    with pytest.raises(InputError, match="x must be points of class 0 before standardisation, got one"):
        settings.distances(x[Y > 0], 0)
    with pytest.raises(InputError, match="before standardisation"):
        settings.distances(settings.load(generator).train.x, 1)
    with pytest.raises(InputError, match=r"x must be a matrix \(points, 3\)"):
        settings.distances(x[0], 0)


@pytest.mark.parametrize("kind", [InterleavedCurves, FoldedBoxes])
def test_test_points_do_not_depend_on_training_points(kind: type) -> None:
    made = [kind(samples_per_class=n).load(torch.Generator().manual_seed(3)) for n in (5, 20)]
    EXACT.check(made[0].test.y, made[1].test.y)
    assert len(made[0].train) == 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InterleavedCurves(radius=1.0), "radius must be a finite number above 1"),
        (lambda: InterleavedCurves(turns=0), "turns must be an integer of at least 1"),
        (lambda: InterleavedCurves(samples_per_class=0), "samples_per_class must be an integer of at least 1"),
        (lambda: FoldedBoxes(test_per_class=0), "test_per_class must be an integer of at least 1"),
    ],
)
def test_bad_fields(make: type, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
