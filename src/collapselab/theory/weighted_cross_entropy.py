"""Cross-entropy on unconstrained features where the losses of classes have weights, but their decay has none."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._imbalance.grouped import Array, Grouped
from collapselab.theory._imbalance.imbalanced import Groups
from collapselab.theory._model import model
from collapselab.theory._problem import Problem
from collapselab.theory.imbalanced_cross_entropy import ImbalancedCrossEntropy


@model("weighted_cross_entropy", label="weighted cross-entropy on unconstrained features", source="fang2021")
@dataclass(frozen=True)
class WeightedCrossEntropy(ImbalancedCrossEntropy):
    r"""Weighted cross-entropy of free features and a decayed head, every sample's features decayed alike.

    With weights $w_k$ whose mean over the samples is 1 the model is
    $\min\tfrac1N\sum_kw_kn_k\ell(M_k,k)+\sqrt{\lambda_W\lambda_H}\,\|\operatorname{diag}(\sqrt{n_k})M\|_*$. Weights
    are not the same as more samples here, whose features would be decayed as well: classes of one kind coincide if and
    only if $w_k^2n_k\le N^2\lambda_W\lambda_H$, so that weights by the inverse size turn the order of merging round.

    Attributes:
        problem: As of `ImbalancedCrossEntropy`.
        class_weights: Factor of the loss of each class, up to a common factor.
    """

    answers: ClassVar[tuple[str, ...] | None] = ("cross_entropy",)

    class_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        k = self.problem.num_classes
        if len(self.class_weights) != k:
            raise InputError(f"class_weights must be {k}, one a class, got {len(self.class_weights)}")
        for place, weight in enumerate(self.class_weights):
            checks.real(weight, f"class_weights[{place}]", above=0)
        super().__post_init__()

    @cached_property
    def weights(self) -> Array:
        """(k,) factors of mean 1 over the samples."""
        given, counts = np.array(self.class_weights, dtype=np.float64), np.array(self.problem.counts)
        return given * (counts.sum() / (given @ counts))

    @cached_property
    def _kinds(self) -> tuple[tuple[int, float], ...]:
        """Size and weight of the classes of each group, the largest first."""
        return tuple(sorted(set(self._of_each), key=lambda kind: (-kind[0], -kind[1])))

    @property
    def _of_each(self) -> list[tuple[int, float]]:
        return [(n, float(f"{w:.12g}")) for n, w in zip(self.problem.counts, self.weights.tolist(), strict=True)]

    @cached_property
    def groups(self) -> Groups:
        """Classes of one size and weight, the largest first."""
        place = {kind: g for g, kind in enumerate(self._kinds)}
        group = tuple(place[kind] for kind in self._of_each)
        return Groups(group, tuple(map(int, np.bincount(group))), tuple(n * w for n, w in self._kinds))

    @cached_property
    def _program(self) -> Grouped:
        p, groups = self.problem, self.groups
        return Grouped(
            np.array(groups.sizes, dtype=np.float64),
            groups.shares,
            1 / np.sqrt(np.array([n for n, _ in self._kinds], dtype=np.float64)),
            price=(p.decay_head * p.decay_features) ** 0.5,
            bias=p.bias != "none",
            decay_bias=p.decay_bias,
        )

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (*super().assumptions, "Losses of classes have weights; the decay of their features has none.")

    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Weighted cross-entropy of each sample.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,), in nats.
        """
        return torch.from_numpy(self.weights)[y] * super().sample_losses(logits, y)

    def thresholds(self) -> dict[str, float]:
        """Squared weight times samples up to which classes of one kind coincide, its least value, and decays to zero.

        Returns:
            Name to number.
        """
        found = super().thresholds()
        smallest = min(w * w * n for n, w in self._kinds)
        return {"merging_weighted_size": found.pop("merging_class_size"), "smallest_weighted_size": smallest} | found

    @classmethod
    def examples(cls) -> Sequence["WeightedCrossEntropy"]:
        """Inverse sizes, where large classes merge first, their roots, and weights that tell equal classes apart.

        Returns:
            Landscapes.
        """
        return (
            cls(Problem((20, 20, 2, 2), 5, 1e-2, 1e-2), (1.0, 1.0, 10.0, 10.0)),
            cls(Problem((9, 4, 4, 1), 4, 1e-2, 2e-2, bias="free"), (1.0, 1.5, 1.5, 3.0)),
            cls(Problem((5, 5, 5), 3, 1e-2, 1e-2), (1.0, 2.0, 1.0)),
        )
