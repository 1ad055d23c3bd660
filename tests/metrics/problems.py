"""Seeded problems for the contract tests: features, labels and a head, as what a metric sees and as its twin does."""

from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.metrics import Evidence
from configurations import etf_rows


@dataclass(frozen=True)
class Problem:
    """Features h (n, d), labels y (n,), a head w (num_classes, d) and b (num_classes,) or None."""

    h: Tensor
    y: Tensor
    w: Tensor
    b: Tensor | None
    num_classes: int

    def evidence(self, stats: ClassStats | None = None) -> Evidence:
        """What a metric sees; `stats` in place of the moments of the features."""
        features = LabelledFeatures(self.h, self.y, self.num_classes)
        return Evidence(ClassStats.of(features) if stats is None else stats, LinearHead(self.w, self.b), features)

    def single(self) -> "Problem":
        """The same features in float32."""
        return Problem(self.h.float(), self.y, self.w, self.b, self.num_classes)

    def arrays(self):
        """What a slow twin sees."""
        b = None if self.b is None else self.b.double().numpy()
        return self.h.double().numpy(), self.y.numpy(), self.w.double().numpy(), b


def random_problem(
    counts: tuple[int, ...],
    features: int,
    *,
    offset: float = 0.0,
    spread: float = 0.3,
    bias: bool = True,
    seed: int = 0,
) -> Problem:
    """Random class means at an offset, Gaussian samples about them, an unrelated head. A count of 0: never seen."""
    g = torch.Generator().manual_seed(seed)
    k, double = len(counts), torch.float64
    y = torch.repeat_interleave(torch.arange(k), torch.tensor(counts))
    y = y[torch.randperm(y.numel(), generator=g)]
    means = offset + torch.randn(k, features, generator=g, dtype=double)
    h = means[y] + spread * torch.randn(y.numel(), features, generator=g, dtype=double)
    w = torch.randn(k, features, generator=g, dtype=double)
    return Problem(h, y, w, torch.randn(k, generator=g, dtype=double) if bias else None, k)


def collapsed_problem(classes: int, features: int, *, per_class: int = 4) -> Problem:
    """Every sample on its vertex of a simplex about the origin, and the head that belongs to it."""
    rows, y = etf_rows(classes, features=features), torch.arange(classes).repeat(per_class)
    return Problem(rows[y], y, 2 * rows, torch.zeros(classes, dtype=torch.float64), classes)


PROBLEMS = {
    "balanced": random_problem((8, 8, 8, 8), 6),
    "unbalanced": random_problem((20, 3, 7, 2), 5, seed=1),
    "more classes than fit on a simplex": random_problem((6, 5, 4, 6, 5, 4, 7), 3, seed=2),
    "two classes": random_problem((9, 6), 4, seed=3),
    "classes never seen": random_problem((6, 0, 7, 5, 0, 8), 7, seed=4),
    "no bias": random_problem((5, 6, 7), 4, bias=False, seed=5),
    "far from the origin": random_problem((9, 8, 7, 6), 5, offset=100.0, seed=6),
}
