"""Ideal configurations: their Gram matrices, and what they refuse."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.errors import InputError
from collapselab.geometry import canonical_simplex, cube, orthogonal_frame, orthoplex, simplex_etf


def simplex_gram(k):
    return torch.full((k, k), -1 / (k - 1), dtype=torch.float64).fill_diagonal_(1.0)


def gram_is(rows, expected):
    assert rows.dtype == torch.float64
    torch.testing.assert_close(rows @ rows.T, expected, rtol=0, atol=1e-12)


def some(seed):
    return None if seed is None else torch.Generator().manual_seed(seed)


@given(k=st.integers(2, 40), extra=st.integers(0, 30), seed=st.one_of(st.none(), st.integers(0, 2**31)))
def test_simplex(k, extra, seed):
    rows = simplex_etf(k, k - 1 + extra, generator=some(seed))
    assert rows.shape == (k, k - 1 + extra)
    gram_is(rows, simplex_gram(k))
    assert float(rows.sum(0).abs().max()) < 1e-12


@pytest.mark.parametrize("k", [2, 3, 4, 10, 100, 1000])
def test_canonical_simplex(k):
    rows = canonical_simplex(k)
    assert rows.shape == (k, k - 1)
    gram_is(rows, simplex_gram(k))
    assert rows[0, 0] == pytest.approx(1.0, abs=1e-14)
    assert float(rows[0, 1:].abs().sum()) == 0.0
    assert torch.equal(rows.triu(1)[: k - 1], torch.zeros(k - 1, k - 1, dtype=torch.float64))


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_orthogonal_frame(seed):
    gram_is(orthogonal_frame(6, 9, generator=some(seed)), torch.eye(6, dtype=torch.float64))
    gram_is(orthogonal_frame(6, 6, generator=some(seed)), torch.eye(6, dtype=torch.float64))


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("d", [4, 7])
def test_orthoplex(seed, d):
    half = torch.eye(4, dtype=torch.float64)
    gram_is(
        orthoplex(8, d, generator=some(seed)), torch.cat([torch.cat([half, -half], 1), torch.cat([-half, half], 1)])
    )


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("d", [3, 5])
def test_cube(seed, d):
    apart = torch.tensor([[bin(i ^ j).count("1") for j in range(8)] for i in range(8)], dtype=torch.float64)
    gram_is(cube(8, d, generator=some(seed)), 1 - 2 * apart / 3)


def test_signs_of_a_cube_are_binary_digits():
    signs = (cube(8, 3) * math.sqrt(3)).round()
    assert signs[0].tolist() == [1, 1, 1]
    assert signs[1].tolist() == [1, 1, -1]
    assert signs[4].tolist() == [-1, 1, 1]


def test_a_generator_turns_and_repeats():
    a, b = (simplex_etf(4, 6, generator=some(5)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.allclose(a, simplex_etf(4, 6, generator=some(6)))
    assert torch.equal(simplex_etf(4, 6), simplex_etf(4, 6))


def test_random_positions_have_no_preferred_direction():
    g = some(0)
    first = torch.stack([simplex_etf(3, 4, generator=g)[0] for _ in range(4000)])
    error = 4 / math.sqrt(4 * 4000)
    assert float(first.mean(0).abs().max()) < error
    assert float((first.T @ first / 4000 - torch.eye(4) / 4).abs().max()) < error


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: simplex_etf(1, 5), "num_classes must be an integer of at least 2, got 1"),
        (lambda: simplex_etf(2.0, 5), "num_classes must be an integer of at least 2, got 2.0"),
        (lambda: simplex_etf(True, 5), "num_classes must be an integer"),
        (lambda: simplex_etf(5, 3), "num_features must be at least 4 for 5 classes"),
        (lambda: simplex_etf(5, 0), "num_features must be an integer of at least 1, got 0"),
        (lambda: canonical_simplex(0), "num_classes"),
        (lambda: orthogonal_frame(5, 4), "at least 5 for 5 classes"),
        (lambda: orthoplex(5, 4), "orthoplex must be even, got 5"),
        (lambda: orthoplex(10, 4), "at least 5 for 10 classes"),
        (lambda: cube(6, 4), "power of two, got 6"),
        (lambda: cube(16, 3), "at least 4 for 16 classes"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
