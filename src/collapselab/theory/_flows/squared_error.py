"""What the squared-error flow and its linearisation have in common: sizes, starts, and a state seen class by class."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.geometry import simplex_etf
from collapselab.theory._model import AbstractDynamics
from collapselab.theory._problem import State


class ClassParts(NamedTuple):
    r"""A state of balanced classes in parts that the linearised flow leaves apart.

    Attributes:
        agreeing: (k, d) half of the class vectors plus $\sqrt n$ times the class means.
        opposed: (k, d) half of the class vectors minus $\sqrt n$ times the class means.
        within: (n, d) deviations of the features from the means of their classes.
    """

    agreeing: Tensor
    opposed: Tensor
    within: Tensor


def class_parts(state: State) -> ClassParts:
    """Class vectors and class means, added and subtracted, and what is left of the features.

    Args:
        state: ``weight`` (k, d), and ``h`` (n, d) class by class with classes of one size.

    Returns:
        The parts; weight and features have the norm of all three together, where the first two count twice.

    Raises:
        InputError: If the features are not those of classes of one size.
    """
    weight, h = state["weight"], state["h"]
    k = weight.shape[0]
    if h.shape[0] % k or h.shape[0] == 0:
        raise InputError(f"h must have a whole number of rows for each of {k} classes, got {h.shape[0]} rows")
    means = h.reshape(k, -1, h.shape[1]).mean(1)
    root = math.sqrt(h.shape[0] // k)
    within = h - means.repeat_interleave(h.shape[0] // k, 0)
    return ClassParts((weight + root * means) / 2, (weight - root * means) / 2, within)


@dataclass(frozen=True)
class SquaredErrorDynamics(AbstractDynamics):
    r"""Base of both flows: balanced classes, free features, a head with a bias, no decay.

    Attributes:
        num_classes: K.
        per_class: n.
        num_features: d >= K-1.
        normalised: Whether the loss is divided by the number of samples N, as the mean squared error is.
        scale: Norm of features and class vectors together at a random start; the bias starts at zero.
    """

    num_classes: int
    per_class: int
    num_features: int
    normalised: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.num_classes, "num_classes", at_least=2)
        checks.whole(self.per_class, "per_class", at_least=1)
        checks.whole(self.num_features, "num_features", at_least=self.num_classes - 1)
        checks.flag(self.normalised, "normalised")
        checks.real(self.scale, "scale", above=0)

    @property
    def num_samples(self) -> int:
        """N."""
        return self.num_classes * self.per_class

    @property
    def speed(self) -> float:
        """s, what the summed loss is multiplied by: 1, or 1/N. Time runs s times as fast as without it."""
        return 1 / self.num_samples if self.normalised else 1.0

    @property
    def rate(self) -> float:
        r"""$r=s\sqrt n$, at which collapse grows out of a small start."""
        return self.speed * math.sqrt(self.per_class)

    @property
    def bias_rate(self) -> float:
        """sN, at which the bias settles."""
        return self.speed * self.num_samples

    @cached_property
    def labels(self) -> Tensor:
        """(n,) label of each sample, class by class."""
        return torch.arange(self.num_classes).repeat_interleave(self.per_class)

    @cached_property
    def targets(self) -> Tensor:
        """(n, k) one-hot labels in float64."""
        return torch.eye(self.num_classes, dtype=torch.float64)[self.labels]

    def draw(self, generator: torch.Generator) -> State:
        """Features and class vectors in a random direction, at the norm `scale`, and no bias.

        Args:
            generator: What they are drawn from.

        Returns:
            ``weight``, ``h`` and ``bias``.
        """
        rows = self.num_classes + self.num_samples
        both = torch.randn(rows, self.num_features, generator=generator, dtype=torch.float64)
        both *= self.scale / both.norm()
        bias = torch.zeros(self.num_classes, dtype=torch.float64)
        return {"weight": both[: self.num_classes].clone(), "h": both[self.num_classes :].clone(), "bias": bias}

    def conserved(self, x: State) -> dict[str, Tensor]:
        """$W^TW-H^TH$, of the rows of head and features.

        Args:
            x: Features and head.

        Returns:
            ``balance`` (d, d).
        """
        return {"balance": x["weight"].T @ x["weight"] - x["h"].T @ x["h"]}

    def collapsed(self, generator: torch.Generator | None = None) -> State:
        r"""A state of strong collapse (review eq. 17): $WW^T=\sqrt n\,\Pi$, $h=w_y/\sqrt n$, $b=1/K$, without loss.

        Args:
            generator: Turns it at random.

        Returns:
            ``weight``, ``h`` and ``bias``.
        """
        simplex = simplex_etf(self.num_classes, self.num_features, generator=generator)
        length = self.per_class**0.25 * math.sqrt(1 - 1 / self.num_classes)
        return self.collapsed_on(length * simplex)

    def collapsed_on(self, weight: Tensor) -> State:
        r"""The features $w_y/\sqrt n$ and the bias 1/K beside class vectors.

        Args:
            weight: (k, d).

        Returns:
            ``weight``, ``h`` and ``bias``.
        """
        bias = torch.full((self.num_classes,), 1 / self.num_classes, dtype=torch.float64)
        return {"weight": weight, "h": weight[self.labels] / math.sqrt(self.per_class), "bias": bias}
