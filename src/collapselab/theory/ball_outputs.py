"""Outputs in a ball, as far apart as cross-entropy wants them (E and Wojtowytsch 2022), whatever the classes weigh."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence import LinearHead
from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._charts import in_ball
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import AbstractLandscape, model
from collapselab.theory._problem import Problem, State


@model("ball_outputs", label="cross-entropy of outputs in a ball", source="e2022")
@dataclass(frozen=True)
class BallOutputs(AbstractLandscape):
    r"""Cross-entropy of free outputs of at most one norm R: each class has a vertex of one simplex, however rare it is.

    The loss is $\sum_kp_k\operatorname{mean}_{i\in k}\ell(z_{k,i})$ with any class probabilities. Its only minimiser is
    $z_{k,i}=R\sqrt{K/(K-1)}\,(e_k-\tfrac1K1)$, and the minimum is $\log\bigl(1+(K-1)e^{-R\sqrt{K/(K-1)}}\bigr)$,
    neither of which depends on the probabilities: samples do not compete where there is no classifier to share.

    Attributes:
        counts: Samples of each class.
        radius: R.
        probabilities: p, positive with sum 1; None for shares of the samples.
    """

    counts: tuple[int, ...]
    radius: float = 1.0
    probabilities: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        k = self._sizes.num_classes
        checks.real(self.radius, "radius", above=0)
        if self.probabilities is None:
            return
        if len(self.probabilities) != k:
            raise InputError(f"probabilities must be {k}, one a class, got {len(self.probabilities)}")
        for place, p in enumerate(self.probabilities):
            checks.real(p, f"probabilities[{place}]", above=0)
        if abs(math.fsum(self.probabilities) - 1) > 1e-9:
            raise InputError(f"probabilities must have the sum 1, got {math.fsum(self.probabilities):.6g}")

    @cached_property
    def _sizes(self) -> Problem:
        return Problem(self.counts, max(1, len(self.counts)), 0.0, 0.0)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "Outputs are free within a ball; there is no classifier behind them.",
            "Every class has a positive probability.",
        )

    @property
    def minimum(self) -> float:
        """The value at the minimiser, in nats."""
        k = len(self.counts)
        return math.log1p((k - 1) * math.exp(-self.radius * math.sqrt(k / (k - 1))))

    @property
    def labels(self) -> Tensor:
        """(n,) label of each sample, class by class."""
        return self._sizes.labels

    def loss(self, state: State) -> Tensor:
        """Cross-entropy, weighted by the class probabilities.

        Args:
            state: Outputs ``h``, (n, k).

        Returns:
            0-d float64, in nats.
        """
        losses = functional.cross_entropy(state["h"], self.labels, reduction="none")
        if self.probabilities is None:
            return losses.mean()
        shares = torch.tensor([p / n for p, n in zip(self.probabilities, self.counts, strict=True)], dtype=losses.dtype)
        return losses @ shares[self.labels]

    def chart(self, free: State) -> State:
        """Outputs brought into the ball.

        Args:
            free: Outputs of any size.

        Returns:
            Outputs of at most the norm R.
        """
        return {"h": in_ball(free["h"], self.radius)}

    def draw(self, generator: torch.Generator) -> State:
        """Outputs in the ball.

        Args:
            generator: What they are drawn from.

        Returns:
            Outputs.
        """
        return self.chart({"h": self.radius * self._sizes.draw(generator)["h"]})

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """The vertices; there is no other minimiser.

        Args:
            generator: Not used: outputs cannot be turned.

        Returns:
            Outputs.
        """
        del generator
        k = len(self.counts)
        vertices = math.sqrt(k / (k - 1)) * (torch.eye(k, dtype=torch.float64) - 1 / k)
        return {"h": self._sizes.spread(self.radius * vertices)}

    def collapsed(self, state: State) -> State:
        """Every output replaced by the mean of its class: by convexity that cannot raise the loss.

        Args:
            state: Outputs.

        Returns:
            Outputs in the same ball.
        """
        h = state["h"]
        sums = h.new_zeros(len(self.counts), h.shape[1]).index_add(0, self.labels, h)
        return {"h": self._sizes.spread(sums / torch.tensor(self.counts, dtype=h.dtype)[:, None])}

    def head(self, state: State) -> LinearHead:
        """The identity: outputs are their own logits.

        Args:
            state: Not used.

        Returns:
            The head.
        """
        del state
        return LinearHead(torch.eye(len(self.counts), dtype=torch.float64))

    def geometry(self) -> Geometry:
        """Inner products at the minimiser, under the identity as the head.

        Returns:
            The geometry.
        """
        k, square = len(self.counts), self.radius**2
        logit = self.radius / math.sqrt(k * (k - 1))
        return Geometry(
            BlockMatrix.uniform(k, 1.0, 0.0),
            BlockMatrix.uniform(k, square, -square / (k - 1)),
            BlockMatrix.uniform(k, (k - 1) * logit, -logit),
            (0.0,),
        )

    @classmethod
    def examples(cls) -> Sequence["BallOutputs"]:
        """Equal, unequal and weighted classes.

        Returns:
            Landscapes.
        """
        return (
            cls((3, 3, 3, 3), 2.5),
            cls((7, 2, 1, 1), 2.5, (0.7, 0.2, 0.05, 0.05)),
            cls((2, 6, 1), 4.0),
            cls((1, 3), 1.0),
        )
