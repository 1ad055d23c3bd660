"""One-dimensional shapes, any number of classes and of samples."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from collapselab.core import checks, extras
from collapselab.core.errors import InputError
from collapselab.training.data._made import shuffled, standardised, streams
from collapselab.training.data._samples import Splits
from collapselab.training.data._signals import POINTS, Draws, random_templates, transformed
from collapselab.training.data._spec import DataSet, dataset


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
        checks.one_of(self.templates, "templates", ("random", "mnist1d"))
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


def _check_padding(padding: tuple[int, int]) -> None:
    if not isinstance(padding, tuple) or len(padding) != 2:
        raise InputError(f"padding must be two numbers, least and most, got {padding!r}")
    low = checks.whole(padding[0], "least padding", at_least=0)
    checks.whole(padding[1], "most padding", at_least=low)
