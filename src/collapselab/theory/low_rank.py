"""The layer-peeled model of any convex loss and any classes: two thin factors, and a bound on what is left to gain."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, NotConverged, NotKnown
from collapselab.theory._charts import within_budget
from collapselab.theory._convex.sample_losses import Loss, logit_gradient, sample_losses
from collapselab.theory._model import AbstractLandscape
from collapselab.theory._problem import State
from collapselab.theory._solve import minimise
from collapselab.theory.nuclear import spectral_norm
from collapselab.theory.semidefinite import class_shares

# Columns of the factors at first, and steps between two looks at the gap.
_COLUMNS, _STEPS = 32, 200

# Size of what new columns start with, relative to the others.
_STIRRED = 1e-3


@dataclass(frozen=True, eq=False)
class LowRank:
    """Where the solver ended.

    Attributes:
        value: The loss there; the minimum, up to `gap`, if the status is ``optimal``.
        gap: What the value is above the minimum over all numbers of features at most: rigorous but for rounding.
        status: ``optimal``, or ``stopped`` where the gap is larger than was asked for.
        means: (k, r) class means.
        weight: (k, r) class vectors.
        steps: Steps taken.
    """

    value: float
    gap: float
    status: Literal["optimal", "stopped"]
    means: Tensor
    weight: Tensor
    steps: int

    @property
    def logits(self) -> Tensor:
        """(k, k) logits of a sample of each class; rows are classes of samples."""
        return self.means @ self.weight.T

    def require(self) -> "LowRank":
        """Insist on an optimum.

        Returns:
            Itself.

        Raises:
            NotConverged: If the solver stopped early.
        """
        if self.status != "optimal":
            raise NotConverged(
                f"the solver stopped after {self.steps} steps, at most {self.gap:.3g} above the minimum: not an optimum"
            )
        return self


def solve_low_rank(
    loss: Loss,
    counts: Sequence[float],
    budget_features: float = 1.0,
    budget_head: float = 1.0,
    *,
    columns: int | None = None,
    tolerance: float = 1e-6,
    max_steps: int = 5000,
    generator: torch.Generator | None = None,
) -> LowRank:
    r"""Minimise a convex loss over class means and class vectors with budgets, without a matrix of inner products.

    $\min\sum_k\tfrac{n_k}N\ell(W h_k,k)$ with mean squared norms of at most $E_H$ and $E_W$, over factors of few
    columns brought to their budgets, by L-BFGS. As a function g of the logits Z it is convex with
    $\|Z\|_*\le\rho=K\sqrt{E_HE_W}$, so that it is nowhere below $g(Z)-\langle\nabla g,Z\rangle-\rho\|\nabla g\|_2$; as
    long as that leaves more than the tolerance, columns are added. Cross-entropy alone is solved faster and closer by
    `LayerPeeled`.

    Args:
        loss: Convex in the logits: ``cross_entropy``, ``mse``, or a function of logits (n, k) and labels (n,) that
            gives losses (n,).
        counts: Weight of each class, positive.
        budget_features: E_H.
        budget_head: E_W.
        columns: Of the factors at first; 32, or K where that is less, if None.
        tolerance: Largest gap of an optimum, in units of the loss.
        max_steps: Most steps of L-BFGS.
        generator: What the start is drawn from; seed 0 if None.

    Returns:
        The end, with a gap and a status.
    """
    shares = torch.from_numpy(class_shares(counts))
    k = len(shares)
    model = _ClassFactors(loss, shares, checks.real(budget_features, "budget_features", above=0), budget_head)
    checks.real(budget_head, "budget_head", above=0)
    width = min(k, checks.whole(_COLUMNS if columns is None else columns, "columns", at_least=1))
    draw = torch.Generator().manual_seed(0) if generator is None else generator
    state, steps, before = model.start(width, draw), 0, math.inf
    while True:
        found = minimise(model, state, max_steps=min(_STEPS, max_steps - steps), memory=30)
        state, steps = found.end, steps + int(found.stats["steps"])
        value, gap = model.judged(state)
        done = gap <= tolerance
        if done or steps >= max_steps or (found.status != "step_limit" and state["h"].shape[1] == k and gap >= before):
            status: Literal["optimal", "stopped"] = "optimal" if done else "stopped"
            return LowRank(value, gap, status, state["h"], state["weight"], steps)
        if found.status != "step_limit" and state["h"].shape[1] < k:
            state = model.widened(state, min(k, 2 * state["h"].shape[1]), draw)
        before = gap


@dataclass(frozen=True)
class _ClassFactors(AbstractLandscape):
    """The model with one feature vector a class: its minimum is the same, by convexity."""

    of: Loss
    shares: Tensor
    budget_features: float
    budget_head: float

    @property
    def assumptions(self) -> tuple[str, ...]:
        return ()

    @property
    def minimum(self) -> float:
        raise NotKnown("the minimum is what is looked for")

    @property
    def labels(self) -> Tensor:
        return torch.arange(len(self.shares))

    def loss(self, state: State) -> Tensor:
        return self.shares @ sample_losses(self.of)(state["h"] @ state["weight"].T, self.labels)

    def chart(self, free: State) -> State:
        return {
            "h": within_budget(free["h"], self.budget_features),
            "weight": within_budget(free["weight"], self.budget_head),
        }

    def start(self, columns: int, generator: torch.Generator) -> State:
        """Means along class vectors, of which both budgets are used up."""
        rows = torch.randn(len(self.shares), columns, generator=generator, dtype=torch.float64)
        return self.chart({"h": rows * 1e3, "weight": rows * 1e3})

    def widened(self, state: State, columns: int, generator: torch.Generator) -> State:
        """More columns, with a little along each."""
        more = columns - state["h"].shape[1]
        new = torch.randn(len(self.shares), more, generator=generator, dtype=torch.float64)
        sizes = {name: _STIRRED * float(x.square().mean().sqrt()) for name, x in state.items()}
        return self.chart({name: torch.cat([x, sizes[name] * new], 1) for name, x in state.items()})

    def judged(self, state: State) -> tuple[float, float]:
        """Loss, and what is left to gain at most."""
        z = state["h"] @ state["weight"].T
        value, slope = logit_gradient(self.of, z, self.labels, self.shares)
        if not math.isfinite(value):
            raise InputError(f"loss must be finite at finite logits, got {value}")
        budget = len(self.shares) * math.sqrt(self.budget_features * self.budget_head)
        return value, max(0.0, float((slope * z).sum()) + budget * spectral_norm(slope))

    def draw(self, generator: torch.Generator) -> State:
        raise NotKnown("this starts where it is told to")

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        raise NotKnown("the minimum is what is looked for")

    @classmethod
    def examples(cls) -> "tuple[_ClassFactors, ...]":
        return ()
