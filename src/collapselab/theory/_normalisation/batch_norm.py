"""What both problems of Ergen and Pilanci's model have in common: settings, squared error, and the value at the end."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence import LabelledFeatures
from collapselab.theory._model import AbstractLandscape
from collapselab.theory._normalisation.batch_norm_layer import unit_batch_norm
from collapselab.theory._problem import State


@dataclass(frozen=True)
class BatchNormLandscape(AbstractLandscape):
    r"""Base of both problems: squared error of $W\,\mathrm{relu}(\mathrm{BN}(H))$, with H free.

    Attributes:
        counts: Samples of each class, $n_k$.
        num_features: d >= K.
        decay: beta.
    """

    counts: tuple[int, ...]
    num_features: int
    decay: float

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        if isinstance(self.counts, (int, str)) or len(self.counts) < 2:
            raise InputError(f"counts must be those of two classes or more, got {self.counts!r}")
        for k, count in enumerate(self.counts):
            checks.whole(count, f"counts[{k}]", at_least=1)
        checks.whole(self.num_features, "num_features", at_least=len(self.counts))
        checks.real(self.decay, "decay", above=0)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "The inputs of the batch normalisation can take any values, and no unit is constant over the samples.",
            "There are at least as many units as classes, each followed by a ReLU, and the classifier has no bias.",
            "The loss is half the squared error summed over samples, with the statistics of all samples at once.",
        )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.counts)

    @property
    def num_samples(self) -> int:
        """N."""
        return sum(self.counts)

    @property
    def labels(self) -> Tensor:
        """(n,) label of each sample, class by class."""
        return torch.repeat_interleave(torch.arange(self.num_classes), torch.tensor(self.counts))

    @cached_property
    def targets(self) -> Tensor:
        """(n, k) one-hot labels."""
        return torch.eye(self.num_classes, dtype=torch.float64)[self.labels]

    @property
    def sizes(self) -> Tensor:
        r"""(k,) what is fitted of each class, $(\sqrt{n_k}-\beta)_+$: singular values of the logits."""
        return (torch.tensor(self.counts, dtype=torch.float64).sqrt() - self.decay).clamp_min(0)

    @property
    def minimum(self) -> float:
        r"""$\sum_k\beta\sqrt{n_k}-\beta^2/2$ over the classes that survive, and $n_k/2$ of those that do not."""
        b = self.decay
        return math.fsum(b * math.sqrt(n) - b * b / 2 if math.sqrt(n) > b else n / 2 for n in self.counts)

    @property
    def benign(self) -> bool:
        """Only where everything vanishes: otherwise units can be caught where no gradient reaches them."""
        return self.decay >= math.sqrt(max(self.counts))

    def outputs(self, state: State) -> Tensor:
        """Features that the classifier sees, relu(BN(H)).

        Args:
            state: Entries by name.

        Returns:
            (n, d).
        """
        return torch.relu(unit_batch_norm(state["h"], state["gamma"], state["alpha"]))

    def error(self, state: State) -> Tensor:
        """Half the squared error, summed over samples.

        Args:
            state: Entries by name.

        Returns:
            0-d.
        """
        return (self.outputs(state) @ state["weight"].T - self.targets).square().sum() / 2

    def draw(self, generator: torch.Generator) -> State:
        """Normal inputs and weights, and units that neither scale nor shift.

        Args:
            generator: What they are drawn from.

        Returns:
            Entries by name.
        """
        n, d = self.num_samples, self.num_features
        h = torch.randn(n, d, generator=generator, dtype=torch.float64)
        weight = torch.randn(self.num_classes, d, generator=generator, dtype=torch.float64) / math.sqrt(d)
        gamma = 1 + torch.rand(d, generator=generator, dtype=torch.float64)
        alpha = torch.randn(d, generator=generator, dtype=torch.float64) / 2
        return self.chart({"h": h, "gamma": gamma, "alpha": alpha, "weight": weight})

    def features(self, state: State) -> LabelledFeatures:
        """What the classifier sees.

        Args:
            state: Entries by name.

        Returns:
            relu(BN(H)) with labels.
        """
        return LabelledFeatures(self.outputs(state), self.labels, self.num_classes)

    def thresholds(self) -> dict[str, float]:
        """Decays at which the first and the last class vanish, and how many have.

        Returns:
            Name to number.
        """
        roots = [math.sqrt(n) for n in self.counts]
        gone = sum(root <= self.decay for root in roots)
        return {"decay_first_vanishes": min(roots), "decay_all_vanish": max(roots), "vanished_classes": float(gone)}

    def owners(self, generator: torch.Generator | None) -> Tensor:
        """Which class each unit stands for at a minimiser; -1 for a unit that is not used.

        Args:
            generator: Shares the units out at random, at least one for each class; None gives each class one.

        Returns:
            (d,) classes.
        """
        k, extra = self.num_classes, self.num_features - self.num_classes
        rest = torch.full((extra,), -1) if generator is None else torch.randint(-1, k, (extra,), generator=generator)
        owner = torch.cat((torch.arange(k), rest))
        return owner if generator is None else owner[torch.randperm(self.num_features, generator=generator)]

    def inputs(self, owner: Tensor, generator: torch.Generator | None) -> Tensor:
        """Inputs whose direction is the indicator of a unit's class, $y_k$; any multiple and any shift is as good.

        Args:
            owner: (d,) classes; the first stands in for -1.
            generator: Draws multiples and shifts.

        Returns:
            (n, d).
        """
        h = self.targets[:, owner.clamp_min(0)]
        if generator is None:
            return h
        scale = 0.5 + torch.rand(len(owner), generator=generator, dtype=torch.float64)
        return scale * h + torch.randn(len(owner), generator=generator, dtype=torch.float64)
