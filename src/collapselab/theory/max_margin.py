"""Cross-entropy without decay (Ji et al. 2022): nothing attains the infimum, but every descent has a direction."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import NotKnown
from collapselab.theory._geometry import Geometry
from collapselab.theory._margins.log_domain import competition, log_mean_cross_entropy
from collapselab.theory._margins.margins import margin_bound
from collapselab.theory._margins.without_decay import WithoutDecay
from collapselab.theory._model import model
from collapselab.theory._problem import Problem, State
from collapselab.theory._simplex import simplex_geometry, simplex_state
from collapselab.theory._solve import gradient


@model("unregularised_cross_entropy", label="cross-entropy without decay", source="ji2022")
@dataclass(frozen=True)
class UnregularisedCrossEntropy(WithoutDecay):
    r"""Mean cross-entropy of free features and a head without decay: its infimum, zero, is reached only at infinity.

    The logits fit with any margin. What descent fixes is the direction of $\theta=(W,H)$: that of
    $\min\tfrac12(\|W\|^2+\|H\|^2)$ with all margins at least 1, whose solution has logits $\Pi_K\otimes1_n^T$ and the
    value $(K-1)\sqrt n$: a simplex ETF with every feature at its class mean. A point of the sphere $\|\theta\|=r$ where
    the loss is critical has $\nabla L=-\kappa\theta$ with $\kappa>0$; it is a critical point of cross-entropy with both
    decays equal to kappa, and has the same direction of escape where it is not the simplex.

    Attributes:
        problem: Sizes; balanced classes, d >= K-1, no decay, no bias, features of either sign.
    """

    answers: ClassVar[tuple[str, ...] | None] = ("cross_entropy",)

    with_decay: ClassVar[str] = "CrossEntropyFeatures"

    problem: Problem

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        self.problem.per_class  # noqa: B018 - refuses unequal classes
        super().__post_init__()

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "All classes have the same number of samples.",
            "There are at least K - 1 features, and they can take any value.",
            "Nothing is decayed, and there is no bias.",
            "Metrics are those of the direction in the limit; at a finite loss they are still on their way.",
        )

    @property
    def margin_bound(self) -> float:
        r"""Largest smallest margin that features and head of squared norm 1 can have, $1/(2(K-1)\sqrt n)$."""
        return margin_bound(self.problem.num_classes, self.problem.per_class)

    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of each sample, to its last digit where it is far below 1.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,), in nats.
        """
        r = competition(logits, y)
        return torch.logaddexp(r.new_zeros(()), r)

    def log_loss(self, state: State) -> Tensor:
        """Logarithm of the loss, which the range of numbers does not limit.

        Args:
            state: Features and head.

        Returns:
            0-d float64, differentiable.
        """
        return log_mean_cross_entropy(self.problem.logits(state), self.labels)

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """Refused: nothing attains the infimum.

        Args:
            generator: Not used.

        Raises:
            NotKnown: Always.
        """
        del generator
        raise NotKnown("the infimum is not attained: see approach")

    def approach(self, size: float) -> tuple[State, float]:
        """The simplex of a given size.

        Args:
            size: Root of the squared norms of features and head together.

        Returns:
            The state, and its loss.
        """
        margin = self.margin_bound * checks.real(size, "size", above=0) ** 2
        loss = math.log1p((self.problem.num_classes - 1) * math.exp(-margin))
        return simplex_state(self._equal_parts, margin, None), loss

    def geometry(self) -> Geometry:
        """Inner products in the limit of the direction, of the size where every margin is 1.

        Returns:
            The geometry.
        """
        return simplex_geometry(self._equal_parts, 1.0)

    def norm_squared_at(self, log_time: float) -> float:
        r"""Squared norm of features and head after a long gradient flow, $\|\theta\|^2\sim2(K-1)\sqrt n\log t$.

        Args:
            log_time: Logarithm of the time t; a factor of the loss, such as 1/N, only moves it by a constant.

        Returns:
            The leading term; what is left out is smaller by a factor that tends to 0.
        """
        return checks.real(log_time, "log_time", above=0) / self.margin_bound

    def log_loss_at(self, log_time: float) -> float:
        r"""Logarithm of the loss after a long gradient flow, $L\sim\tfrac{(K-1)\sqrt n}{2}\tfrac1{t\log t}$.

        The same for the sum over samples and for their mean: what the sum is larger by, its time is shorter by.

        Args:
            log_time: Logarithm of the time t.

        Returns:
            The leading term.
        """
        t = checks.real(log_time, "log_time", above=0)
        return -math.log(4 * self.margin_bound) - t - math.log(t)

    def sphere_multiplier(self, state: State) -> float:
        r"""$\kappa$ with $\nabla L=-\kappa\theta$ at a critical point of the loss on the sphere $\|\theta\|=r$.

        Args:
            state: Features and head, not both zero.

        Returns:
            The multiplier; elsewhere than at a critical point the one that fits best.
        """
        _, slopes = gradient(self, state)
        inner = sum(float((state[name] * slope).sum()) for name, slope in slopes.items())
        return -inner / sum(float(x.square().sum()) for x in state.values())

    @property
    def _equal_parts(self) -> Problem:
        """The problem with both decays alike: it splits the norm equally, as the direction in the limit does."""
        return dataclasses.replace(self.problem, decay_head=1.0, decay_features=1.0)

    @classmethod
    def examples(cls) -> Sequence["UnregularisedCrossEntropy"]:
        """Two classes of one sample, few and many features.

        Returns:
            Landscapes.
        """
        return tuple(
            cls(Problem.balanced(k, n, d, decay_head=0.0, decay_features=0.0))
            for k, n, d in ((4, 5, 6), (2, 1, 1), (10, 3, 9))
        )
