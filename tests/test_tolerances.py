"""The policies refuse what they should refuse."""

import math

import numpy as np
import pytest
import torch

from configurations import collapsed, etf_rows
from tolerances import EXACT, IDENTITY, MONTE_CARLO, OPTIMUM, ORDER, PRECISION, REFERENCE


@pytest.mark.parametrize("policy", [IDENTITY, REFERENCE, IDENTITY.times(3), PRECISION.at(100)])
def test_relative_policies_accept_half_of_their_bound_and_refuse_twice(policy):
    policy.check(torch.tensor(1 + policy.rtol / 2, dtype=torch.float64), 1.0)
    with pytest.raises(AssertionError, match=policy.name.split(maxsplit=1)[0]):
        policy.check(torch.tensor(1 + policy.rtol * 2, dtype=torch.float64), 1.0)


def test_zero_has_no_relative_error_unless_a_floor_is_named():
    IDENTITY.floor(1.0).check(1e-10, 0.0)
    with pytest.raises(AssertionError):
        IDENTITY.check(1e-10, 0.0)


def test_precision_follows_the_rounding_of_a_sum():
    assert PRECISION.at(400).rtol == pytest.approx(2 * PRECISION.at(100).rtol)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (torch.ones(2), torch.ones(2, dtype=torch.float64)),
        (torch.tensor(1.0), torch.tensor(1.0 + torch.finfo(torch.float32).eps)),
        (np.ones(2), np.ones((2, 1))),
        (1.0, math.nextafter(1.0, 2.0)),
    ],
)
def test_exact_refuses_another_dtype_shape_or_bit(left, right):
    EXACT.check(left, left)
    with pytest.raises(AssertionError):
        EXACT.check(left, right)


def test_optimum_wants_value_and_gradient():
    OPTIMUM.check(1.0 + 1e-9, 1.0, gradient_norm=1e-7)
    with pytest.raises(AssertionError, match="gap"):
        OPTIMUM.check(1.0 + 1e-7, 1.0, gradient_norm=1e-7)
    with pytest.raises(AssertionError, match="gradient"):
        OPTIMUM.check(1.0, 1.0, gradient_norm=1e-5)


def test_monte_carlo_counts_standard_errors(generator):
    draws = torch.randn(4000, generator=generator, dtype=torch.float64)
    MONTE_CARLO.check(draws, 0.0)
    with pytest.raises(AssertionError, match="standard errors"):
        MONTE_CARLO.check(draws + 0.2, 0.0)


def test_order_is_a_slope():
    steps = [0.1, 0.05, 0.025]
    ORDER.check(steps, [h**2 for h in steps], order=2)
    with pytest.raises(AssertionError, match="slope"):
        ORDER.check(steps, [h**1.5 for h in steps], order=2)


@pytest.mark.parametrize(("classes", "features"), [(2, 1), (3, None), (10, 64)])
def test_the_simplex_of_the_tests_is_one(classes, features):
    rows = etf_rows(classes, features=features)
    expected = torch.full((classes, classes), -1.0 / (classes - 1), dtype=torch.float64).fill_diagonal_(1.0)
    IDENTITY.check(rows @ rows.T, expected)
    stats = collapsed(classes, features=features, radius=3.0, offset=7.0)
    IDENTITY.check(stats.centred_means.norm(dim=1), torch.full((classes,), 3.0))
