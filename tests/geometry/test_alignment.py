"""Procrustes alignment with the simplex, and distances to ideal configurations."""

import math

import pytest
import torch

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.geometry import (
    align,
    canonical_simplex,
    cube,
    gram_distance,
    orthogonal_frame,
    orthoplex,
    procrustes_distance,
    simplex_coordinates,
    simplex_etf,
)
from tolerances import IDENTITY


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gap(means, turn):
    """Squared distance from the simplex after an isometry, of which `turn` holds the columns that matter."""
    centred, simplex = means - means.mean(0), canonical_simplex(len(means))
    return float(centred.square().sum() + simplex.square().sum() - 2 * ((centred @ turn) * simplex).sum())


@pytest.mark.parametrize(("k", "d"), [(2, 1), (4, 3), (4, 10), (10, 64)])
def test_a_turned_simplex_is_turned_back(k, d):
    means = 3 * simplex_etf(k, d, generator=torch.Generator().manual_seed(1)) + 7
    turn = align(means)
    IDENTITY.floor(1.0).check((means - means.mean(0)) @ turn / 3, canonical_simplex(k))
    IDENTITY.floor(1.0).check(turn.T @ turn, torch.eye(k - 1))
    IDENTITY.floor(1.0).check(simplex_coordinates(means, means), canonical_simplex(k))


@pytest.mark.parametrize(("k", "d"), [(3, 6), (6, 5), (6, 2)])
def test_no_other_isometry_is_nearer(k, d):
    means = randn(k, d)
    best = align(means)
    wide = d >= k - 1
    IDENTITY.floor(1.0).check(best.T @ best if wide else best @ best.T, torch.eye(min(d, k - 1)))
    for seed in range(20):
        other = torch.linalg.qr(randn(max(d, k - 1), max(d, k - 1), seed=seed)).Q[:d, : k - 1]
        assert gap(means, best) <= gap(means, other) + 1e-12


def test_reflections_are_allowed():
    means = canonical_simplex(4) @ torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    assert gap(means, align(means)) < 1e-14


def test_other_ideals():
    square = orthoplex(4, 2)
    turned = square @ torch.tensor([[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]], dtype=torch.float64)
    IDENTITY.floor(1.0).check(turned @ align(turned, square), square)


def test_coordinates_keep_what_lies_in_the_span_of_the_means():
    means, h = randn(4, 3), randn(50, 3, seed=1)  # d = k - 1: nothing is dropped
    size = (means - means.mean(0)).square().sum(1).mean().sqrt()
    found = simplex_coordinates(h.float(), means)
    torch.testing.assert_close(torch.cdist(found, found), torch.cdist(h, h) / size, rtol=1e-5, atol=1e-5)


def test_refusals_of_alignment():
    with pytest.raises(InputError, match="at least two rows"):
        align(randn(1, 3))
    with pytest.raises(InputError, match="ideal must have 3 rows"):
        align(randn(3, 3), randn(4, 3))
    with pytest.raises(InputError, match="means must be a matrix"):
        align(randn(3))
    with pytest.raises(InputError, match="features must have 3 columns"):
        simplex_coordinates(randn(5, 2), randn(4, 3))
    with pytest.raises(UndefinedMetric, match="coincide"):
        simplex_coordinates(randn(5, 3), torch.ones(4, 3))


@pytest.mark.parametrize("distance", [gram_distance, procrustes_distance])
def test_distance_is_blind_to_position_and_size(distance):
    for ideal in (simplex_etf(5, 4), orthogonal_frame(5, 5), orthoplex(6, 3), cube(8, 3)):
        d = ideal.shape[1]
        turned = 2.5 * torch.nn.functional.pad(ideal, (0, 2)) @ torch.linalg.qr(randn(d + 2, d + 2)).Q
        assert float(distance(turned, ideal)) < 1e-12
        assert 0.01 < float(distance(turned + 0.5 * randn(*turned.shape), ideal)) < math.sqrt(2)


def test_distance_between_simplex_and_frame():
    k = 5
    # <Pi, I> / (|Pi| |I|) = (K-1) / sqrt((K-1) K)
    expected = math.sqrt(2 - 2 * math.sqrt((k - 1) / k))
    assert float(gram_distance(simplex_etf(k, 6), orthogonal_frame(k, 6))) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("distance", [gram_distance, procrustes_distance])
def test_refusals_of_distance(distance):
    with pytest.raises(InputError, match="ideal must have 3 rows"):
        distance(randn(3, 2), randn(4, 2))
    with pytest.raises(UndefinedMetric, match="zero"):
        distance(torch.zeros(3, 2), randn(3, 2))
