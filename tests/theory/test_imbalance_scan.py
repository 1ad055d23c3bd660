"""All imbalances at once against one at a time, and on both sides of the threshold."""

import pytest

from collapselab.core.errors import InputError
from collapselab.theory import LayerPeeled, imbalance_scan, minority_collapse_threshold


def test_the_scan_is_the_model_at_each_imbalance() -> None:
    ratios, threshold = [10 ** (i / 10) for i in range(41)], minority_collapse_threshold(5, 5, 5.0)
    for at in imbalance_scan(5, 5, ratios, 2.5, 2.0):
        one = LayerPeeled((1,) * 10, 10, 2.0, 2.5, (at.imbalance,) * 5 + (1.0,) * 5)
        assert at.minimum == pytest.approx(one.minimum, rel=1e-12)
        assert at.gap < 1e-11
        assert at.merged == (at.imbalance > threshold)
        if at.imbalance > 1:  # equal classes are one group there
            expected = one.geometry()
            assert at.cosine(1, 1) == pytest.approx(expected.weights.cosines().between[1][1], abs=1e-9)
            assert at.geometry.means.own == pytest.approx(expected.means.own, rel=1e-9)


def test_cosines_of_the_minority_rise() -> None:
    cosines = [at.cosine(1, 1) for at in imbalance_scan(3, 7, [1.0, 2.0, 4.0, 30.0, 200.0], 5.0)]
    assert cosines == sorted(cosines)
    assert cosines[0] == pytest.approx(-1 / 9, abs=1e-12)


def test_refuses() -> None:
    with pytest.raises(InputError, match="imbalances must be one at least, got none"):
        imbalance_scan(5, 5, [])
    with pytest.raises(InputError, match=r"imbalances\[1\] must be a finite number above 0"):
        imbalance_scan(5, 5, [1.0, 0.0])
    with pytest.raises(InputError, match="num_minority must be an integer of at least 1"):
        imbalance_scan(5, 0, [1.0])
