"""One-dimensional shapes, any number of classes and of samples: MNIST-1D's transformations, a block at a time."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from collapselab.core import checks, extras
from collapselab.core.errors import InputError
from collapselab.core.random import child_seed
from collapselab.training.data._made import shuffled, standardised, streams
from collapselab.training.data._spec import DataSet, Splits, dataset

POINTS = 12
"""Points of a template."""

LENGTH = 40
"""Points of a finished signal."""

NOISE_WIDTH = 2.0
"""Standard deviation, in points, of the Gaussian that makes correlated noise."""

# Standard deviation, in points, of what smooths a random template. At 1 the roughness is that of MNIST-1D's shapes, but
# among a hundred classes some are hard to tell apart.
TEMPLATE_WIDTH = 0.7

# Added to a template before it is padded, so that none of its values is taken for padding; the package's own number.
MARK = 1e-8


@dataclass(frozen=True)
class Draws:
    """What is random about n signals.

    Attributes:
        padding: (n,) zeros appended to the template, int64.
        scaling: (n,) factors.
        shift: (n,) places by which a signal is rotated to the right, int64.
        shear: (n,) slopes over the whole signal.
        correlated: (n, length) standard normal, to be smoothed.
        noise: (n, length) standard normal.
    """

    padding: Tensor
    scaling: Tensor
    shift: Tensor
    shear: Tensor
    correlated: Tensor
    noise: Tensor


@dataset("templates1d", label="1-d shapes", source="greydanus2024")
@dataclass(frozen=True)
class Templates1d(DataSet):
    """Signals of length 40: templates, one a class, padded, stretched, scaled, shifted, sheared, noisy; standardised.

    With the templates of MNIST-1D these are signals from the distribution of that set, as many as asked for; random
    templates give any number of classes.

    Attributes:
        templates: Random smooth shapes, or the ten of MNIST-1D.
        num_classes: Number of classes; of MNIST-1D's shapes the first.
        samples_per_class: Training signals of each class.
        test_per_class: Test signals of each class.
        template_seed: What random templates come from; more classes leave the first templates as they are.
        padding: Least and most zeros appended to the 12 points of a template before it is stretched to the full length;
            by default 36 and 36 for random templates, 36 and 60 for those of MNIST-1D.
        scaling: Largest relative change of the amplitude.
        max_shift: Largest circular shift to the right; by default 12 for random templates, 47 for those of MNIST-1D.
        shear: Slopes are drawn between minus and plus half of this over the whole signal.
        correlated_noise: Standard deviation, before smoothing, of the noise where the signal is padding.
        noise: Standard deviation of independent noise; by default 0 for random templates, 0.02 for those of MNIST-1D.
    """

    templates: Literal["random", "mnist1d"] = "random"
    num_classes: int = 10
    samples_per_class: int = 400
    test_per_class: int = 100
    template_seed: int = 0
    padding: tuple[int, int] | None = None
    scaling: float = 0.2
    max_shift: int | None = None
    shear: float = 0.75
    correlated_noise: float = 0.25
    noise: float | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.templates not in ("random", "mnist1d"):
            raise InputError(f"templates must be one of random, mnist1d, got {self.templates!r}")
        checks.whole(self.num_classes, "num_classes", at_least=2)
        if self.templates == "mnist1d" and self.num_classes > 10:
            raise InputError(f"num_classes must be at most 10 with the templates of mnist1d, got {self.num_classes}")
        checks.whole(self.samples_per_class, "samples_per_class", at_least=1)
        checks.whole(self.test_per_class, "test_per_class", at_least=1)
        checks.whole(self.template_seed, "template_seed", at_least=0)
        for name in ("scaling", "shear", "correlated_noise"):
            checks.real(getattr(self, name), name, at_least=0)
        if self.padding is not None:
            _check_padding(self.padding)
        if self.max_shift is not None:
            checks.whole(self.max_shift, "max_shift", at_least=0)
        if self.noise is not None:
            checks.real(self.noise, "noise", at_least=0)

    @property
    def _padding(self) -> tuple[int, int]:
        if self.padding is not None:
            return self.padding
        return (36, 36) if self.templates == "random" else (36, 60)

    @property
    def _max_shift(self) -> int:
        if self.max_shift is not None:
            return self.max_shift
        return 12 if self.templates == "random" else 47

    @property
    def _noise(self) -> float:
        if self.noise is not None:
            return self.noise
        return 0.0 if self.templates == "random" else 0.02

    def shapes(self) -> Tensor:
        """The template of each class.

        Returns:
            (k, 12) numbers, float64, each starting at 0.
        """
        if self.templates == "random":
            return random_templates(self.num_classes, self.template_seed)
        package = extras.require("mnist1d.data", extra="train", purpose="the templates of MNIST-1D")
        return torch.from_numpy(package.get_templates()["x"])[: self.num_classes]

    def draw(self, n: int, generator: torch.Generator) -> Draws:
        """What is random about some signals.

        Args:
            n: How many.
            generator: What it comes from.

        Returns:
            Independent draws.
        """
        low, high = self._padding
        size = (n, POINTS + high)
        uniform = torch.rand((2, n), generator=generator, dtype=torch.float64)
        return Draws(
            padding=torch.randint(low, high + 1, (n,), generator=generator),
            scaling=1 + self.scaling * (2 * uniform[0] - 1),
            shift=torch.randint(self._max_shift + 1, (n,), generator=generator),
            shear=self.shear * (uniform[1] - 0.5),
            correlated=self.correlated_noise * torch.randn(size, generator=generator, dtype=torch.float64),
            noise=self._noise * torch.randn(size, generator=generator, dtype=torch.float64),
        )

    def load(self, generator: torch.Generator) -> Splits:
        """The signals as (n, 1, 40).

        Args:
            generator: Makes the signals; the templates do not depend on it.

        Returns:
            Both splits on the CPU, each in random order; the test signals do not depend on how many there are for
            training, except for their standardisation.
        """
        shapes = self.shapes()
        train, test = streams(generator)
        return standardised(
            self._split(shapes, self.samples_per_class, train),
            self._split(shapes, self.test_per_class, test),
            num_classes=self.num_classes,
        )

    def _split(self, shapes: Tensor, per_class: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        made = [transformed(shape, self.draw(per_class, generator)) for shape in shapes]  # a class at a time: memory
        y = torch.arange(self.num_classes).repeat_interleave(per_class)
        return shuffled(torch.cat(made).unsqueeze(1), y, generator)


def transformed(template: Tensor, draws: Draws) -> Tensor:
    """Signals of one class.

    Args:
        template: (12,) float64.
        draws: What is random about each of n signals.

    Returns:
        (n, 40) float64.
    """
    length = draws.noise.shape[1]
    x = _padded_and_stretched(template + MARK, draws.padding, length) * draws.scaling[:, None]
    x = x.gather(1, (torch.arange(length) - draws.shift[:, None]) % length)
    x = torch.where(x != 0, x, draws.correlated @ _smoothing(length)) + draws.noise
    x = x - draws.shear[:, None] * torch.linspace(-0.5, 0.5, length, dtype=torch.float64)
    return x @ _interpolation(length, LENGTH).T


def _padded_and_stretched(template: Tensor, padding: Tensor, length: int) -> Tensor:
    """Linear interpolation of the template and its zeros at `length` evenly spaced places: (n, length)."""
    rows = {}
    for amount in padding.unique().tolist():
        padded = torch.cat([template, template.new_zeros(amount)])
        rows[amount] = _interpolation(len(padded), length) @ padded
    kinds, which = padding.unique(return_inverse=True)
    return torch.stack([rows[amount] for amount in kinds.tolist()])[which]


def _interpolation(old: int, new: int) -> Tensor:
    """Matrix (new, old) that takes values at evenly spaced places to finer or coarser ones, linearly."""
    at = torch.arange(new, dtype=torch.float64) * (old - 1) / (new - 1)
    left = at.floor().long().clamp(max=old - 2)
    share = at - left
    matrix = torch.zeros(new, old, dtype=torch.float64)
    matrix[torch.arange(new), left] = 1 - share
    matrix[torch.arange(new), left + 1] = share
    return matrix


def _smoothing(length: int) -> Tensor:
    """Matrix (length, length) by which rows are smoothed with a Gaussian, cut at 4 sd, mirrored at the ends."""
    radius = int(4 * NOISE_WIDTH + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets / NOISE_WIDTH).double() ** 2)
    kernel = kernel / kernel.sum()
    places = torch.arange(length)[:, None] + offsets
    folded = places % (2 * length)  # d c b a | a b c d | d c b a
    sources = torch.minimum(folded, 2 * length - 1 - folded)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    matrix.index_put_((sources, torch.arange(length)[:, None].expand_as(sources)), kernel.expand(length, -1), True)
    return matrix


def random_templates(num_classes: int, seed: int) -> Tensor:
    """Smooth random shapes that start and end at 0, as large as those of MNIST-1D and about as rough.

    White noise at 12 points is smoothed by a Gaussian of 0.7 points, bent to end where it starts, and divided by six
    times its standard deviation.

    Args:
        num_classes: How many.
        seed: What they come from.

    Returns:
        (k, 12) float64. The first of more are those of fewer.
    """
    generator = torch.Generator().manual_seed(child_seed(seed, "templates"))
    white = torch.stack([torch.randn(POINTS, generator=generator, dtype=torch.float64) for _ in range(num_classes)])
    offsets = torch.arange(POINTS, dtype=torch.float64)
    kernel = torch.exp(-0.5 * ((offsets[:, None] - offsets) / TEMPLATE_WIDTH) ** 2)
    smooth = (white[:, None] * kernel).sum(-1)  # row by row: a matrix product rounds by the number of rows
    bridge = smooth - smooth[:, :1] - (smooth[:, -1:] - smooth[:, :1]) * offsets / (POINTS - 1)
    return bridge / bridge.std(1, correction=0, keepdim=True) / 6


def _check_padding(padding: tuple[int, int]) -> None:
    if not isinstance(padding, tuple) or len(padding) != 2:
        raise InputError(f"padding must be two numbers, least and most, got {padding!r}")
    low = checks.whole(padding[0], "least padding", at_least=0)
    checks.whole(padding[1], "most padding", at_least=low)
