"""Remedies as changes of what a class counts."""

import pytest

from collapselab.core.errors import InputError
from collapselab.theory import LayerPeeled, balancing_weights, oversampled, remedies

COUNTS = (1000, 1000, 1000, 10, 10)


def test_balancing_remedies_bring_the_simplex_back() -> None:
    found = remedies(COUNTS, 5.0)
    assert list(found) == ["none", "oversampling", "class_weights", "root_weights", "fixed_simplex"]
    assert isinstance(found["none"], LayerPeeled)
    assert found["none"].merged_groups == (1,)
    for name in ("oversampling", "class_weights", "fixed_simplex"):
        cosines = found[name].geometry().weights.cosines().between
        assert all(x == pytest.approx(-0.25, abs=1e-9) for row in cosines for x in row), name
        assert found[name].minimum == pytest.approx(LayerPeeled((1,) * 5, 4, 1.0, 5.0).minimum, rel=1e-12)
    assert (
        found["fixed_simplex"].minimum > found["none"].minimum
    )  # of the loss as it is, which the simplex is not best at


def test_repeating_samples_changes_counts_and_nothing_else() -> None:
    assert oversampled(COUNTS, 10) == (1000, 1000, 1000, 100, 100)
    shown = tuple(many / n for many, n in zip(oversampled(COUNTS, 10), COUNTS, strict=True))
    weighted = LayerPeeled(COUNTS, 5, class_weights=shown)
    assert weighted.minimum == pytest.approx(LayerPeeled(oversampled(COUNTS, 10), 5).minimum, rel=1e-13)


def test_remedies_that_need_more_features_are_left_out() -> None:
    found = remedies((1000, 10, 10, 10), num_features=1)
    assert list(found) == ["none"]
    assert found["none"].minimum == remedies((1000, 10, 10, 10))["none"].minimum
    with pytest.raises(InputError, match="num_features must be at least 3"):
        remedies((10, 10, 10, 10), num_features=1)


def test_weights() -> None:
    assert balancing_weights((100, 25), 0.0) == (1.0, 1.0)
    assert balancing_weights((100, 25), 0.5) == (1.0, 2.0)
    assert oversampled((100, 70, 40, 3)) == (100, 70, 80, 99)


def test_refuses() -> None:
    with pytest.raises(InputError, match="factor must be an integer of at least 1"):
        oversampled(COUNTS, 0)
    with pytest.raises(InputError, match="power must be a finite number"):
        balancing_weights(COUNTS, 2.0)
    with pytest.raises(InputError, match="counts must be those of two classes or more"):
        remedies("5,5")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=r"counts\[1\] must be an integer of at least 1, got 0"):
        remedies((5, 0))
