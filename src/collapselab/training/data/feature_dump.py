"""Features from a file as data: what a head on a frozen network is trained on."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence import read_features
from collapselab.training.data._made import shuffled, standardised
from collapselab.training.data._rows import class_ranks
from collapselab.training.data._samples import Splits
from collapselab.training.data._spec import DataSet, dataset


@dataset("feature_dump", label="features from a file", source="papyan2020")
@dataclass(frozen=True)
class FeatureDump(DataSet):
    """Features and labels of a file (.npz, .safetensors or .parquet with h and y), standardised.

    One shift and one scale serve all coordinates, so that ratios of distances stay.

    Attributes:
        path: File of the training features, or of all.
        test_path: File of the test features; by default part of those in path are kept for testing.
        test_part: Part of each class that is kept for testing, rounded, at least one sample and never all; not used
            with test_path.
    """

    comes_along: ClassVar[bool] = False

    path: str
    test_path: str | None = None
    test_part: float = 0.2

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("path", "test_path"):
            value = getattr(self, name)
            if not (isinstance(value, str) and value) and not (name == "test_path" and value is None):
                raise InputError(f"{name} must name a file of features, got {value!r}")
        checks.real(self.test_part, "test_part", above=0, below=1)

    def load(self, generator: torch.Generator) -> Splits:
        """The features as (n, d).

        Args:
            generator: Decides which samples are for testing, and the order.

        Returns:
            Both splits on the CPU.

        Raises:
            InputError: If a file is not one of features, the two do not fit together, or a class has too few samples.
        """
        found = read_features(self.path).features
        h, y, num_classes = found.h.double(), found.y, found.num_classes
        if num_classes < 2:
            raise InputError(f"{self.path} must have at least 2 classes, got {num_classes}")
        if self.test_path is not None:
            test = read_features(self.test_path, num_classes=num_classes).features
            if test.num_features != found.num_features:
                width = f"{found.num_features} features like {self.path}"
                raise InputError(f"{self.test_path} must have {width}, got {test.num_features}")
            parts = (h, y), (test.h.double(), test.y)
        else:
            kept = self._kept(y, num_classes, generator)
            parts = (h[~kept], y[~kept]), (h[kept], y[kept])
        train, test = (shuffled(*part, generator) for part in parts)
        return standardised(train, test, num_classes=num_classes)

    def _kept(self, y: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
        """Which samples are for testing: a mask (n,)."""
        counts = torch.bincount(y, minlength=num_classes)
        if bool((counts == 1).any()):
            alone = int((counts == 1).nonzero()[0])
            raise InputError(f"{self.path} must have 2 samples of each class to keep one for testing, got 1 of {alone}")
        part = torch.minimum((self.test_part * counts.double()).round().long().clamp(min=1), (counts - 1).clamp(min=0))
        return class_ranks(y, generator) < part[y]
