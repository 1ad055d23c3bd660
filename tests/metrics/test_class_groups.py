"""Head against tail: the geometry of theory, and what is undefined."""

import math

import pytest
import torch

from collapselab import metrics
from collapselab.core.errors import UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.geometry import simplex_etf
from collapselab.metrics import REGISTRY, Evidence
from collapselab.metrics._measure import measure_evidence
from tolerances import IDENTITY

GROUPED = [name for name, metric in REGISTRY.items() if metric.family == "class_groups"]


def double(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def stats_of(counts: tuple[int, ...], means: torch.Tensor) -> ClassStats:
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return ClassStats.of(LabelledFeatures.of(means[y], y, num_classes=len(counts)))


def simplex_encoded(counts: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Classifier and class means of the simplex-encoded labels' interpolation, from their singular values."""
    k, share = len(counts), torch.tensor(counts, dtype=torch.float64).sqrt()
    left, singular, right = torch.linalg.svd((torch.eye(k, dtype=torch.float64) - 1 / k) * share)
    return left * singular.sqrt(), (right.T * singular.sqrt()) / share[:, None]


def test_simplex_encoded_labels_have_the_norms_and_cosines_of_their_closed_form() -> None:
    """Thrampoulidis et al. 2022, Theorem 1, for a step: the classifier's rows from the formulas, K = 4, ratio 10."""
    weight, _ = simplex_encoded((10, 10, 1, 1))
    stats, head, k, root = stats_of((10, 10, 1, 1), weight), LinearHead.of(weight), 4, math.sqrt(10)
    q = math.sqrt((10 + 1) / 2)
    large, small = root * (1 - 2 / k) + q / k, (1 - 2 / k) + q / k
    expected = {
        "head_group_cosine_weights": (-2 * root / k + q / k) / large,
        "tail_group_cosine_weights": (-2 / k + q / k) / small,
        "head_tail_cosine_weights": -q / k / math.sqrt(large * small),
        "head_tail_norm_ratio_weights": math.sqrt(large / small),
    }
    for name, value in expected.items():
        IDENTITY.check(REGISTRY[name].fn(stats, head), double(value))


def test_merged_and_vanishing_rows_count_as_merged() -> None:
    etf = simplex_etf(6, 8).double()
    stats = stats_of((10, 10, 10, 1, 1, 1), etf)
    assert float(metrics.merged_classifiers(stats, LinearHead.of(etf))) == 0
    together, vanishing = etf.clone(), etf.clone()
    together[3:5] = together[3]
    vanishing[3:] *= 1e-3  # far apart in angle: -1/5
    assert float(metrics.merged_classifiers(stats, LinearHead.of(together))) == 2
    assert float(metrics.merged_classifiers(stats, LinearHead.of(vanishing))) == 3
    IDENTITY.check(metrics.tail_group_cosine_weights(stats, LinearHead.of(vanishing)), double(-1 / 5))


@pytest.mark.parametrize("width", [12, 300])
def test_merged_rows_are_found_in_tiles_and_in_projection(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from collapselab.metrics import _merging
    from collapselab.metrics._tiles import gram_tiles

    monkeypatch.setattr(_merging, "gram_tiles", lambda rows: gram_tiles(rows, tile=16))
    rows = torch.randn(100, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows /= rows.norm(dim=1, keepdim=True)
    rows[torch.tensor([3, 40, 99])] = rows[7] + 0.004 * rows[11]
    rows[50] = rows[51] + 0.0101 * rows[52]  # one step too far
    close = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(1) <= 0.01
    found = _merging.merged_rows(rows, 0.01)
    assert found.nonzero().flatten().tolist() == [3, 7, 40, 99]
    assert torch.equal(found, close.any(1))


def test_weight_norms_survive_squares_that_would_overflow() -> None:
    etf = simplex_etf(4, 5).double()
    for size in (1e-200, 1e200):
        found = metrics.class_weight_norm(stats_of((4, 4, 4, 4), etf), LinearHead.of(size * etf))
        IDENTITY.check(found, torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("name", GROUPED)
def test_undefined_where_sizes_count_as_equal(name: str) -> None:
    etf = simplex_etf(4, 5).double()
    for counts in ((6, 6, 6, 6), (10, 10, 9, 7)):
        evidence = Evidence(stats_of(counts, etf), LinearHead.of(etf))
        found = measure_evidence(evidence, [name])[0][name]
        assert found.undefined is not None
        assert found.undefined.startswith("needs classes of different sizes: ")


def test_undefined_without_a_pair_or_without_a_norm() -> None:
    etf = simplex_etf(4, 5).double()
    stats, head = stats_of((40, 20, 10, 5), etf), LinearHead.of(etf)
    for name in ("head_group_cosine_means", "tail_group_cosine_means", "head_group_trace_ratio"):
        with pytest.raises(UndefinedMetric, match="group has a single class: there is no pair of classes in it"):
            REGISTRY[name].fn(stats)
    IDENTITY.check(metrics.head_tail_cosine_weights(stats, head), double(-1 / 3))
    gone = etf.clone()
    gone[3] = 0
    with pytest.raises(UndefinedMetric, match="rows of the tail group are zero"):
        metrics.head_tail_norm_ratio_weights(stats, LinearHead.of(gone))
    with pytest.raises(UndefinedMetric, match="opposite whatever the data"):
        metrics.head_tail_norm_ratio_means(stats_of((40, 5), etf[:2]))


def test_trace_ratio_of_a_group_sees_nothing_of_the_other_classes() -> None:
    g = torch.Generator().manual_seed(0)
    y = torch.repeat_interleave(torch.arange(4), torch.tensor([30, 30, 6, 6]))
    h = torch.randn(4, 3, generator=g, dtype=torch.float64)[y] + torch.randn(72, 3, generator=g, dtype=torch.float64)
    whole, tail = ClassStats.of(LabelledFeatures(h, y, 4)), ClassStats.of(LabelledFeatures(h[60:], y[60:] - 2, 2))
    IDENTITY.check(metrics.tail_group_trace_ratio(whole), metrics.nc1_trace_ratio(tail))


def fitted(counts: tuple[int, ...], decay: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Class means and classifier that minimise decayed cross-entropy of free features, one vector for each class."""
    k, n, g = len(counts), torch.tensor(counts, dtype=torch.float64), torch.Generator().manual_seed(0)
    h, w = (torch.randn(k, k, generator=g, dtype=torch.float64).mul_(0.5).requires_grad_() for _ in range(2))
    optimiser = torch.optim.LBFGS([h, w], max_iter=400, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        fit = torch.nn.functional.cross_entropy(h @ w.T, torch.arange(k), reduction="none")
        found = (n / n.sum()) @ fit + decay / 2 * (w.square().sum() + n @ h.square().sum(1))
        found.backward()
        return found

    optimiser.step(loss)
    return h.detach(), w.detach()


@pytest.mark.parametrize(("few", "merged", "cosine"), [(8, 3, 1.0), (10, 0, 0.509), (20, 0, -0.015)])
def test_small_classes_merge_exactly_below_the_threshold_of_the_decayed_model(
    few: int, merged: int, cosine: float
) -> None:
    """Rows of classes of n samples are one if and only if n <= N^2 lambda^2: 8.3 for n = 8, 9.0 for n = 10."""
    counts = (40, 40, 40, few, few, few)
    h, w = fitted(counts, 0.02)
    stats, head = stats_of(counts, h), LinearHead.of(w)
    assert float(metrics.merged_classifiers(stats, head)) == merged
    assert float(metrics.tail_group_cosine_weights(stats, head)) == pytest.approx(cosine, abs=1e-3)
    assert float(metrics.head_tail_norm_ratio_weights(stats, head)) > 1.5
