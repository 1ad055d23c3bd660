"""Free features and a linear head, both decayed: what all unconstrained-features models have in common."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError

State = dict[str, Tensor]
"""What a model is a function of, by name, in float64: ``h`` (n, d), ``weight`` (k, d), ``bias`` (k,) and the like."""

Bias = Literal["none", "free", "decay"]
"""Whether the head has a bias, and whether it is decayed."""


ONE_SIZE = "classes must have one size here"
"""How the refusal of classes of different sizes begins."""

# Closed forms take the root and the logarithm of the product of both decays, times numbers of samples and classes.
_SMALLEST_PRICE = 1e-290


@dataclass(frozen=True)
class Problem:
    r"""Sizes and decay of an unconstrained-features model.

    The objective is the mean loss over N samples plus $\tfrac{\lambda_W}2\|W\|^2+\tfrac{\lambda_H}2\|H\|^2$ (and
    $\tfrac{\lambda_b}2\|b\|^2$): coefficients of one half of the squared norm of all features together, so that a decay
    of the mean squared norm with coefficient $\lambda$ is $\lambda_H=\lambda/N$.

    Attributes:
        counts: Samples of each class.
        num_features: d.
        decay_head: lambda_W.
        decay_features: lambda_H.
        bias: Whether the head has a bias, and whether it is decayed.
        decay_bias: lambda_b, of a bias that is decayed.
        nonnegative: Whether features cannot be negative, as after a ReLU.
    """

    counts: tuple[int, ...]
    num_features: int
    decay_head: float
    decay_features: float
    bias: Bias = "none"
    decay_bias: float = 0.0
    nonnegative: bool = False

    def __post_init__(self) -> None:
        """Check the fields."""
        if isinstance(self.counts, (int, str)) or len(self.counts) < 2:
            raise InputError(f"counts must be those of two classes or more, got {self.counts!r}")
        if not all(type(count) is int and count > 0 for count in self.counts):  # fast, for a hundred thousand classes
            for k, count in enumerate(self.counts):
                checks.whole(count, f"counts[{k}]", at_least=1)
        checks.whole(self.num_features, "num_features", at_least=1)
        checks.real(self.decay_head, "decay_head", at_least=0)
        checks.real(self.decay_features, "decay_features", at_least=0)
        if self.decay_head > 0 and self.decay_features > 0 and self.decay_head * self.decay_features < _SMALLEST_PRICE:
            given = f"got {self.decay_head:g} times {self.decay_features:g}"
            raise InputError(f"decay_head times decay_features must be 0 or at least {_SMALLEST_PRICE:g}, {given}")
        checks.one_of(self.bias, "bias", ("none", "free", "decay"))
        checks.flag(self.nonnegative, "nonnegative")
        checks.real(self.decay_bias, "decay_bias", at_least=0)
        if self.bias == "decay" and self.decay_bias == 0:
            raise InputError("decay_bias must be above 0 for a bias that is decayed, got 0")
        if self.bias != "decay" and self.decay_bias != 0:
            raise InputError(f"decay_bias must be 0 with bias {self.bias!r}, got {self.decay_bias}")

    @classmethod
    def balanced(cls, num_classes: int, per_class: int, num_features: int, **settings: Any) -> "Problem":
        """Classes of one size.

        Args:
            num_classes: K.
            per_class: n.
            num_features: d.
            settings: The other fields.

        Returns:
            The problem.
        """
        k = checks.whole(num_classes, "num_classes", at_least=2)
        return cls((checks.whole(per_class, "per_class", at_least=1),) * k, num_features, **settings)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.counts)

    @cached_property
    def num_samples(self) -> int:
        """N."""
        return sum(self.counts)

    @cached_property
    def is_balanced(self) -> bool:
        """Whether all classes have the same size."""
        return len(set(self.counts)) == 1

    @property
    def per_class(self) -> int:
        """n, the size of every class.

        Raises:
            InputError: If classes have different sizes.
        """
        if not self.is_balanced:
            raise InputError(f"{ONE_SIZE}, got sizes {min(self.counts)} to {max(self.counts)}")
        return self.counts[0]

    @property
    def labels(self) -> Tensor:
        """(n,) labels, class by class."""
        return torch.repeat_interleave(torch.arange(self.num_classes), torch.tensor(self.counts))

    def spread(self, per_class: Tensor) -> Tensor:
        """Rows for classes, repeated for their samples.

        Args:
            per_class: (k, ...).

        Returns:
            (n, ...).
        """
        return per_class[self.labels]

    def draw(self, generator: torch.Generator, *, size: float = 1.0) -> State:
        """A random state.

        Args:
            generator: What it is drawn from.
            size: Standard deviation of the entries times the root of the number of features.

        Returns:
            ``h``, ``weight`` and, where there is one, ``bias``.
        """
        sd = size / math.sqrt(self.num_features)
        h = sd * torch.randn(self.num_samples, self.num_features, generator=generator, dtype=torch.float64)
        weight = sd * torch.randn(self.num_classes, self.num_features, generator=generator, dtype=torch.float64)
        state = {"h": h.abs() if self.nonnegative else h, "weight": weight}
        if self.bias != "none":
            state["bias"] = sd * torch.randn(self.num_classes, generator=generator, dtype=torch.float64)
        return state

    def logits(self, state: State) -> Tensor:
        """Features through the head.

        Args:
            state: Features and head.

        Returns:
            (n, k).
        """
        product = state["h"] @ state["weight"].T
        return product + state["bias"] if "bias" in state else product

    def penalty(self, state: State) -> Tensor:
        """What decay adds to the mean loss.

        Args:
            state: Features and head.

        Returns:
            0-d.
        """
        total = self.decay_head * state["weight"].square().sum() + self.decay_features * state["h"].square().sum()
        if self.bias == "decay":
            total = total + self.decay_bias * state["bias"].square().sum()
        return total / 2
