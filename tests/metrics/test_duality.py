"""NC3: self-duality from exact to opposite, next to collapse, past the rank, and Zhu's bias term."""

import numpy as np
import pytest
import torch

from collapselab import metrics
from collapselab.core.errors import UndefinedMetric
from collapselab.evidence import LinearHead
from configurations import collapsed, etf_rows
from metrics.contract_problems import PROBLEMS, random_problem, stats_of
from metrics.reference_duality import reference_duality_error
from tolerances import MONTE_CARLO, REFERENCE


def test_opposite_classifier_is_at_the_far_end():
    stats = random_problem((4, 5, 6), 7).evidence().stats
    away = LinearHead(-3 * stats.centred_means)
    assert float(metrics.nc3_duality(stats, away)) == pytest.approx(4.0)
    assert float(metrics.nc3_cosine(stats, away)) == pytest.approx(-1.0)
    assert float(metrics.generalised_nc3(stats, away)) == pytest.approx(2.0)
    assert float(metrics.nc3_duality(stats, LinearHead(0.2 * stats.centred_means))) < 1e-30


def test_an_unrelated_classifier_scores_two(generator):
    stats = stats_of(torch.randn(10, 50, generator=generator, dtype=torch.float64))
    draws = [
        float(metrics.nc3_duality(stats, LinearHead(torch.randn(10, 50, generator=generator, dtype=torch.float64))))
        for _ in range(200)
    ]
    MONTE_CARLO.check(draws, 2.0)


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize(("classes", "features"), [(4, 3), (6, 6), (10, 30)])
def test_keeps_its_digits_next_to_duality(size, classes, features, generator):
    rows = etf_rows(classes, features=features)
    stats = stats_of(2.5 * rows)
    weight = rows + size * torch.randn(rows.shape, generator=generator, dtype=torch.float64)
    wide = weight.numpy().astype(np.longdouble), stats.centred_means.numpy().astype(np.longdouble)
    product = wide[0] @ wide[1].T
    ideal = (np.eye(classes) - np.longdouble(1) / classes) / np.sqrt(np.longdouble(classes - 1))
    exact = np.sqrt(((product / np.sqrt((product**2).sum()) - ideal) ** 2).sum())
    np.testing.assert_allclose(
        float(metrics.duality_error(stats, LinearHead(weight))), float(exact), rtol=1e-8, atol=5e-15
    )
    units = [m / np.sqrt((m**2).sum(1, keepdims=True)) for m in wide]
    gaps = ((units[0] - units[1]) ** 2).sum(1) / 2
    np.testing.assert_allclose(float(metrics.generalised_nc3(stats, LinearHead(weight))), float(gaps.mean()), rtol=1e-5)


@pytest.mark.parametrize(("classes", "features"), [(4, 3), (5, 3), (40, 6), (41, 40), (42, 40)])
def test_duality_error_on_both_sides_of_the_rank(classes, features, generator):
    stats = stats_of(torch.randn(classes, features, generator=generator, dtype=torch.float64))
    weight = stats.centred_means + 0.1 * torch.randn(classes, features, generator=generator, dtype=torch.float64)
    expected = reference_duality_error(stats.means.numpy(), np.arange(classes), weight.numpy(), None)
    REFERENCE.check(metrics.duality_error(stats, LinearHead(weight)), expected)


def test_rows_of_classes_never_seen_do_not_count():
    problem = PROBLEMS["an empty class"]
    other = problem.w.clone()
    other[2] = 1e6
    stats = problem.evidence().stats
    groups = "class_groups"  # of which there is one here
    names = [
        n
        for n, m in metrics.REGISTRY.items()
        if m.family == "duality" or (n.endswith("_weights") and m.family != groups)
    ]
    assert len(names) > 9
    for name in names:
        metric = metrics.REGISTRY[name].fn
        assert torch.equal(metric(stats, LinearHead(other, problem.b)), metric(stats, LinearHead(problem.w, problem.b)))


def test_a_zero_classifier_has_no_direction():
    stats = collapsed(3, features=3)
    zero = LinearHead(torch.zeros(3, 3, dtype=torch.float64))
    for name in ("nc3_duality", "duality_error", "nc3_cosine", "generalised_nc3", "unc3_variance"):
        with pytest.raises(UndefinedMetric, match="zero"):
            metrics.REGISTRY[name].fn(stats, zero)
    one_zero_row = LinearHead(torch.diag(torch.tensor([1.0, 1.0, 0.0])).double())
    assert float(metrics.nc3_duality(stats, one_zero_row)) > 0
    with pytest.raises(UndefinedMetric, match="zero"):
        metrics.class_duality_cosine(stats, one_zero_row)


def test_means_that_coincide_have_no_duality():
    stats = stats_of(torch.ones(3, 4, dtype=torch.float64) / 3)
    head = LinearHead(torch.eye(3, 4, dtype=torch.float64))
    for name in ("nc3_duality", "duality_error", "nc3_cosine"):
        with pytest.raises(UndefinedMetric, match="coincide"):
            metrics.REGISTRY[name].fn(stats, head)


def test_bias_term_counts_a_missing_bias_as_zero():
    stats = stats_of(torch.tensor([[3.0, 0.0], [1.0, 4.0]], dtype=torch.float64))  # global mean (2, 2)
    weight = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    assert float(metrics.bias_collapse(stats, LinearHead(weight))) == pytest.approx(20**0.5)
    bias = torch.tensor([-2.0, -4.0], dtype=torch.float64)
    assert float(metrics.bias_collapse(stats, LinearHead(weight, bias))) == 0.0


def test_equal_cosines_have_no_variance_whatever_their_mean():
    means = torch.eye(4, 8, dtype=torch.float64)
    stats = stats_of(means)
    aside = torch.cat([torch.zeros(4, 4), torch.eye(4)], dim=1).double()
    head = LinearHead(stats.centred_means * 2 + aside)
    assert float(metrics.unc3_variance(stats, head)) < 1e-30
    assert 0.5 < float(metrics.unc3_mean(stats, head)) < 1
