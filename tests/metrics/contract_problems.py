"""Measurement problems of the contract tests: features, labels and a head, from balanced to awkward."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.metrics import Evidence
from configurations import etf_rows


@dataclass(frozen=True)
class Problem:
    """Everything a metric may look at, before it is made into evidence."""

    h: Tensor
    y: Tensor
    w: Tensor
    b: Tensor | None
    num_classes: int

    @property
    def features(self) -> LabelledFeatures:
        return LabelledFeatures(self.h, self.y, self.num_classes)

    def evidence(self, stats: ClassStats | None = None) -> Evidence:
        stats = ClassStats.of(self.features) if stats is None else stats
        return Evidence(stats, LinearHead(self.w, self.b), self.features)

    def arrays(self):
        """What a reference twin is given."""
        b = None if self.b is None else self.b.double().numpy()
        return self.h.double().numpy(), self.y.numpy(), self.w.double().numpy(), b

    def single(self) -> "Problem":
        """The same with float32 features."""
        return replace(self, h=self.h.float())


def random_problem(
    counts: tuple[int, ...],
    features: int,
    *,
    seed: int = 0,
    offset: float = 1.0,
    spread: float = 0.7,
    bias: bool = True,
) -> Problem:
    """Gaussian classes of the given sizes (0: never seen) around random means, and a head that half knows them."""
    g = torch.Generator().manual_seed(seed)
    k = len(counts)
    means = torch.randn(k, features, generator=g, dtype=torch.float64)
    y = torch.repeat_interleave(torch.arange(k), torch.tensor(counts))
    y = y[torch.randperm(y.numel(), generator=g)]
    scale = torch.rand(features, generator=g, dtype=torch.float64) + 0.5  # no direction like another
    noise = torch.randn(y.numel(), features, generator=g, dtype=torch.float64) * scale * spread
    w = means + torch.randn(k, features, generator=g, dtype=torch.float64) * 0.5
    b = torch.randn(k, generator=g, dtype=torch.float64) * 0.3
    return Problem(offset + means[y] + noise, y, w, b if bias else None, k)


PROBLEMS = {
    "balanced": random_problem((8, 8, 8, 8), 6, seed=1),
    "imbalanced": random_problem((3, 12, 5, 9, 4), 7, seed=2),
    "an empty class": random_problem((5, 6, 0, 7, 4, 5), 8, seed=3),
    "more classes than the simplex fits": random_problem((6, 5, 7, 6, 5, 6, 8), 3, seed=4),
    "two classes": random_problem((9, 6), 4, seed=5),
    "more dimensions than samples": random_problem((4, 5, 4), 30, seed=6),
    "no bias": random_problem((6, 7, 5), 4, seed=7, bias=False),
    "far from the origin": random_problem((6, 6, 6), 5, seed=8, offset=100.0),
}


def collapsed_problem(
    classes: int, features: int, *, counts: tuple[int, ...] | None = None, radius: float = 2.0
) -> Problem:
    """Exact collapse away from the origin: every sample on its vertex, head dual to the means, bias that centres."""
    rows = etf_rows(classes, features=features)
    centre = torch.linspace(-1.0, 2.0, features, dtype=torch.float64)
    y = torch.repeat_interleave(torch.arange(classes), torch.tensor(counts or (6,) * classes))
    w = 1.5 * rows
    return Problem((radius * rows)[y] + centre, y, w, -(w @ centre), classes)


def stats_of(means: torch.Tensor) -> ClassStats:
    """One sample a class, exactly at its mean."""
    return ClassStats.of(LabelledFeatures(means, torch.arange(means.shape[0]), means.shape[0]))
