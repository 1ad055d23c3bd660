"""Oversampling and class weights."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.errors import InputError
from collapselab.training.data.balance import Balance
from tolerances import EXACT, PRECISION

COUNTS = st.lists(st.integers(1, 50), min_size=2, max_size=8)


def labels_of(counts: list[int]) -> torch.Tensor:
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return y[torch.randperm(len(y), generator=torch.Generator().manual_seed(5))]


def weights_twin(counts: list[int], kind: str, beta: float) -> np.ndarray:
    """One class at a time; the effective number as its sum 1 + beta + beta^2 + ..."""
    raw = [1 / (n if kind == "inverse" else sum(beta**i for i in range(n))) for n in counts]
    mean = sum(w * n for w, n in zip(raw, counts, strict=True)) / sum(counts)
    return np.array([w / mean for w in raw])


@given(counts=COUNTS, seed=st.integers(0, 20))
def test_oversampled_epoch(counts: list[int], seed: int) -> None:
    y, balance = labels_of(counts), Balance(oversample=True)
    rows = balance.order(y, len(counts), torch.Generator().manual_seed(seed))
    assert len(rows) == balance.epoch_size(y, len(counts)) == max(counts) * len(counts)
    assert torch.bincount(y[rows]).tolist() == [max(counts)] * len(counts)
    times = torch.bincount(rows, minlength=len(y))
    for k, n in enumerate(counts):  # whole repetitions, and a part of the class once more
        assert set(times[y == k].tolist()) <= {max(counts) // n, -(-max(counts) // n)}
    EXACT.check(balance.order(y, len(counts), torch.Generator().manual_seed(seed)), rows)


@given(counts=COUNTS)
def test_plain_epoch_is_a_permutation(counts: list[int]) -> None:
    y = labels_of(counts)
    rows = Balance().order(y, len(counts), torch.Generator().manual_seed(1))
    EXACT.check(rows.sort().values, torch.arange(len(y)))
    assert Balance().epoch_size(y, len(counts)) == len(y)
    EXACT.check(rows, torch.randperm(len(y), generator=torch.Generator().manual_seed(1)))  # as without any balancing


def test_remainder_and_order_change_from_epoch_to_epoch(generator: torch.Generator) -> None:
    y, balance = labels_of([30, 20]), Balance(oversample=True)
    first, second = (balance.order(y, 2, generator) for _ in range(2))
    assert not torch.equal(first, second)
    assert not torch.equal(torch.bincount(first), torch.bincount(second))
    assert 5 < int((y[first] == 1)[:25].sum()) < 20  # classes are mixed


@pytest.mark.parametrize("kind", ["inverse", "effective"])
@given(counts=COUNTS, beta=st.floats(0, 0.9999))
def test_weights(kind: str, counts: list[int], beta: float) -> None:
    y = labels_of(counts)
    weights = Balance(class_weights=kind, beta=beta).weights(y, len(counts))  # pyright: ignore[reportArgumentType]
    assert weights is not None
    assert weights.dtype == torch.float32
    PRECISION.at(1).check(weights, weights_twin(counts, kind, beta))
    PRECISION.at(1).check(weights[y].double().mean(), 1.0)
    order = np.argsort(counts)
    assert (np.diff(weights.numpy()[order]) <= 1e-6 * weights.numpy()[order][:-1]).all()  # rarer is heavier


def test_known_weights() -> None:
    y = labels_of([90, 10])
    PRECISION.at(1).check(Balance(class_weights="inverse").weights(y, 2), [100 / 180, 5.0])
    PRECISION.at(1).check(Balance(class_weights="effective", beta=0.0).weights(y, 2), [1.0, 1.0])
    near = Balance(class_weights="effective", beta=1 - 1e-12).weights(y, 2)
    PRECISION.at(1).check(near, Balance(class_weights="inverse").weights(y, 2))
    assert Balance().weights(y, 2) is None


def test_empty_class(generator: torch.Generator) -> None:
    y = labels_of([3, 0, 2])
    for act in (
        lambda: Balance(oversample=True).order(y, 3, generator),
        lambda: Balance(oversample=True).epoch_size(y, 3),
        lambda: Balance(class_weights="inverse").weights(y, 3),
    ):
        with pytest.raises(InputError, match="every class must have a training sample, got none of class 1"):
            act()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"oversample": 1}, "oversample must be true or false, got 1"),
        ({"class_weights": "sqrt"}, "class_weights must be one of none, inverse, effective, got 'sqrt'"),
        ({"beta": 1.0}, "beta must be a finite number of at least 0 and below 1, got 1.0"),
        ({"beta": -0.1}, "beta must be a finite number of at least 0"),
        ({"oversample": True, "class_weights": "inverse"}, "class_weights must be none with oversampling, got inverse"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Balance(**settings)  # pyright: ignore[reportArgumentType]
