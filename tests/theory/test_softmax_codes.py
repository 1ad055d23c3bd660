"""More classes than d + 1: symmetric codes, what random starts find beside them, and the hard maximum."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.geometry import (
    KNOWN_CODES,
    code_distance,
    one_versus_rest_distances,
    orthoplex,
    simplex_etf,
    smallest_one_versus_rest,
    softmax_code,
)
from collapselab.theory import SoftmaxCodes, descend_on_sphere, gradient, hardmax, hardmax_features
from collapselab.theory._codes.codes import known_codes, pairs_known
from collapselab.theory._codes.hardmax import _LogLossOnSphere
from tolerances import REFERENCE


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_loss(h: np.ndarray, w: np.ndarray, tau: float) -> float:
    """Jiang et al. 2023, equation 2: cross-entropy of <w_j, h_k> / tau, one class at a time."""
    total = 0.0
    for k in range(len(h)):
        total += math.log(sum(math.exp((w[j] @ h[k] - w[k] @ h[k]) / tau) for j in range(len(w))))
    return total / len(h)


def lowest(k: int, d: int, tau: float, starts: int) -> tuple[float, torch.Tensor]:
    """Logarithm of the loss and class vectors of the lowest of several descents."""
    ends = [descend_on_sphere(k, d, tau, generator(seed)) for seed in range(starts)]
    best = min(ends, key=lambda end: end.stats["log_loss"])
    return best.stats["log_loss"], best.end["weight"]


# ------------------------------------------------------------------------------------------------ codes
@pytest.mark.parametrize(("k", "d"), [*pairs_known(), (9, 2), (8, 4)])
def test_codes_are_unit_vectors_at_rest_at_every_temperature(k: int, d: int) -> None:
    known = known_codes(k, d)
    assert known is not None
    for code in known.codes:
        rows = code.make()
        assert rows.shape == (k, d)
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(k, dtype=torch.float64), rtol=1e-12, atol=0)
        torch.testing.assert_close(rows.sum(0), torch.zeros(d, dtype=torch.float64), rtol=0, atol=1e-12)
        for tau in (0.1, 1.0):
            _, slopes = gradient(_LogLossOnSphere(k, d, tau), {"h": rows, "weight": rows})
            assert max(float(slope.abs().max()) for slope in slopes.values()) < 1e-12


@pytest.mark.parametrize(("k", "d"), [(12, 3), (16, 5), (27, 6), (56, 7), (9, 2), (8, 4)])
def test_codes_that_are_always_lowest_are_the_softmax_codes(k: int, d: int) -> None:
    predicted = SoftmaxCodes(k, d, 0.3).predicts()["generalised_nc2"]
    assert predicted == pytest.approx(code_distance(k, d), abs=1e-12)


def test_row_21_of_the_acceptance_table() -> None:
    """Simplex, cross-polytope and icosahedron; the last from its own coordinates."""
    for k in (3, 5, 10):
        assert float(smallest_one_versus_rest(simplex_etf(k, k))) == pytest.approx(k / (k - 1), abs=1e-12)
    assert float(smallest_one_versus_rest(orthoplex(8, 4))) == pytest.approx(1, abs=1e-12)
    icosahedron = SoftmaxCodes(12, 3).minimiser(generator())["weight"]
    assert float(smallest_one_versus_rest(icosahedron)) == pytest.approx(0.55279, abs=1e-5)
    assert KNOWN_CODES[12, 3] == pytest.approx(float(one_versus_rest_distances(icosahedron).max()), abs=1e-12)


# ------------------------------------------------------------------------------------------------ searches
@pytest.mark.parametrize("landscape", SoftmaxCodes.examples(), ids=lambda x: f"{x.num_classes}-{x.num_features}")
def test_no_random_start_ends_below(landscape: SoftmaxCodes) -> None:
    """And one of a few ends at the stated value."""
    log_loss, _ = lowest(landscape.num_classes, landscape.num_features, landscape.temperature, 6)
    assert log_loss == pytest.approx(math.log(landscape.minimum), abs=1e-9)


def test_ten_classes_in_four_dimensions_exchange_their_code() -> None:
    """Petersen's code below a temperature of 0.2719, two pentagons above; the other one keeps descents for a while."""
    exchange = SoftmaxCodes(10, 4).thresholds()["temperature_of_exchange"]
    assert exchange == pytest.approx(0.27189, abs=1e-5)
    below, above = SoftmaxCodes(10, 4, 0.999 * exchange), SoftmaxCodes(10, 4, 1.001 * exchange)
    assert (below.code, above.code) == ("Petersen code", "two pentagons")
    assert below.predicts()["generalised_nc2"] == pytest.approx(5 / 6)
    assert above.predicts()["generalised_nc2"] == pytest.approx(1 - math.cos(0.4 * math.pi))
    assert len(below.local_minimisers()) == len(above.local_minimisers()) == 1
    assert SoftmaxCodes(10, 4, 0.1).local_minimisers() == ()
    assert SoftmaxCodes(10, 4, 0.5).local_minimisers() == ()
    ends = [descend_on_sphere(10, 4, 0.3, generator(seed)).stats["log_loss"] for seed in range(6)]
    other = math.log(float(SoftmaxCodes(10, 4, 0.3).loss(SoftmaxCodes(10, 4, 0.3).local_minimisers()[0])))
    assert any(end == pytest.approx(other, abs=1e-9) for end in ends)


