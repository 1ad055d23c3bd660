"""Log-spaced epochs."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.errors import InputError
from collapselab.experiments.clock import log_spaced


@given(last=st.integers(1, 2000), count=st.integers(1, 200))
def test_as_many_different_epochs_as_wanted(last: int, count: int) -> None:
    epochs = log_spaced(last, count)
    assert len(epochs) == min(count, last)
    assert list(epochs) == sorted(set(epochs))
    assert epochs[-1] == last
    assert epochs[0] == (1 if min(count, last) > 1 else last)


def test_late_gaps_grow_by_one_ratio() -> None:
    epochs = log_spaced(300, 12)[5:]
    ratios = [b / a for a, b in itertools.pairwise(epochs)]
    assert max(ratios) / min(ratios) < 1.08  # rounding to whole epochs


@pytest.mark.parametrize(("last", "count"), [(0, 3), (3, 0), (2.5, 2), (True, 2)])
def test_bad_arguments(last: int, count: int) -> None:
    with pytest.raises(InputError, match="must be an integer of at least 1"):
        log_spaced(last, count)
