"""Squared error without bias: each class has a direction of its own, and shrinks or vanishes by itself."""

import math
from dataclasses import dataclass

import torch

from collapselab.theory._answer import Answer, Factors, diagonal, equal_sizes
from collapselab.theory._geometry import Geometry
from collapselab.theory._problem import Problem


@dataclass(frozen=True)
class SeparateClasses:
    r"""Logits $z_ke_k$ of class k that minimise weighted squared error plus decay, without bias.

    The loss of a sample is half of $\kappa(z_y-M)^2+\sum_{j\ne y}z_j^2$. Labels have the singular values $\sqrt{n_k}$,
    each of one class; decay takes $N\sqrt{\lambda_W\lambda_H}/\kappa$ from each of them, and the d largest that are
    left over are kept.

    Attributes:
        problem: Sizes and decay.
        kappa: Weight of the true class.
        target: M.
    """

    problem: Problem
    kappa: float = 1.0
    target: float = 1.0

    @property
    def cost(self) -> float:
        r"""$N\sqrt{\lambda_W\lambda_H}$, what decay takes from a singular value."""
        return self.problem.num_samples * math.sqrt(self.problem.decay_head * self.problem.decay_features)

    def logit(self, count: int) -> float:
        """The logit of a sample's own class, if the class is kept.

        Args:
            count: Samples of the class.

        Returns:
            At least 0.
        """
        return max(0.0, self.target - self.cost / (self.kappa * math.sqrt(count)))

    @property
    def kept(self) -> tuple[int, ...]:
        """How many classes of each group of equal sizes do not vanish."""
        left, kept = self.problem.num_features, []
        for many, count in zip(*equal_sizes(self.problem), strict=True):
            kept.append(min(many, left) if self.logit(count) > 0 else 0)
            left -= kept[-1]
        return tuple(kept)

    @property
    def wanted(self) -> int:
        """Classes that would be kept if there were features enough."""
        return sum(many for many, n in zip(*equal_sizes(self.problem), strict=True) if self.logit(n) > 0)

    @property
    def minimum(self) -> float:
        """The value."""
        n, total = self.problem.num_samples, 0.5 * self.kappa * self.target**2
        for many, count in zip(self.kept, equal_sizes(self.problem)[1], strict=True):
            total -= many * 0.5 * self.kappa * count / n * self.logit(count) ** 2
        return total

    def geometry(self) -> Geometry | None:
        """Inner products; None if only some classes of one size find room, and any could."""
        sizes, counts = equal_sizes(self.problem)
        if any(0 < kept < many for kept, many in zip(self.kept, sizes, strict=True)):
            return None
        logits = [self.logit(count) if kept else 0.0 for kept, count in zip(self.kept, counts, strict=True)]
        ratio = math.sqrt(self.problem.decay_head / self.problem.decay_features)
        weights = tuple(z * math.sqrt(count) / ratio for z, count in zip(logits, counts, strict=True))
        means = tuple(z / math.sqrt(count) * ratio for z, count in zip(logits, counts, strict=True))
        parts = (diagonal(sizes, own) for own in (weights, means, tuple(logits)))
        return Geometry(*parts, bias=(0.0,) * len(sizes))

    def factors(self) -> Factors:
        """One minimiser: of classes of one size the first are kept."""
        counts = torch.tensor(self.problem.counts, dtype=torch.float64)
        order = torch.argsort(counts, descending=True, stable=True)[: sum(self.kept)]
        root = [math.sqrt(self.logit(int(n)) * math.sqrt(n)) for n in counts[order].tolist()]
        left = torch.zeros(len(counts), len(order), dtype=torch.float64)
        left[order, torch.arange(len(order))] = torch.tensor(root, dtype=torch.float64)
        return Factors(left, left / counts[:, None].sqrt())

    def answer(self) -> Answer:
        """All of it."""
        none = torch.zeros(self.problem.num_classes, dtype=torch.float64)
        reach = (self.kappa * self.target) ** 2 * max(self.problem.counts)
        return Answer(self.minimum, self.geometry(), self.factors, lambda: none, reach)
