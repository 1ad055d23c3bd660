"""Generalised NC1 and NC2: codes, directions, and what is refused."""

import math

import pytest
import torch

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.geometry import KNOWN_CODES, orthoplex, simplex_etf, softmax_code
from collapselab.metrics import REGISTRY
from collapselab.metrics.generalised import MOST_CLASSES, generalised_nc1, generalised_nc2
from collapselab.metrics.variability import nc1_pinv
from tolerances import IDENTITY


def some(k: int, d: int, n: int, seed: int = 0) -> LabelledFeatures:
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % k
    h = torch.randn(k, d, generator=g, dtype=torch.float64)[y] + 0.3 * torch.randn(n, d, generator=g).double()
    return LabelledFeatures(h, y, k)


def nc2_of(rows: torch.Tensor) -> float:
    k, d = rows.shape
    return float(generalised_nc2(ClassStats.of(some(k, d, 2 * k)), LinearHead(rows)))


def test_nc1_is_that_of_directions() -> None:
    """Also for more samples than a chunk, and where a class was never seen."""
    for features in (some(4, 6, 30), some(12, 3, 5000), some(3, 40, 20)):
        unit = torch.nn.functional.normalize(features.h)
        expected = nc1_pinv(ClassStats.of(LabelledFeatures(unit, features.y, features.num_classes)))
        IDENTITY.check(generalised_nc1(features), expected)
        stretched = features.h * torch.rand(len(unit), 1, generator=torch.Generator().manual_seed(1)).add(0.1)
        IDENTITY.check(generalised_nc1(LabelledFeatures(stretched, features.y, features.num_classes + 2)), expected)


def test_nc1_does_not_see_the_length_of_features() -> None:
    """Collapsed directions with any norms."""
    y = torch.arange(12) % 4
    rows = simplex_etf(4, 3)[y] * torch.linspace(0.5, 2, 12, dtype=torch.float64)[:, None]
    assert float(generalised_nc1(LabelledFeatures(rows, y, 4))) < 1e-28
    assert float(nc1_pinv(ClassStats.of(LabelledFeatures(rows, y, 4)))) > 1e-2


def test_nc1_that_has_no_value() -> None:
    features = some(3, 4, 9)
    zero = features.h.clone()
    zero[4] = 0
    with pytest.raises(UndefinedMetric, match="the feature of sample 4 is zero"):
        generalised_nc1(LabelledFeatures(zero, features.y, 3))
    along = torch.arange(1, 7, dtype=torch.float64)[:, None] * torch.tensor([[0.6, 0.8]]).double()
    with pytest.raises(UndefinedMetric, match="the class means of the unit features coincide"):
        generalised_nc1(LabelledFeatures(along, torch.arange(6) % 2, 2))
    with pytest.raises(UndefinedMetric, match="at least two classes"):
        generalised_nc1(LabelledFeatures(features.h, torch.zeros(9, dtype=torch.int64), 2))


@pytest.mark.parametrize(("k", "d"), [(2, 1), (4, 3), (6, 3), (5, 3), (12, 3), (9, 2), (16, 5)])
def test_nc2_of_codes(k: int, d: int) -> None:
    """Row 21 of the acceptance table: simplex, cross-polytope, icosahedron; at any length of the rows."""
    rows = softmax_code(k, d) * torch.linspace(1, 3, k, dtype=torch.float64)[:, None]
    limit = REGISTRY["generalised_nc2"].limit(k, d)
    assert limit is not None
    assert nc2_of(rows) == pytest.approx(limit, abs=1e-5 if (k, d) in KNOWN_CODES else 1e-12)


def test_nc2_limit_is_not_stated_where_no_code_is_known() -> None:
    limit = REGISTRY["generalised_nc2"].limit
    assert limit(7, 3) is None
    assert limit(1, 3) is None
    assert limit(1000, 512) == 1.0
    assert limit(1000, 2048) == 1000 / 999


def test_nc2_inside_the_hull_and_for_many_classes() -> None:
    g = torch.Generator().manual_seed(0)
    equal = torch.randn(5, 4, generator=g, dtype=torch.float64)
    assert nc2_of(torch.cat([equal, equal[:1]])) < 1e-14
    assert nc2_of(orthoplex(100, 50)) == pytest.approx(1, abs=1e-12)
    many = torch.randn(MOST_CLASSES + 1, 3, generator=g, dtype=torch.float64)
    with pytest.raises(UndefinedMetric, match="takes too long for 513 classes, the limit is 512: ask geometry"):
        nc2_of(many)
    with pytest.raises(UndefinedMetric, match="a classifier row is zero"):
        nc2_of(torch.cat([equal, 0 * equal[:1]]))


def test_nc2_is_what_it_is_on_a_noisy_simplex() -> None:
    """First order in the noise: not below the code by more than twice the largest displacement."""
    g = torch.Generator().manual_seed(0)
    noise = 1e-4 * torch.randn(10, 16, generator=g, dtype=torch.float64)
    found = nc2_of(simplex_etf(10, 16) + noise)
    assert 0 < 10 / 9 - found < 2 * float(noise.norm(dim=1).max()) * math.sqrt(10 / 9)
