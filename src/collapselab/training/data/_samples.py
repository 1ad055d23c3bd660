"""Samples as training takes them, whole in memory or decoded on demand, and the two splits of a data set."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from collapselab.core.errors import InputError

# Samples looked at together while measuring; a fixed size, so that sums are added in the same order everywhere.
EVALUATION_BATCH = 512


class Inputs(Protocol):
    """Inputs that are not held as a tensor but made when they are asked for, on the CPU and in uint8."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of inputs, then the shape of one."""
        ...

    def __getitem__(self, rows: Tensor) -> Tensor: ...

    def subset(self, rows: Tensor) -> "Inputs":
        """Some of the inputs, still to be made.

        Args:
            rows: Indices (m,).

        Returns:
            New inputs.
        """
        ...


@dataclass(frozen=True, eq=False)
class Scaling:
    """Whole numbers from 0 to 255 to standardised ones: (x - mean) / sd, channel by channel.

    Attributes:
        mean: (c, 1, ...) float32, of as many axes as one input.
        sd: Likewise.
    """

    mean: Tensor
    sd: Tensor

    @classmethod
    def of(cls, x: Tensor) -> "Scaling":
        """Mean and standard deviation (divided by the number of values) of each channel.

        Args:
            x: Inputs (n, c, ...), uint8.

        Returns:
            What standardises them; exact but for the last rounding, whatever n.

        Raises:
            InputError: If a channel is constant.
        """
        channels = x.shape[1]
        counts = torch.zeros(channels, 256, dtype=torch.int64)
        for part in x.split(4096):  # bincount takes eight bytes a value
            for c in range(channels):
                counts[c] += torch.bincount(part[:, c].flatten().long(), minlength=256)
        share, values = counts.double() / counts.sum(1, keepdim=True).double(), torch.arange(256, dtype=torch.float64)
        mean = share @ values
        sd = (share * (values - mean[:, None]) ** 2).sum(1).sqrt()
        return cls.from_numbers(mean.tolist(), sd.tolist(), ndim=x.ndim - 1)

    @classmethod
    def from_numbers(cls, mean: list[float], sd: list[float], *, ndim: int) -> "Scaling":
        """The scaling with known means and standard deviations.

        Args:
            mean: One for each channel, on the scale from 0 to 255.
            sd: Likewise.
            ndim: Axes of one input.

        Returns:
            New scaling.

        Raises:
            InputError: If a standard deviation is not positive.
        """
        for c, value in enumerate(sd):
            if not value > 0:
                raise InputError(f"every channel must vary over the training inputs, got channel {c} constant")
        axes = (-1, *[1] * (ndim - 1))
        return cls(torch.tensor(mean).float().view(axes), torch.tensor(sd).float().view(axes))

    def __call__(self, x: Tensor) -> Tensor:
        """Standardise.

        Args:
            x: (n, c, ...), uint8.

        Returns:
            (n, c, ...), float32.
        """
        return x.float().sub_(self.mean).div_(self.sd)

    def to(self, device: torch.device) -> "Scaling":
        """The same scaling on a device.

        Args:
            device: Where to.

        Returns:
            New scaling.
        """
        return Scaling(self.mean.to(device), self.sd.to(device))


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and labels of one split.

    What is stored may be float32, ready to use; uint8, a quarter of the memory, standardised when it is taken; or not
    there at all before it is taken. `take` and `batches` hide the difference, `x` does not.

    Attributes:
        x: Inputs (n, ...), float32 or uint8 (n, c, ...), or something that makes them.
        y: Labels (n,), int64.
        scaling: What standardises uint8; None where x is float32.
    """

    x: Tensor | Inputs
    y: Tensor
    scaling: Scaling | None = None

    def __post_init__(self) -> None:
        """Refuse what `take` could not use."""
        if self.x.shape[0] != self.y.shape[0]:
            raise InputError(f"y must be one label for each of {self.x.shape[0]} inputs, got {self.y.shape[0]}")
        whole = not (isinstance(self.x, Tensor) and self.x.is_floating_point())
        if whole != (self.scaling is not None):
            stored = self.x.dtype if isinstance(self.x, Tensor) else "inputs made on demand"
            given = "none" if self.scaling is None else "one"
            raise InputError(f"scaling must be given for uint8 inputs and for no others, got {given} for {stored}")

    def __len__(self) -> int:
        return self.y.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, channels first."""
        return tuple(self.x.shape[1:])

    @property
    def in_memory(self) -> bool:
        """Whether all inputs are there, rather than made when they are taken."""
        return isinstance(self.x, Tensor)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Some samples as a network takes them.

        Args:
            rows: Indices (m,), where the samples are.

        Returns:
            Inputs (m, ...) in float32 and labels (m,), where the samples are.
        """
        y = self.y.index_select(0, rows)  # on the CPU much faster than [rows], and the same numbers
        x = self.x.index_select(0, rows) if isinstance(self.x, Tensor) else self.x[rows.cpu()].to(y.device)
        return (x if self.scaling is None else self.scaling(x)), y

    def subset(self, rows: Tensor) -> "Samples":
        """Some samples, stored as these are.

        Args:
            rows: Indices (m,), or a mask (n,).

        Returns:
            New samples; inputs that are made on demand are not made for it.
        """
        x = self.x[rows] if isinstance(self.x, Tensor) else self.x.subset(rows)
        return Samples(x, self.y[rows], self.scaling)

    def relabelled(self, y: Tensor) -> "Samples":
        """The same inputs with other labels.

        Args:
            y: Labels (n,), int64.

        Returns:
            New samples that share the inputs.
        """
        return dataclasses.replace(self, y=y)

    def to(self, device: torch.device) -> "Samples":
        """The same samples on a device.

        Args:
            device: Where to; inputs that are made on demand are made on the CPU and moved when they are taken.

        Returns:
            New samples, which share what is there already.
        """
        x = self.x.to(device) if isinstance(self.x, Tensor) else self.x
        return Samples(x, self.y.to(device), None if self.scaling is None else self.scaling.to(device))

    def batches(self, size: int = EVALUATION_BATCH) -> "Batches":
        """The samples in order, in batches: a loader that can be read again and again.

        Args:
            size: Samples in a batch; the last may be smaller.

        Returns:
            An iterable of (x, y).
        """
        return Batches(self, size)


@dataclass(frozen=True, eq=False)
class Batches:
    """Consecutive batches of samples, the same in every pass."""

    samples: Samples
    size: int

    def __len__(self) -> int:
        return -(-len(self.samples) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        samples = self.samples
        if not isinstance(samples.x, Tensor):
            yield from map(samples.take, torch.arange(len(samples), device=samples.y.device).split(self.size))
            return
        scale = samples.scaling or (lambda x: x)
        for x, y in zip(samples.x.split(self.size), samples.y.split(self.size), strict=True):
            yield scale(x), y


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set ready for training.

    Attributes:
        train: Samples for training.
        test: All others, or those that the set has for testing.
        num_classes: K.
    """

    train: Samples
    test: Samples
    num_classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, channels first."""
        return self.train.shape

    def to(self, device: torch.device) -> "Splits":
        """The same data on a device.

        Args:
            device: Where to.

        Returns:
            New splits.
        """
        return Splits(self.train.to(device), self.test.to(device), self.num_classes)
