"""MNIST-1D: ten one-dimensional shapes, shifted, scaled, sheared and noisy, generated on the spot."""

import functools
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from collapselab.core import checks, extras
from collapselab.core.random import preserved_randomness
from collapselab.training.data._made import balanced_split
from collapselab.training.data._samples import Splits
from collapselab.training.data._spec import DataSet, dataset


@dataset("mnist1d", label="MNIST-1D", source="greydanus2024")
@dataclass(frozen=True)
class Mnist1d(DataSet):
    """5000 signals of length 40 in ten classes, generated with the seed of the published set and standardised.

    More signals of the same kind come from the data set templates1d with the templates mnist1d.

    Attributes:
        samples_per_class: Training signals of each class; all others are for testing.
    """

    num_classes: ClassVar[int] = 10
    default_per_class: ClassVar[int] = 400

    samples_per_class: int = default_per_class

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.samples_per_class, "samples_per_class", at_least=1)

    def load(self, generator: torch.Generator) -> Splits:
        """The signals as (n, 1, 40).

        The package offers its own split, whose classes are not quite balanced: both parts are put together and split
        anew, 500 signals a class.

        Args:
            generator: Decides which signals are for training.

        Returns:
            Both splits on the CPU.
        """
        x, y = _published()
        return balanced_split(x, y, per_class=self.samples_per_class, num_classes=self.num_classes, generator=generator)


@functools.cache  # seconds to make, always the same
def _published() -> tuple[Tensor, Tensor]:
    mnist1d = extras.require("mnist1d.data", extra="train", purpose="the MNIST-1D data set")
    with preserved_randomness():  # it seeds the global generators
        made = mnist1d.make_dataset(mnist1d.get_dataset_args())
    x = torch.cat([torch.from_numpy(made["x"]), torch.from_numpy(made["x_test"])]).unsqueeze(1)
    return x, torch.cat([torch.from_numpy(made["y"]), torch.from_numpy(made["y_test"])]).long()
