"""The smallest one-versus-rest distance, beside the smallest of all of them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapselab.core.errors import InputError
from collapselab.geometry import (
    one_versus_rest_distances,
    orthoplex,
    simplex_etf,
    smallest_one_versus_rest,
    softmax_code,
    ways_to_rest,
)
from tolerances import EXACT, IDENTITY

DISTANCE = IDENTITY.floor(1e-4)  # 1e-13 inside the hull, of rows of order 1


def randn(k: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(k, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(
    k=st.integers(2, 24),
    d=st.integers(1, 12),
    unit=st.booleans(),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60)
def test_random_rows(k: int, d: int, unit: bool, scale: float, seed: int) -> None:
    rows = randn(k, d, seed)
    rows = scale * (torch.nn.functional.normalize(rows) if unit else rows)
    found = smallest_one_versus_rest(rows)
    DISTANCE.check(found / scale, one_versus_rest_distances(rows).min() / scale)


@pytest.mark.parametrize("noise", [0.0, 1e-12, 1e-6, 1e-2])
def test_rows_near_ideal_configurations(noise: float) -> None:
    for rows in (simplex_etf(40, 50), orthoplex(20, 10), softmax_code(9, 2), softmax_code(12, 3), simplex_etf(2, 1)):
        moved = rows + noise * randn(*rows.shape)
        DISTANCE.check(smallest_one_versus_rest(moved), one_versus_rest_distances(moved).min())


def test_rows_that_coincide() -> None:
    EXACT.check(smallest_one_versus_rest(torch.ones(3, 2)), torch.tensor(0.0, dtype=torch.float64))
    EXACT.check(smallest_one_versus_rest(torch.zeros(3, 2)), torch.tensor(0.0, dtype=torch.float64))
    DISTANCE.check(smallest_one_versus_rest(torch.cat([randn(8, 5), randn(8, 5)])), 0.0)
    with pytest.raises(InputError, match="rows must be at least two"):
        smallest_one_versus_rest(torch.ones(1, 2))


def test_ways_are_normals_of_the_gap() -> None:
    """w_k + way lies no farther along the way than any other row: the duality of hull and direction."""
    for rows in (randn(12, 3), randn(5, 8), softmax_code(12, 3)):
        ways = ways_to_rest(rows)
        DISTANCE.check(ways.norm(dim=1), one_versus_rest_distances(rows))
        for k, way in enumerate(ways):
            others = rows[torch.arange(len(rows)) != k]
            assert float(((others - rows[k]) @ way).min()) >= float(way @ way) - 1e-12
