"""Inputs and labels from a file of arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence.files import read_arrays
from collapselab.training.data._made import standardised
from collapselab.training.data._rows import balanced_rows, most_per_class
from collapselab.training.data._samples import Samples, Scaling, Splits
from collapselab.training.data._spec import DataSet, dataset

_PARTS = ("x_train", "y_train", "x_test", "y_test")

Part = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Read:
    """What a file holds: one part or two."""

    parts: tuple[Part, ...]
    num_classes: int


@dataset("arrays", label="inputs from a file", source="papyan2020")
@dataclass(frozen=True)
class Arrays(DataSet):
    """Inputs and labels of a file (.npz or .safetensors), as x and y or as x_train, y_train, x_test and y_test.

    Inputs of a floating-point type may have any shape (n, ...), channels first; they are standardised by one mean and
    one standard deviation over all values of the training inputs. Those of eight bits are images (n, height, width)
    or (n, c, height, width); they stay bytes until they are used, and each channel is standardised.

    Attributes:
        path: The file.
        samples_per_class: Training inputs of each class, drawn at random; by default all. With x and y it must be
            given, and all others are for testing.
    """

    comes_along: ClassVar[bool] = False

    path: str
    samples_per_class: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        if not isinstance(self.path, str) or not self.path:
            raise InputError(f"path must name a file of arrays, got {self.path!r}")
        if self.samples_per_class is not None:
            checks.whole(self.samples_per_class, "samples_per_class", at_least=1)

    def load(self, generator: torch.Generator) -> Splits:
        """The inputs as they are in the file, (n, 1, height, width) for grey images.

        Args:
            generator: Decides which inputs are used, where not all are.

        Returns:
            Both splits on the CPU.

        Raises:
            InputError: If the file is not of that kind, or its training inputs are all the same.
        """
        read = self._read(read_arrays(self.path))
        train, test = self._drawn(read, generator)
        if train[0].dtype != torch.uint8:
            return standardised(train, test, num_classes=read.num_classes)
        scaling = Scaling.of(train[0])
        return Splits(Samples(*train, scaling), Samples(*test, scaling), read.num_classes)

    def _read(self, arrays: Mapping[str, Any]) -> _Read:
        names = _PARTS if "x_train" in arrays else ("x", "y")
        missing = [name for name in names if name not in arrays]
        if missing:
            raise InputError(f"{self.path} must hold x and y or {', '.join(_PARTS)}, got {sorted(arrays) or 'nothing'}")
        parts = tuple(self._part(arrays, x, y) for x, y in zip(names[::2], names[1::2], strict=True))
        if len({(x.dtype, x.shape[1:]) for x, _ in parts}) > 1:
            raise InputError(f"{self.path} must have the same kind of inputs for training and testing")
        num_classes = max(checks.classes_of(y, name) for (_, y), name in zip(parts, names[1::2], strict=True))
        if num_classes < 2:
            raise InputError(f"{self.path} must have at least 2 classes, got {num_classes}")
        return _Read(parts, num_classes)

    def _part(self, arrays: Mapping[str, Any], x_name: str, y_name: str) -> Part:
        x = checks.as_tensor(arrays[x_name], x_name)
        if x.ndim < 2 or not x.numel():
            raise InputError(f"{x_name} must hold inputs (n, ...), got {checks.described(x)}")
        y = checks.labels(arrays[y_name], y_name, num_rows=len(x))
        if int(y.min()) < 0:
            raise InputError(f"{y_name} must be labels of at least 0, got {int(y.min())}")
        if x.is_floating_point():
            return checks.finite(x.double(), x_name), y
        if x.dtype != torch.uint8 or x.ndim not in (3, 4):
            kinds = "floating-point numbers, or bytes (n, height, width) or (n, c, height, width)"
            raise InputError(f"{x_name} must be {kinds}, got {checks.described(x)}")
        return (x[:, None] if x.ndim == 3 else x), y

    def _drawn(self, read: _Read, generator: torch.Generator) -> tuple[Part, Part]:
        (x, y), k, held_out = read.parts[0], read.num_classes, len(read.parts) == 1
        if self.samples_per_class is None:
            if held_out:
                raise InputError("samples_per_class must be given where a file has no inputs for testing, got none")
            return read.parts[0], read.parts[1]
        most = most_per_class(y, k, spare=held_out)
        if self.samples_per_class > most:
            raise InputError(f"samples_per_class must be at most {most} here, got {self.samples_per_class}")
        drawn, others = balanced_rows(y, per_class=self.samples_per_class, generator=generator)
        return (x[drawn], y[drawn]), ((x[others], y[others]) if held_out else read.parts[1])