def test_seven_classes_in_three_dimensions() -> None:
    """A pentagonal bipyramid at middle temperatures; it loses its stability, and class vectors tend to the code."""
    best = float(smallest_one_versus_rest(softmax_code(7, 3)))
    assert best == pytest.approx(0.78986, abs=1e-5)
    assert SoftmaxCodes(7, 3, 0.4).predicts()["generalised_nc2"] == pytest.approx(0.690983, abs=1e-6)
    found = [float(smallest_one_versus_rest(lowest(7, 3, tau, 2)[1])) for tau in (1.0, 0.5, 0.1, 0.03)]
    np.testing.assert_allclose(found, [0.7079, 0.6910, 0.7572, 0.7798], atol=1e-4)
    bipyramid = SoftmaxCodes(7, 3, 0.4).minimiser()
    low = lowest(7, 3, 0.1, 2)[0]
    at_rest = descend_on_sphere(7, 3, 0.1, bipyramid)
    assert at_rest.stats["log_loss"] > low + 0.2  # a descent that starts there exactly stays at the saddle


def test_a_code_that_is_the_softmax_code_need_not_be_lowest() -> None:
    """Five classes in three dimensions: below 0.146 something lies lower that is less far from the hull of the rest."""
    landscape = SoftmaxCodes(5, 3, 0.15)
    assert landscape.predicts()["generalised_nc2"] == pytest.approx(1)
    rows = landscape.minimiser()
    log_loss, weight = lowest(5, 3, 0.1, 3)
    assert log_loss < math.log(slow_loss(rows["h"].numpy(), rows["weight"].numpy(), 0.1)) - 0.03
    assert float(smallest_one_versus_rest(weight)) == pytest.approx(0.99228, abs=1e-4)


def test_loss_against_its_twin() -> None:
    landscape = SoftmaxCodes(6, 3, 0.7)
    state = landscape.draw(generator())
    slow = slow_loss(state["h"].numpy(), state["weight"].numpy(), 0.7)
    REFERENCE.check(landscape.loss(state), slow)
    assert descend_on_sphere(6, 3, 0.7, state).states[0]["h"].equal(landscape.chart(state)["h"])


# ------------------------------------------------------------------------------------------------ the hard maximum
def test_hard_maximum_is_the_limit_of_cross_entropy() -> None:
    """tau log L between the hard maximum and that plus tau log((K - 1)) + tau times what log L and the mean differ."""
    rows = softmax_code(12, 3)
    for tau in (0.02, 0.005):
        log_loss = descend_on_sphere(12, 3, tau, {"h": rows, "weight": rows}).stats["log_loss"]
        assert tau * log_loss == pytest.approx(hardmax(rows, rows), abs=tau * math.log(12))


def test_duality_of_the_hard_maximum() -> None:
    """No unit features do better than those along the ways from the hull, and these reach the distance."""
    for k, d in ((5, 3), (8, 20), (12, 3)):
        rows = torch.nn.functional.normalize(torch.randn(k, d, generator=generator(k), dtype=torch.float64))
        rows = rows if float(smallest_one_versus_rest(rows)) > 1e-6 else softmax_code(k, d)
        distance = float(smallest_one_versus_rest(rows))
        best = hardmax_features(rows)
        assert hardmax(rows, best) == pytest.approx(-distance, abs=1e-12)
        for seed in range(50):
            h = torch.nn.functional.normalize(best + 0.1 * torch.randn(k, d, generator=generator(seed)))
            assert hardmax(rows, h) >= -distance - 1e-12


# ------------------------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_classes": 4}, "num_classes must be above 4, got 4: up to there it is a simplex, see SpherePairs"),
        ({"num_classes": 9}, "any in 2 dimensions, K = 2d, or 5 in 3, .*; got 9 in 3. descend_on_sphere searches"),
        ({"num_features": 1}, "num_features must be an integer of at least 2, got 1"),
        ({"temperature": 0.0}, "temperature must be a finite number above 0, got 0"),
        ({"num_classes": 7, "temperature": 1.0}, "temperature must be between 0.208 and 0.946 for 7 classes in 3 dim"),
        ({"num_classes": 5, "temperature": 0.1}, "temperature must be between 0.146 and inf"),
    ],
)
def test_bad_settings(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SoftmaxCodes(**({"num_classes": 6, "num_features": 3} | fields))


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="h must have the shape of weight"):
        hardmax(torch.ones(3, 2), torch.ones(4, 2))
    inside = torch.tensor([[1.0, 0], [-1, 1], [-1, -1], [0, 0]])
    with pytest.raises(InputError, match="weight must have no row in the hull of the others, got one: row 3"):
        hardmax_features(inside)
    with pytest.raises(InputError, match="temperature must be"):
        descend_on_sphere(4, 2, -1.0, generator())
