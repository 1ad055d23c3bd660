"""GeoMNIST: masks against loops over pixels, images against the measured range, and the split."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage

from collapselab.core.errors import InputError
from collapselab.training.data.geomnist import GeoMnist, ellipses, rectangles, triangles
from tolerances import EXACT, PRECISION, REFERENCE


def in_ellipse(row: int, column: int, o: float) -> bool:
    return ((row - 16) / (6 + o)) ** 2 + ((column - 16) / (2 * (6 + o))) ** 2 < 1


def in_rectangle(row: int, column: int, o: float) -> bool:
    return round(12 + o) <= row <= round(20 + o) and round(8 + o) <= column <= round(24 + o)  # half to even


def in_triangle(row: int, column: int, o: float) -> bool:
    """Between the two slanted sides, which rise by 10 over 8 (1 + sqrt 3) columns, and left of the upright one."""
    run = 24 - (16 - 8 * math.sqrt(3))
    from_tip = column - (16 - 8 * math.sqrt(3) + o)
    return column <= 24 + o + 1e-9 and abs(row - (16 + o)) <= from_tip * 10 / run + 1e-9


@pytest.mark.parametrize(
    ("fast", "slow"), [(triangles, in_triangle), (rectangles, in_rectangle), (ellipses, in_ellipse)]
)
def test_masks(fast: Callable[[np.ndarray], np.ndarray], slow: Callable[[int, int, float], bool]) -> None:
    offsets = np.linspace(-1, 1, 41)  # among them -1, -0.5, 0, 0.5 and 1, where pixels lie on edges and rounding ties
    expected = [[[slow(row, column, float(o)) for column in range(32)] for row in range(32)] for o in offsets]
    EXACT.check(fast(offsets), np.array(expected))


def test_masks_have_known_sizes() -> None:
    """Pixels of each class at offset 0, as scikit-image draws them; rectangles have only three positions."""
    for shape, at_zero in ((triangles, 230), (rectangles, 9 * 17), (ellipses, 217)):
        assert int(shape(np.array([0.0])).sum()) == at_zero
    assert len(np.unique(rectangles(np.linspace(-1, 1, 101)), axis=0)) == 3


def test_images_are_turned_and_blurred(generator: torch.Generator) -> None:
    images = GeoMnist(8, 2).images(generator)
    state = torch.Generator().manual_seed(0)
    blurs = 0.9 + 0.2 * torch.rand(3, 10, generator=state, dtype=torch.float64)
    for k, shape in enumerate((in_triangle, in_rectangle, in_ellipse)):
        for i in range(10):
            o = -1 + 2 * i / 9
            mask = np.array([[float(shape(row, column, o)) for column in range(32)] for row in range(32)])
            turned = ndimage.rotate(mask, 176 * i / 10, reshape=False)
            REFERENCE.floor(1).check(images[k, i], ndimage.gaussian_filter(turned, float(blurs[k, i])))


def test_range_and_mean(generator: torch.Generator) -> None:
    """Of the published generator: -0.002 to 1.002, and about 0.195 on average."""
    images = GeoMnist(160, 40).images(generator)
    assert -0.0025 < float(images.min()) < -0.001
    assert 1.001 < float(images.max()) < 1.0025
    assert abs(float(images.mean()) - 0.1953) < 5e-4


def test_every_image_is_in_one_split(generator: torch.Generator) -> None:
    settings = GeoMnist(12, 5)
    images = settings.images(torch.Generator().manual_seed(0)).flatten(2)
    splits = settings.load(generator)
    assert torch.bincount(splits.train.y).tolist() == [12] * 3
    assert torch.bincount(splits.test.y).tolist() == [5] * 3
    x = torch.cat([splits.train.x, splits.test.x]).flatten(1).double()
    y = torch.cat([splits.train.y, splits.test.y])
    for k in range(3):
        mine, given = x[y == k], images[k]
        scaled = (given - given.mean()) / given.std()
        distances = torch.cdist((mine - mine.mean()) / mine.std(), scaled)
        assert sorted(distances.argmin(1).tolist()) == list(range(17))
        assert float(distances.min(1).values.max()) < 1e-4  # float32 inputs


def test_pixels_as_they_are() -> None:
    """The same images in the same order, and standardised they are the others."""
    (raw, scaled) = (GeoMnist(6, 2, standardise=flag).load(torch.Generator().manual_seed(3)) for flag in (False, True))
    images = GeoMnist(6, 2).images(torch.Generator().manual_seed(3)).float()
    assert isinstance(raw.train.x, torch.Tensor)
    found = torch.cat([raw.train.x, raw.test.x]).flatten(1)
    EXACT.check(found.amax(1).sort().values, images.flatten(0, 1).flatten(1).amax(1).sort().values)
    EXACT.check(raw.train.y, scaled.train.y)
    x = raw.train.x.double()
    PRECISION.at(1).floor(1).check(scaled.train.x, (x - x.mean()) / x.std(correction=0))


@pytest.mark.parametrize("field", ["samples_per_class", "test_per_class"])
def test_bad_settings(field: str) -> None:
    with pytest.raises(InputError, match=f"{field} must be an integer of at least 1, got 0"):
        GeoMnist(**{field: 0})
