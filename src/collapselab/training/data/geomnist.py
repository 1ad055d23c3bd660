"""GeoMNIST: triangles, rectangles and ellipses, turned and blurred."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from collapselab.core import checks, extras
from collapselab.training.data._made import standardised
from collapselab.training.data._samples import Samples, Splits
from collapselab.training.data._spec import DataSet, dataset

SIDE = 32
"""Pixels along an edge."""

CENTRE = SIDE // 2

TURN = 176.0
"""Degrees over which the images of a class are spread."""

# How far outside the triangle a pixel may lie and still be on its edge, as a share of the edge's length.
ON_EDGE = 1e-12


@dataset("geomnist", label="GeoMNIST", source="zhang2021")
@dataclass(frozen=True)
class GeoMnist(DataSet):
    """Grey images, 32 x 32, of triangles (0), rectangles (1) and ellipses (2); standardised unless told otherwise.

    Image i of the N of a class has offset -1 + 2i/(N-1), which makes it larger or moves it, and is turned by 176 i/N
    degrees: the two go together. Training and test images are drawn from these N. The classes can be told apart by a
    linear classifier on pixels.

    Attributes:
        samples_per_class: Training images of each class.
        test_per_class: Test images of each class.
        standardise: Whether the pixels are shifted and scaled by the mean and the standard deviation of the training
            images; the published experiments leave them as they are, from about 0 to about 1.
    """

    num_classes: ClassVar[int] = 3

    samples_per_class: int = 480
    test_per_class: int = 120
    standardise: bool = True

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.samples_per_class, "samples_per_class", at_least=1)
        checks.whole(self.test_per_class, "test_per_class", at_least=1)
        checks.flag(self.standardise, "standardise")

    def images(self, generator: torch.Generator) -> Tensor:
        """All images of each class, in the order of their offsets, before standardisation.

        Args:
            generator: Decides how much each is blurred.

        Returns:
            (3, N, 32, 32) float64, grey from about 0 to about 1.
        """
        ndimage = extras.require("scipy.ndimage", extra="train", purpose="the GeoMNIST data set")
        n = self.samples_per_class + self.test_per_class
        offsets = np.linspace(-1, 1, n)
        masks = np.stack([triangles(offsets), rectangles(offsets), ellipses(offsets)]).astype(np.float64)
        blurs = 0.9 + 0.2 * torch.rand(3, n, generator=generator, dtype=torch.float64).numpy()
        for k, i in np.ndindex(3, n):
            turned = ndimage.rotate(masks[k, i], TURN * i / n, reshape=False)
            masks[k, i] = ndimage.gaussian_filter(turned, blurs[k, i])
        return torch.from_numpy(masks)

    def load(self, generator: torch.Generator) -> Splits:
        """The images as (n, 1, 32, 32).

        Args:
            generator: Decides how much each image is blurred, and which are for training.

        Returns:
            Both splits on the CPU, each in random order.
        """
        x = self.images(generator).unsqueeze(2)
        n = x.shape[1]
        within = torch.stack([torch.randperm(n, generator=generator) for _ in range(3)])
        places = torch.arange(3)[:, None] * n + within
        x, y = x.flatten(0, 1), torch.arange(3).repeat_interleave(n)
        train, test = (
            part.flatten()[torch.randperm(part.numel(), generator=generator)]
            for part in places.tensor_split([self.samples_per_class], dim=1)
        )
        if self.standardise:
            return standardised((x[train], y[train]), (x[test], y[test]), num_classes=3)
        return Splits(Samples(x[train].float(), y[train]), Samples(x[test].float(), y[test]), 3)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return rows[None], columns[None]


def ellipses(offsets: np.ndarray) -> np.ndarray:
    """Ellipses twice as wide as high.

    Args:
        offsets: (n,) added to the half axis of 6 pixels.

    Returns:
        (n, 32, 32) whether a pixel lies inside, edges excluded.
    """
    rows, columns = _grid()
    radius = (6 + offsets)[:, None, None]
    return ((rows - CENTRE) / radius) ** 2 + ((columns - CENTRE) / (2 * radius)) ** 2 < 1


def rectangles(offsets: np.ndarray) -> np.ndarray:
    """Rectangles of 9 by 17 pixels.

    Args:
        offsets: (n,) shifts along both axes; corners are rounded, half to even.

    Returns:
        (n, 32, 32) whether a pixel lies inside, edges included.
    """
    rows, columns = _grid()
    top, bottom, left, right = (np.round(CENTRE + d + offsets)[:, None, None] for d in (-4, 4, -8, 8))
    return (top <= rows) & (rows <= bottom) & (left <= columns) & (columns <= right)


def triangles(offsets: np.ndarray) -> np.ndarray:
    """Triangles with one upright side of 20 pixels.

    Args:
        offsets: (n,) shifts along both axes.

    Returns:
        (n, 32, 32) whether a pixel lies inside, edges included.
    """
    rows, columns = _grid()
    corners = np.array([[16, 16 - 8 * math.sqrt(3)], [26, 24], [6, 24]]) + offsets[:, None, None]
    inside = np.ones((len(offsets), SIDE, SIDE), dtype=bool)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        (r, c), (dr, dc) = (v.T[:, :, None, None] for v in (corners[:, start], corners[:, end] - corners[:, start]))
        inside &= dc * (rows - r) - dr * (columns - c) <= ON_EDGE * np.hypot(dr, dc)
    return inside
