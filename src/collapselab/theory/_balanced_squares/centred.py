"""Squared error with a free bias: the bias takes the mean away, and decay shrinks the singular values of the rest."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from collapselab.theory._answer import Answer, Factors, equal_sizes
from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._geometry import Geometry
from collapselab.theory._problem import Problem


class _Level(NamedTuple):
    """A singular value of the centred labels: squared, how often, and the group it lies within or None."""

    squared: float
    many: int
    within: int | None
    vector: Tensor | None


@dataclass(frozen=True)
class CentredClasses:
    r"""Logits that minimise squared error plus decay beside a free bias, for classes of any sizes.

    The bias is $b=n_k/N-W\bar h$, so that features have mean zero and fit the centred labels
    $Y(I-\tfrac1NJ)$, with $C=\operatorname{diag}(n)-\tfrac1Nnn^T$ as their Gram matrix. Decay takes
    $N\sqrt{\lambda_W\lambda_H}$ from each singular value. Classes of one size have the singular value $\sqrt{n_k}$
    among themselves, so that only one number a group remains to be found.

    Attributes:
        problem: Sizes and decay.
    """

    problem: Problem

    @property
    def cost(self) -> float:
        r"""$N\sqrt{\lambda_W\lambda_H}$, what decay takes from a singular value."""
        return self.problem.num_samples * math.sqrt(self.problem.decay_head * self.problem.decay_features)

    @cached_property
    def levels(self) -> tuple[_Level, ...]:
        """Singular values other than that of the constant vector, largest first."""
        sizes, counts = equal_sizes(self.problem)
        found = [_Level(float(n), m - 1, g, None) for g, (m, n) in enumerate(zip(sizes, counts, strict=True)) if m > 1]
        m, n = (torch.tensor(x, dtype=torch.float64) for x in (sizes, counts))
        across = m.sqrt() * n
        squared, vectors = torch.linalg.eigh(torch.diag(n) - torch.outer(across, across) / self.problem.num_samples)
        # The least is the constant vector, whose value is 0: the bias has taken it.
        found += [_Level(float(squared[j]), 1, None, vectors[:, j]) for j in range(1, len(sizes))]
        return tuple(sorted(found, key=lambda level: -level.squared))

    @cached_property
    def kept(self) -> tuple[int, ...]:
        """How many directions of each level do not vanish."""
        left, kept = self.problem.num_features, []
        for level in self.levels:
            kept.append(min(level.many, left) if level.squared > self.cost**2 else 0)
            left -= kept[-1]
        return tuple(kept)

    @property
    def minimum(self) -> float:
        """The value."""
        n = self.problem.num_samples
        all_of_it = 1 - math.fsum((count / n) ** 2 for count in self.problem.counts)
        gains = [
            many * (math.sqrt(level.squared) - self.cost) ** 2 / n
            for many, level in zip(self.kept, self.levels, strict=True)
            if many
        ]
        return 0.5 * (all_of_it - math.fsum(gains))

    def geometry(self) -> Geometry | None:
        """Inner products; None if only some directions of one level find room, and any could."""
        if any(0 < kept < level.many for kept, level in zip(self.kept, self.levels, strict=True)):
            return None
        sizes, counts = equal_sizes(self.problem)
        ratio = math.sqrt(self.problem.decay_head / self.problem.decay_features)
        m, n = (torch.tensor(x, dtype=torch.float64) for x in (sizes, counts))
        centring = torch.eye(len(sizes), dtype=torch.float64) - torch.outer(m.sqrt(), m.sqrt() * n) / sum(m * n)
        weights, logits, means = (self._function(power) for power in (0, 1, 2))
        bias = tuple(count / self.problem.num_samples for count in counts)
        return Geometry(
            _blocks(sizes, weights[0] / ratio, weights[1] / ratio),
            _blocks(sizes, ratio * means[0], ratio * centring @ means[1] @ centring.T),
            _blocks(sizes, logits[0], logits[1] @ centring.T),
            bias,
        )

    def _function(self, power: int) -> tuple[Tensor, Tensor]:
        """Kept part of a singular value over its power: within each group, and between the means of groups."""
        groups = len(equal_sizes(self.problem)[0])
        within, across = torch.zeros(groups, dtype=torch.float64), torch.zeros(groups, groups, dtype=torch.float64)
        for many, level in zip(self.kept, self.levels, strict=True):
            if many:
                root = math.sqrt(level.squared)
                value = (root - self.cost) / root**power
                if level.within is not None:
                    within[level.within] = value
                elif level.vector is not None:
                    across += value * torch.outer(level.vector, level.vector)
        return within, across

    def factors(self) -> Factors:
        """One minimiser."""
        n = torch.tensor(self.problem.counts, dtype=torch.float64)
        squared, vectors = torch.linalg.eigh(torch.diag(n) - torch.outer(n, n) / n.sum())
        top = torch.arange(len(n) - 1, len(n) - 1 - sum(self.kept), -1)
        root = squared[top].sqrt()
        left = vectors[:, top] * (root - self.cost).clamp_min(0).sqrt()
        right = left / root
        return Factors(left, right - n @ right / n.sum())

    def answer(self) -> Answer:
        """All of it."""
        shares = torch.tensor(self.problem.counts, dtype=torch.float64) / self.problem.num_samples
        return Answer(self.minimum, self.geometry(), self.factors, lambda: shares, self.levels[0].squared)


def _blocks(sizes: tuple[int, ...], within: Tensor, across: Tensor) -> BlockMatrix:
    """The matrix over classes of what acts within groups and between their normalised indicators."""
    groups = range(len(sizes))
    own = tuple(float(within[g] * (1 - 1 / m) + across[g, g] / m) for g, m in enumerate(sizes))
    between = tuple(
        tuple(
            float(across[g, h] / math.sqrt(sizes[g] * sizes[h])) - (float(within[g]) / sizes[g] if g == h else 0.0)
            for h in groups
        )
        for g in groups
    )
    return BlockMatrix(sizes, own, between)
