"""Last-layer features with their labels, validated once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError

# Rows looked at together where a formula needs a temporary per row: 8192 x 512 float64 is 32 MB.
CHUNK_ROWS = 8192


@runtime_checkable
class FeatureSource(Protocol):
    """Anything that can hand out the same features again, chunk by chunk: what two-look metrics need."""

    @property
    def num_classes(self) -> int:
        """K."""
        ...

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator["LabelledFeatures"]:
        """The features from the beginning.

        Args:
            rows: Upper bound of the rows in a chunk where the source can choose it.

        Returns:
            Chunks in a fixed order, covering every sample once.
        """
        ...


@dataclass(frozen=True)
class LabelledFeatures:
    """Features `h` (n, d) of any float dtype, labels `y` (n,) in 0..num_classes-1. Rows are samples.

    Raises:
        InputError: If shapes, dtypes, labels or values are not of that kind.

    Example:
        >>> LabelledFeatures.of([[1.0, 0.0], [0.0, 1.0]], [0, 1]).num_classes
        2
    """

    h: Tensor
    y: Tensor
    num_classes: int

    def __post_init__(self) -> None:
        """Validate; see the class."""
        h = checks.matrix(self.h, "features")
        y = checks.labels(self.y, num_rows=h.shape[0]).to(h.device)
        k = checks.whole(self.num_classes, "num_classes", at_least=1)
        object.__setattr__(self, "h", h)
        object.__setattr__(self, "y", checks.labels_in_range(y, k))

    @classmethod
    def of(
        cls, h: Any, y: Any, *, num_classes: int | None = None, ignore_index: int | None = None
    ) -> "LabelledFeatures":
        """From tensors, arrays or lists.

        Args:
            h: Features (n, d).
            y: Integer labels (n,).
            num_classes: K; by default one more than the largest label.
            ignore_index: Rows with this label are left out.

        Returns:
            The validated features.

        Raises:
            InputError: If they are not of that kind, or every row is ignored.
        """
        h, y = checks.as_tensor(h, "features"), checks.labels(y)
        if ignore_index is not None:
            if h.ndim != 2 or h.shape[0] != y.shape[0]:
                raise InputError(f"labels must be one per row: features {tuple(h.shape)}, {y.shape[0]} labels")
            keep = (y != ignore_index).to(h.device)
            h, y = h[keep], y[keep.to(y.device)]
            if y.numel() == 0:
                raise InputError(f"at least one label must differ from ignore_index={ignore_index}, got none")
        if num_classes is None:
            num_classes = checks.classes_of(y) if y.numel() else 1
        return cls(h, y, num_classes)

    @property
    def num_samples(self) -> int:
        """N."""
        return self.h.shape[0]

    @property
    def num_features(self) -> int:
        """Width d of the features."""
        return self.h.shape[1]

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator["LabelledFeatures"]:
        """The features again, in order.

        Args:
            rows: Rows in a chunk.

        Yields:
            Views of `rows` rows; the last may be shorter.
        """
        for h, y in zip(torch.split(self.h, rows), torch.split(self.y, rows), strict=True):
            yield _trusted(h, y, self.num_classes)


def _trusted(h: Tensor, y: Tensor, num_classes: int) -> LabelledFeatures:
    """Part of something already validated: no second sweep over the values."""
    part = object.__new__(LabelledFeatures)
    object.__setattr__(part, "h", h)
    object.__setattr__(part, "y", y)
    object.__setattr__(part, "num_classes", num_classes)
    return part
