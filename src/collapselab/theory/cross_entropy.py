"""Cross-entropy on unconstrained features (Zhu et al. 2021): a simplex ETF, or nothing at all where decay is strong."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import UnconstrainedLandscape, model
from collapselab.theory._problem import Problem, State
from collapselab.theory._simplex import simplex_geometry, simplex_state


@model("cross_entropy", label="cross-entropy on unconstrained features", source="zhu2021")
@dataclass(frozen=True)
class CrossEntropyFeatures(UnconstrainedLandscape):
    r"""Mean cross-entropy of free features and a decayed head: its minimisers are simplex ETFs of one size.

    With $c=\sqrt{\lambda_W\lambda_Hn}$ the margin between a sample's own logit and every other is
    $a^*=\log\bigl((1-(K-1)c)/c\bigr)$ for $cK<1$, and zero, with everything else, for $cK\ge1$. The minimum is
    $-\log(1-(K-1)c)+(K-1)ca^*$, and $\|W\|^2=(K-1)a^*\sqrt{\lambda_Hn/\lambda_W}$. A bias changes nothing: it is zero
    where it is decayed and any constant where it is free.

    Attributes:
        problem: Sizes and decay; balanced classes, d >= K-1, both decays above 0, features of either sign.
    """

    problem: Problem

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        p = self.problem
        p.per_class  # noqa: B018 - refuses unequal classes
        if p.num_features < p.num_classes - 1:
            raise InputError(f"num_features must be at least {p.num_classes - 1}, got {p.num_features}")
        if p.decay_head == 0 or p.decay_features == 0:
            raise InputError("decay_head and decay_features must be above 0 for a minimum that is attained, got 0")
        if p.nonnegative:
            raise InputError("nonnegative must be false: the answer with non-negative features is not known, got true")

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "All classes have the same number of samples.",
            "There are at least K - 1 features, and they can take any value.",
            "Features and head are decayed; the bias is zero, free or decayed.",
        )

    @property
    def strength(self) -> float:
        r"""$c=\sqrt{\lambda_W\lambda_Hn}$, the only combination of settings that the logits depend on."""
        return math.sqrt(self.problem.decay_head * self.problem.decay_features * self.problem.per_class)

    @property
    def margin(self) -> float:
        """a*, the logit of a sample's own class minus that of another; 0 where everything is zero."""
        k, c = self.problem.num_classes, self.strength
        return max(0.0, math.log1p(-(k - 1) * c) - math.log(c)) if c * k < 1 else 0.0

    @property
    def minimum(self) -> float:
        """The value at every minimiser, in nats."""
        k, c = self.problem.num_classes, self.strength
        if c * k >= 1:
            return math.log(k)
        return -math.log1p(-(k - 1) * c) + (k - 1) * c * self.margin

    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of each sample.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,), in nats.
        """
        return torch.nn.functional.cross_entropy(logits, y, reduction="none")

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """The simplex of the optimal size, features at their class means.

        Args:
            generator: Turns it at random.

        Returns:
            Features and head.
        """
        return simplex_state(self.problem, self.margin, generator)

    def geometry(self) -> Geometry:
        """Inner products at every minimiser; of a free bias the one without mean.

        Returns:
            The geometry.
        """
        return simplex_geometry(self.problem, self.margin)

    def thresholds(self) -> dict[str, float]:
        r"""$cK$, which must be below 1 for anything but zero, and the decays at which it is 1.

        Returns:
            Name to number.
        """
        p, k = self.problem, self.problem.num_classes
        return {
            "strength_times_classes": self.strength * k,
            "decay_head_to_zero": 1 / (k * k * p.per_class * p.decay_features),
            "decay_features_to_zero": 1 / (k * k * p.per_class * p.decay_head),
        }

    @classmethod
    def examples(cls) -> Sequence["CrossEntropyFeatures"]:
        """With and without bias, few and many features, close to and beyond the threshold.

        Returns:
            Landscapes.
        """
        return (
            cls(Problem.balanced(4, 10, 8, decay_head=5e-3, decay_features=5e-3)),
            cls(Problem.balanced(10, 5, 9, decay_head=5e-3, decay_features=1e-3, bias="free")),
            cls(Problem.balanced(3, 4, 2, decay_head=5e-3, decay_features=5e-3, bias="decay", decay_bias=1e-2)),
            cls(Problem.balanced(5, 7, 6, decay_head=0.6 / math.sqrt(7) / 5, decay_features=0.6 / math.sqrt(7) / 5)),
            cls(Problem.balanced(5, 7, 6, decay_head=0.2, decay_features=0.2)),
        )
