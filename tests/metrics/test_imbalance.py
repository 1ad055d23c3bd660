"""Cosines among the small classes."""

import pytest
import torch

from collapselab import metrics
from collapselab.core.errors import UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.geometry import simplex_etf
from tolerances import IDENTITY


def stats_of(counts: tuple[int, ...], means: torch.Tensor) -> ClassStats:
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return ClassStats.of(LabelledFeatures.of(means[y], y, num_classes=len(counts)))


def test_a_simplex_has_the_same_value_whatever_the_sizes() -> None:
    etf = simplex_etf(6, 8).double()
    for counts in ((4,) * 6, (10, 10, 10, 1, 1, 1), (32, 16, 8, 4, 2, 1)):
        stats = stats_of(counts, etf)
        IDENTITY.check(
            metrics.minority_cosine_weights(stats, LinearHead.of(etf)), torch.tensor(-1 / 5, dtype=torch.float64)
        )
        IDENTITY.check(metrics.minority_cosine_means(stats), torch.tensor(-1 / 5, dtype=torch.float64))


def test_merged_rows_of_the_small_classes_give_one() -> None:
    weight = simplex_etf(6, 8).double().clone()
    weight[3:] = weight[3]
    stats = stats_of((10, 10, 10, 1, 1, 1), simplex_etf(6, 8).double())
    IDENTITY.check(
        metrics.minority_cosine_weights(stats, LinearHead.of(weight)), torch.tensor(1.0, dtype=torch.float64)
    )
    assert float(metrics.minority_cosine_means(stats)) < 0


def test_undefined_without_a_pair_of_small_classes() -> None:
    etf = simplex_etf(3, 4).double()
    stats = stats_of((10, 10, 1), etf)
    with pytest.raises(UndefinedMetric, match="only one class is of at most average size"):
        metrics.minority_cosine_weights(stats, LinearHead.of(etf))
    with pytest.raises(UndefinedMetric, match="only one class is of at most average size"):
        metrics.minority_cosine_means(stats)
