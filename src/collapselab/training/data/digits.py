"""Handwritten digits, 8 x 8 pixels, that come with scikit-learn."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from collapselab.core import checks, extras
from collapselab.core.random import preserved_randomness
from collapselab.training.data._made import balanced_split
from collapselab.training.data._samples import Splits
from collapselab.training.data._spec import DataSet, dataset


@dataset("digits", label="scikit-learn digits", source="alpaydin1998")
@dataclass(frozen=True)
class Digits(DataSet):
    """1797 grey images of handwritten digits, 8 x 8 pixels in 0..16, divided by 16 and standardised.

    Attributes:
        samples_per_class: Training images of each class; all others are for testing.
    """

    num_classes: ClassVar[int] = 10
    default_per_class: ClassVar[int] = 120

    samples_per_class: int = default_per_class

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.samples_per_class, "samples_per_class", at_least=1)

    def load(self, generator: torch.Generator) -> Splits:
        """The images as (n, 1, 8, 8).

        Args:
            generator: Decides which images are for training.

        Returns:
            Both splits on the CPU.
        """
        with preserved_randomness():  # importing the package draws from Python's global generator
            datasets = extras.require("sklearn.datasets", extra="train", purpose="the digits data set")
            bunch = datasets.load_digits()
        x = torch.from_numpy(bunch.images).unsqueeze(1) / 16.0
        y = torch.from_numpy(bunch.target).long()
        return balanced_split(x, y, per_class=self.samples_per_class, num_classes=self.num_classes, generator=generator)
