"""Other labels on the same inputs: noise, labels that mean nothing, and super-classes."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.data._rows import class_ranks
from collapselab.training.data._samples import Splits


@dataclass(frozen=True)
class Labels:
    """What is done to the labels: first super-classes, then noise or a permutation among those.

    Noise and permutation touch the training labels alone, so that the test error is that of the true task. They exclude
    each other: noise on labels that mean nothing would change nothing.

    Attributes:
        noise: Part of each class's training samples that gets a wrong label, spread evenly over the other classes.
        random: Whether the training labels are permuted: they say nothing about the inputs, classes keep their size.
        coarse: Number of super-classes; class k goes to super-class k * coarse // K. By default the classes stay.
    """

    noise: float = 0.0
    random: bool = False
    coarse: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.noise, "noise", at_least=0, at_most=1)
        checks.flag(self.random, "random")
        if self.random and self.noise > 0:
            raise InputError(f"noise must be 0 with random labels, got {self.noise:g}")
        if self.coarse is not None:
            checks.whole(self.coarse, "coarse", at_least=2)

    def apply(self, splits: Splits, generator: torch.Generator) -> Splits:
        """Change the labels.

        Args:
            splits: The data.
            generator: Decides which labels change.

        Returns:
            New splits on the same inputs.

        Raises:
            InputError: If there are not more classes than super-classes.
        """
        splits = self._coarsened(splits)
        y = splits.train.y
        if self.random:
            y = y[torch.randperm(len(y), generator=generator).to(y.device)]
        elif self.noise > 0:
            y = _noisy(y.cpu(), splits.num_classes, part=self.noise, generator=generator).to(y.device)
        else:
            return splits
        return replace(splits, train=splits.train.relabelled(y))

    def _coarsened(self, splits: Splits) -> Splits:
        if self.coarse is None:
            return splits
        if self.coarse >= splits.num_classes:
            raise InputError(f"coarse must be at most {splits.num_classes - 1}, below the classes, got {self.coarse}")
        train, test = (
            part.relabelled(part.y * self.coarse // splits.num_classes) for part in (splits.train, splits.test)
        )
        return Splits(train, test, self.coarse)


def _noisy(y: Tensor, num_classes: int, *, part: float, generator: torch.Generator) -> Tensor:
    # The wrong samples of class k go in turn to the classes k+1, k+2, ... (modulo K): none of these gets more than one
    # more than another, and classes of equal size keep their size.
    # A product that is whole but for rounding counts as whole: 0.29 * 100 is 28.999999999999996.
    wrong = torch.tensor([math.floor(part * n + 1e-9) for n in torch.bincount(y, minlength=num_classes).tolist()])
    ranks = class_ranks(y, generator)
    others = (y + 1 + ranks % (num_classes - 1)) % num_classes
    return torch.where(ranks < wrong[y], others, y)
