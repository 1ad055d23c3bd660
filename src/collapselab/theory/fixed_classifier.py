"""Free features under a classifier that is fixed to a simplex ETF: samples decouple, so that any class sizes do."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core.errors import InputError
from collapselab.evidence import LinearHead
from collapselab.geometry import simplex_etf
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import UnconstrainedLandscape, model
from collapselab.theory._problem import Problem, State
from collapselab.theory._simplex import proportional_geometry


@model("fixed_classifier", label="cross-entropy under a classifier fixed to a simplex ETF", source="zhu2021")
@dataclass(frozen=True)
class FixedClassifierFeatures(UnconstrainedLandscape):
    r"""Mean cross-entropy of free, decayed features under a fixed classifier of unit rows that form a simplex ETF.

    Each sample is a convex problem of its own, with one minimiser: $h=\beta m_y$, where
    $N\lambda_H\beta=Ke^{-q}/(1+(K-1)e^{-q})$ with $q=\beta K/(K-1)$. The right side falls and the left side rises in
    $\beta$, so that there is one solution, and it is above 0 however strong decay is. Class sizes play no part.

    Attributes:
        problem: Sizes and decay of features and bias; any class sizes without bias and equal ones with it, d >= K-1,
            no decay of the head, which does not move.
    """

    answers: ClassVar[tuple[str, ...] | None] = ()

    problem: Problem

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        p = self.problem
        if p.num_features < p.num_classes - 1:
            raise InputError(f"num_features must be at least {p.num_classes - 1}, got {p.num_features}")
        if p.decay_features == 0:
            raise InputError("decay_features must be above 0 for a minimum that is attained, got 0")
        if p.decay_head != 0:
            raise InputError(f"decay_head must be 0 for a head that does not move, got {p.decay_head}")
        if p.nonnegative:
            raise InputError("nonnegative must be false: the answer with non-negative features is not known, got true")
        if p.bias != "none" and not p.is_balanced:
            raise InputError(f"bias must be 'none' where classes have different sizes, got {p.bias!r}")

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "The classifier is a simplex ETF of unit rows and does not move.",
            "There are at least K - 1 features, and they can take any value.",
            "Features are decayed; the bias is zero, or classes have equal sizes.",
        )

    @cached_property
    def length(self) -> float:
        r"""$\beta$, the norm of every feature vector."""
        k, decay = self.problem.num_classes, self.problem.num_samples * self.problem.decay_features

        def too_long(beta: float) -> bool:
            away = math.exp(-beta * k / (k - 1))
            return decay * beta * (1 + (k - 1) * away) >= k * away

        low, high = 0.0, 1 / decay  # the right side is at most 1
        while low < (middle := (low + high) / 2) < high:
            low, high = (low, middle) if too_long(middle) else (middle, high)
        return high

    @property
    def minimum(self) -> float:
        """The value at the minimiser, in nats."""
        p, k = self.problem, self.problem.num_classes
        loss = math.log1p((k - 1) * math.exp(-self.length * k / (k - 1)))
        return loss + p.num_samples * p.decay_features * self.length**2 / 2

    @property
    def classifier(self) -> Tensor:
        """(k, d) the fixed rows."""
        return simplex_etf(self.problem.num_classes, self.problem.num_features)

    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of each sample.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,), in nats.
        """
        return functional.cross_entropy(logits, y, reduction="none")

    def loss(self, state: State) -> Tensor:
        """Mean cross-entropy under the fixed classifier, plus decay.

        Args:
            state: Features, and a bias where there is one.

        Returns:
            0-d float64, in nats.
        """
        return super().loss({**state, "weight": self.classifier})

    def draw(self, generator: torch.Generator) -> State:
        """Normal features.

        Args:
            generator: What they are drawn from.

        Returns:
            Features, and a bias where there is one.
        """
        return {name: x for name, x in self.problem.draw(generator).items() if name != "weight"}

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """Every sample on the row of its class; there is no other one but for the mean of a free bias.

        Args:
            generator: Not used: the classifier fixes the position.

        Returns:
            Features, and a bias of zero where there is one.
        """
        del generator
        state = {"h": self.length * self.problem.spread(self.classifier)}
        if self.problem.bias != "none":
            state["bias"] = torch.zeros(self.problem.num_classes, dtype=torch.float64)
        return state

    def head(self, state: State) -> LinearHead:
        """The fixed classifier, and the bias where there is one.

        Args:
            state: Features.

        Returns:
            The head.
        """
        return LinearHead(self.classifier, state.get("bias"))

    def geometry(self) -> Geometry:
        """Inner products at the minimiser.

        Returns:
            The geometry.
        """
        return proportional_geometry(self.problem.num_classes, 1.0, self.length)

    @classmethod
    def examples(cls) -> Sequence["FixedClassifierFeatures"]:
        """Equal and very unequal classes, few and many features, weak and strong decay.

        Returns:
            Landscapes.
        """
        free = Problem.balanced(4, 3, 6, decay_head=0.0, decay_features=2e-3, bias="free")
        return (
            cls(Problem.balanced(5, 7, 5, decay_head=0.0, decay_features=1e-3)),
            cls(Problem((20, 5, 2, 1), 3, 0.0, 1e-3)),
            cls(Problem((4, 1, 1), 4, 0.0, 10.0)),
            cls(free),
        )
