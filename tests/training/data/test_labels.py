"""Label noise, random labels, super-classes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.errors import InputError
from collapselab.training.data import Samples, Splits
from collapselab.training.data.labels import Labels
from tolerances import EXACT


def splits_of(counts: list[int], *, seed: int = 0) -> Splits:
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))]
    return Splits(Samples(torch.arange(float(len(y)))[:, None], y), Samples(-torch.ones(2, 1), y[:2]), len(counts))


def confusion(before: torch.Tensor, after: torch.Tensor, num_classes: int) -> np.ndarray:
    """Samples of each true class (rows) by what they are called (columns), counted one by one."""
    table = np.zeros((num_classes, num_classes), dtype=np.int64)
    for k, j in zip(before.tolist(), after.tolist(), strict=True):
        table[k, j] += 1
    return table


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=7), hundredths=st.integers(0, 100), seed=st.integers(0, 9)
)
def test_noise_is_exact_and_even(counts: list[int], hundredths: int, seed: int) -> None:
    splits = splits_of(counts)
    noisy = Labels(noise=hundredths / 100).apply(splits, torch.Generator().manual_seed(seed))
    table = confusion(splits.train.y, noisy.train.y, len(counts))
    for k, n in enumerate(counts):
        wrong = np.delete(table[k], k)
        assert wrong.sum() == hundredths * n // 100  # whole numbers: no rounding of the product
        assert wrong.max() - wrong.min() <= 1
    if len(set(counts)) == 1:
        assert table.sum(0).tolist() == counts  # classes keep their size
    EXACT.check(noisy.test.y, splits.test.y)
    assert noisy.train.x is splits.train.x


def test_noise_of_the_published_study(generator: torch.Generator) -> None:
    """500 of each of three classes, int(p 500) of them relabelled, half to each other class."""
    splits = splits_of([500] * 3)
    for p in (0.1, 0.6, 2 / 3, 0.7, 0.8):
        table = confusion(splits.train.y, Labels(noise=p).apply(splits, generator).train.y, 3)
        for k in range(3):
            assert 500 - table[k, k] == int(p * 500)
            assert {table[k, j] for j in range(3) if j != k} <= {int(p * 500) // 2, -(-int(p * 500) // 2)}


def test_noise_hits_samples_at_random(generator: torch.Generator) -> None:
    splits = splits_of([100, 100])
    first, second = (Labels(noise=0.5).apply(splits, generator).train.y != splits.train.y for _ in range(2))
    assert 20 < int((first & second).sum()) < 80  # 50 on average, of 100 wrong ones each


def test_random_labels(generator: torch.Generator) -> None:
    splits = splits_of([40, 40, 20])
    shuffled = Labels(random=True).apply(splits, generator)
    assert torch.bincount(shuffled.train.y).tolist() == [40, 40, 20]
    assert 0.2 < float((shuffled.train.y == splits.train.y).double().mean()) < 0.55  # 0.36 on average
    EXACT.check(shuffled.test.y, splits.test.y)
    again = Labels(random=True).apply(splits, torch.Generator().manual_seed(0))
    EXACT.check(again.train.y, shuffled.train.y)


@given(num_classes=st.integers(3, 60), data=st.data())
def test_coarse_labels(num_classes: int, data: st.DataObject) -> None:
    coarse = data.draw(st.integers(2, num_classes - 1))
    splits = splits_of([1] * num_classes)
    found = Labels(coarse=coarse).apply(splits, torch.Generator())
    expected = [k * coarse // num_classes for k in splits.train.y.tolist()]
    assert found.train.y.tolist() == expected
    assert found.test.y.tolist() == [k * coarse // num_classes for k in splits.test.y.tolist()]
    assert found.num_classes == coarse
    sizes = torch.bincount(found.train.y, minlength=coarse)
    assert int(sizes.min()) >= 1
    assert int(sizes.max() - sizes.min()) <= 1
    assert found.train.y.dtype == torch.int64


def test_noise_is_among_super_classes(generator: torch.Generator) -> None:
    splits = splits_of([30] * 6)
    plain = Labels(coarse=3).apply(splits, generator)
    noisy = Labels(coarse=3, noise=0.5).apply(splits, generator)
    table = confusion(plain.train.y, noisy.train.y, 3)
    assert table.diagonal().tolist() == [30] * 3
    EXACT.check(noisy.test.y, plain.test.y)


def test_nothing_is_changed_by_default(generator: torch.Generator) -> None:
    splits = splits_of([3, 3])
    before = generator.get_state()
    assert Labels().apply(splits, generator) is splits
    EXACT.check(generator.get_state(), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": -0.1}, "noise must be a finite number of at least 0"),
        ({"noise": 1.1}, "noise must be a finite number of at least 0 and at most 1, got 1.1"),
        ({"noise": 0.1, "random": True}, "noise must be 0 with random labels, got 0.1"),
        ({"random": "yes"}, "random must be true or false, got 'yes'"),
        ({"coarse": 1}, "coarse must be an integer of at least 2, got 1"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Labels(**settings)  # pyright: ignore[reportArgumentType]


def test_as_many_super_classes_as_classes(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="coarse must be at most 2, below the classes, got 3"):
        Labels(coarse=3).apply(splits_of([1] * 3), generator)
