"""Step and exponential imbalance: sizes, which samples, errors; and fewer samples of each class."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.errors import InputError
from collapselab.training.data import Samples, Splits
from collapselab.training.data.imbalance import Imbalance
from collapselab.training.data.subsample import Subsample
from tolerances import EXACT


def splits_of(counts: list[int]) -> Splits:
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(5))]
    x = torch.arange(float(len(y)))[:, None]
    return Splits(Samples(x, y), Samples(-1 - x[:7], y[:7]), len(counts))


@given(n=st.integers(1, 6000), num_classes=st.integers(2, 20), ratio=st.floats(1, 2000), data=st.data())
def test_step_counts(n: int, num_classes: int, ratio: float, data: st.DataObject) -> None:
    few = data.draw(st.none() | st.integers(1, num_classes - 1))
    counts = Imbalance("step", ratio, few).counts(n, num_classes)
    few = num_classes // 2 if few is None else few
    assert counts[: num_classes - few] == (n,) * (num_classes - few)
    assert len(set(counts[num_classes - few :])) == 1
    assert counts[-1] >= 1
    assert abs(counts[-1] - n / ratio) <= 0.5 or (counts[-1] == 1 and n / ratio < 1)


@given(n=st.integers(1, 6000), num_classes=st.integers(2, 20), ratio=st.floats(1, 2000))
def test_exponential_counts(n: int, num_classes: int, ratio: float) -> None:
    imbalance = Imbalance("exponential", ratio)
    if n / ratio < 0.499:
        with pytest.raises(InputError, match=r"ratio must be at most .* class \d+ would be empty"):
            imbalance.counts(n, num_classes)
    elif n / ratio > 0.501:
        counts = imbalance.counts(n, num_classes)
        assert counts[0] == n
        assert list(counts) == sorted(counts, reverse=True)
        for k in range(num_classes):
            assert abs(counts[k] - n / ratio ** (k / (num_classes - 1))) <= 0.5 + 1e-9
        assert sum(counts) <= n * num_classes


def test_known_counts() -> None:
    """CIFAR-10 at ratio 100, as published; and the step of minority collapse."""
    assert Imbalance("exponential", 100).counts(5000, 10) == (5000, 2997, 1797, 1077, 646, 387, 232, 139, 83, 50)
    assert Imbalance("step", 1000).counts(5000, 10) == (5000,) * 5 + (5,) * 5
    assert Imbalance("step", 10, minority=1).counts(25, 3) == (25, 25, 3)
    assert Imbalance("step", 7).counts(10, 5) == (10, 10, 10, 1, 1)
    assert Imbalance().counts(7, 2) == (7, 7)


@pytest.mark.parametrize("profile", ["step", "exponential"])
def test_apply(profile: str, generator: torch.Generator) -> None:
    splits = splits_of([60, 64, 70, 60])
    imbalance = Imbalance(profile, 10)  # pyright: ignore[reportArgumentType]
    found = imbalance.apply(splits, generator)
    assert tuple(torch.bincount(found.train.y).tolist()) == imbalance.counts(60, 4)
    rows = found.train.x.flatten().long()
    EXACT.check(rows, rows.unique())  # in their old order, each once
    EXACT.check(splits.train.y[rows], found.train.y)
    assert found.test is splits.test
    same = imbalance.apply(splits, torch.Generator().manual_seed(0))
    EXACT.check(same.train.x, found.train.x)
    assert not torch.equal(imbalance.apply(splits, generator).train.x, found.train.x)
    more = Imbalance(profile, 30).apply(splits, torch.Generator().manual_seed(0))  # pyright: ignore[reportArgumentType]
    assert set(more.train.x.flatten().tolist()) < set(found.train.x.flatten().tolist())


def test_subsample(generator: torch.Generator) -> None:
    splits = splits_of([9, 12])
    assert Subsample().apply(splits, generator) is splits
    few, more = (Subsample(n).apply(splits, torch.Generator().manual_seed(0)) for n in (3, 9))
    assert torch.bincount(few.train.y).tolist() == [3, 3]
    assert torch.bincount(more.train.y).tolist() == [9, 9]
    assert set(few.train.x.flatten().tolist()) < set(more.train.x.flatten().tolist())
    assert few.test is splits.test
    assert not torch.equal(Subsample(3).apply(splits, torch.Generator().manual_seed(1)).train.x, few.train.x)
    with pytest.raises(InputError, match="per_class must be at most 9, the training samples of class 0, got 10"):
        Subsample(10).apply(splits, generator)
    with pytest.raises(InputError, match="per_class must be an integer of at least 1, got 0"):
        Subsample(0)


def test_every_sample_of_a_class_is_as_likely(generator: torch.Generator) -> None:
    splits = splits_of([4, 4])
    hits = torch.zeros(8)
    for _ in range(800):
        hits[Subsample(1).apply(splits, generator).train.x.flatten().long()] += 1
    assert float((hits - 200).abs().max()) < 4 * (800 * 0.25 * 0.75) ** 0.5  # four standard errors


def test_none_leaves_everything_as_it_is(generator: torch.Generator) -> None:
    splits = splits_of([3, 5])
    assert Imbalance().apply(splits, generator) is splits


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"profile": "linear"}, "profile must be one of none, step, exponential, got 'linear'"),
        ({"profile": "step", "ratio": 0.5}, "ratio must be a finite number of at least 1"),
        ({"ratio": 10.0}, "profile must be step or exponential where ratio is above 1, got none with 10"),
        ({"profile": "step", "minority": 0}, "minority must be an integer of at least 1"),
        ({"profile": "exponential", "minority": 2}, "minority belongs to the profile step, .* profile exponential"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Imbalance(**settings)  # pyright: ignore[reportArgumentType]


def test_what_does_not_fit_the_data(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="minority must be at most 1, one less than the classes, got 2"):
        Imbalance("step", 2, minority=2).apply(splits_of([4, 4]), generator)
    with pytest.raises(InputError, match="ratio must be at most 8 for 4 samples in the largest class, got 9: class 1"):
        Imbalance("exponential", 9).apply(splits_of([4, 4]), generator)
    with pytest.raises(InputError, match="every class must have a training sample, got none of class 1"):
        Imbalance("step", 2).apply(splits_of([4, 0, 3]), generator)
    with pytest.raises(InputError, match="profile step needs at least 2 classes, got 1"):
        Imbalance("step", 2).counts(4, 1)
