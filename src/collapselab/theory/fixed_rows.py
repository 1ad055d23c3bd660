"""Free features under a classifier that is fixed to any rows, such as a regular polytope (Pernici et al. 2022)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError, NotConverged
from collapselab.evidence import LinearHead
from collapselab.geometry import cube, orthoplex, simplex_etf
from collapselab.theory._model import UnconstrainedLandscape, model
from collapselab.theory._problem import Problem, State

Polytope = Literal["simplex", "orthoplex", "cube"]
"""Unit rows of one of the regular polytopes of every dimension."""

# Expected decrease of the last Newton step: a slope of about 1e-13 at common decays. And most steps to get there.
_DONE, _MOST_STEPS = 1e-25, 200

# Squared distance of two class means, relative, below which they count as one.
_SAME = 1e-20


@model("fixed_rows", label="cross-entropy under a classifier of fixed rows", source="pernici2022")
@dataclass(frozen=True)
class FixedRows(UnconstrainedLandscape):
    r"""Mean cross-entropy of free, decayed features under a classifier whose rows are given and do not move.

    Samples do not compete: each solves the strictly convex problem
    $\min_h\ell(Wh,y)+\tfrac{N\lambda_H}2\|h\|^2$ of its class, with one minimiser, whatever the sizes of the classes
    are. Under a regular polytope of unit rows that is $h=\beta w_y$ with one length $\beta$ for all classes, so that
    rare classes are as far from the others as frequent ones.

    Attributes:
        problem: Sizes and decay of features; any class sizes, no bias, no decay of the head.
        rows: The classifier, K rows of d numbers.
    """

    answers: ClassVar[tuple[str, ...] | None] = ()

    problem: Problem
    rows: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        p = self.problem
        shape = {len(row) for row in self.rows}
        if len(self.rows) != p.num_classes or shape != {p.num_features}:
            wanted = (p.num_classes, p.num_features)
            raise InputError(f"rows must be {wanted[0]} of {wanted[1]} numbers, got {len(self.rows)} of {shape}")
        checks.matrix(self.classifier, "rows", axes="(classes, features)")
        if p.decay_features == 0:
            raise InputError("decay_features must be above 0 for a minimum that is attained, got 0")
        if p.decay_head != 0:
            raise InputError(f"decay_head must be 0 for a head that does not move, got {p.decay_head}")
        if p.nonnegative or p.bias != "none":
            raise InputError("nonnegative must be false and bias 'none' for a classifier of fixed rows")

    @classmethod
    def polytope(
        cls, name: Polytope, counts: Sequence[int], decay_features: float, *, num_features: int | None = None
    ) -> "FixedRows":
        """A classifier whose unit rows are corners of a regular polytope.

        Args:
            name: ``simplex`` (d >= K-1), ``orthoplex`` (even K, d >= K/2), ``cube`` (K a power of two, d >= log2 K).
            counts: Samples of each class.
            decay_features: lambda_H, of the squared norm of all features together.
            num_features: d; the least there can be if None.

        Returns:
            The landscape.
        """
        checks.one_of(name, "name", ("simplex", "orthoplex", "cube"))
        k = Problem(tuple(counts), 1, 0.0, 0.0).num_classes
        least = {"simplex": k - 1, "orthoplex": (k + 1) // 2, "cube": max(1, math.ceil(math.log2(k)))}[name]
        d = least if num_features is None else num_features
        rows = {"simplex": simplex_etf, "orthoplex": orthoplex, "cube": cube}[name](k, d)
        return cls(Problem(tuple(counts), d, 0.0, decay_features), tuple(map(tuple, rows.tolist())))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "The classifier does not move; there is no bias.",
            "Features are decayed, and can take any value.",
        )

    @cached_property
    def classifier(self) -> Tensor:
        """(k, d) the fixed rows."""
        return torch.tensor(self.rows, dtype=torch.float64)

    @cached_property
    def class_means(self) -> Tensor:
        """(k, d) the minimiser of a sample of each class, by Newton's method for all classes at once.

        Raises:
            NotConverged: If it does not come to rest.
        """
        w, decay = self.classifier, self.problem.num_samples * self.problem.decay_features
        h, y = torch.zeros_like(w), torch.arange(len(w))
        for _ in range(_MOST_STEPS):
            p = (h @ w.T).softmax(1)
            slope = (p - torch.eye(len(w), dtype=p.dtype)) @ w + decay * h
            mean = p @ w
            bent = torch.einsum("ki,ia,ib->kab", p, w, w) - mean[:, :, None] * mean[:, None]
            move = -torch.linalg.solve(bent + decay * torch.eye(w.shape[1], dtype=p.dtype), slope)
            h = h + self._damped(h, move, slope, y, decay) * move
            if float((move * slope).sum(1).abs().max()) <= _DONE:
                return h
        raise NotConverged(f"the features of a class did not come to rest in {_MOST_STEPS} steps")

    def _damped(self, h: Tensor, move: Tensor, slope: Tensor, y: Tensor, decay: float) -> Tensor:
        """(k, 1) how much of a step each class takes: halved until it goes down."""

        def value(at: Tensor) -> Tensor:
            return functional.cross_entropy(at @ self.classifier.T, y, reduction="none") + decay / 2 * at.square().sum(
                1
            )

        before, expected = value(h), -(move * slope).sum(1)
        part = torch.ones_like(before)
        for _ in range(60):
            # What rounding hides is not asked for.
            short = value(h + part[:, None] * move) > before - 1e-4 * part * expected + 1e-14 * before.abs()
            if not bool(short.any()):
                break
            part = torch.where(short, part / 2, part)
        return part[:, None]

    @property
    def minimum(self) -> float:
        """The value at the minimiser, in nats."""
        return float(self.loss(self.minimiser()))

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
            state: Features.

        Returns:
            0-d float64, in nats.
        """
        return super().loss({**state, "weight": self.classifier})

    def draw(self, generator: torch.Generator) -> State:
        """Normal features.

        Args:
            generator: What they are drawn from.

        Returns:
            Features.
        """
        return {"h": self.problem.draw(generator)["h"]}

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """Every sample at the minimiser of its class; there is no other one.

        Args:
            generator: Not used: the classifier fixes the position.

        Returns:
            Features.
        """
        del generator
        return {"h": self.problem.spread(self.class_means)}

    def head(self, state: State) -> LinearHead:
        """The fixed classifier.

        Args:
            state: Not used.

        Returns:
            The head.
        """
        del state
        return LinearHead(self.classifier)

    def predicts(self) -> dict[str, float]:
        """Collapse of each class, and whether classes can be told apart.

        Returns:
            Key of a metric to value.
        """
        means = self.class_means
        apart = torch.pdist(means).square()
        found = {name: 0.0 for name in ("nc1_pinv", "nc1_trace_ratio", "within_fraction")}
        if float(apart.min()) > _SAME * float(means.square().sum(1).max()):
            found |= {"cdnv": 0.0, "ncc_accuracy": 1.0}
        return found if float(apart.max()) > 0 else {}

    def thresholds(self) -> dict[str, float]:
        """Largest cosine between two rows, which is least for a simplex, and the smallest margin of a class.

        Returns:
            Name to number.
        """
        w, k = self.classifier, len(self.rows)
        logits = (self.class_means @ w.T).masked_fill(torch.eye(k, dtype=torch.bool), -math.inf)
        cosines = (functional.normalize(w, dim=1) @ functional.normalize(w, dim=1).T).fill_diagonal_(-1.0)
        own = (self.class_means * w).sum(1)
        return {"max_cosine": float(cosines.max()), "margin": float((own - logits.amax(1)).min())}

    @classmethod
    def examples(cls) -> Sequence["FixedRows"]:
        """The three polytopes under unequal classes, and rows of no symmetry.

        Returns:
            Landscapes.
        """
        uneven = ((1.0, 0.0), (0.6, 0.8), (-2.0, 0.5))
        return (
            cls.polytope("simplex", (9, 3, 1), 1e-3, num_features=3),
            cls.polytope("orthoplex", (20, 5, 2, 1), 1e-3),
            cls.polytope("cube", (6, 3, 2, 1), 2e-3),
            cls(Problem((5, 2, 4), 2, 0.0, 5e-3), uneven),
        )
