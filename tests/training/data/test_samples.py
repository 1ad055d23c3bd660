"""Samples in three ways of storage: what is taken is the same."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.training.data import Samples, Scaling, Splits, balanced_rows, balanced_split
from tolerances import EXACT, REFERENCE, Relative

# One subtraction and one division in float32, of numbers up to 255 with a standard deviation of a few.
ROUNDED = Relative("float32 inputs", 1e-6).floor(100)


class OnDemand:
    """Inputs that are made when asked for, with a record of what was."""

    def __init__(self, x: Tensor, asked: list[list[int]]) -> None:
        self.x, self.asked = x, asked

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape)

    def __getitem__(self, rows: Tensor) -> Tensor:
        self.asked.append(rows.tolist())
        return self.x[rows]

    def subset(self, rows: Tensor) -> "OnDemand":
        return OnDemand(self.x[rows], self.asked)


@pytest.fixture
def pixels(generator: torch.Generator) -> Tensor:
    return torch.randint(0, 256, (11, 3, 4, 5), generator=generator).to(torch.uint8)


def twin_of_scaling(x: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, one number after the other."""
    means, sds = [], []
    for c in range(x.shape[1]):
        values = [float(v) for image in x for v in image[c].ravel()]
        mean = sum(values) / len(values)
        means.append(mean)
        sds.append((sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5)
    return means, sds


def test_scaling_against_the_twin(pixels: Tensor) -> None:
    mean, sd = twin_of_scaling(pixels.numpy())
    found = Scaling.of(pixels)
    assert found.mean.shape == found.sd.shape == (3, 1, 1)
    ROUNDED.check(found.mean.flatten(), torch.tensor(mean))
    ROUNDED.check(found.sd.flatten(), torch.tensor(sd))
    scaled = found(pixels)
    assert scaled.dtype == torch.float32
    for (n, c, i, j), value in np.ndenumerate(pixels.numpy()):
        ROUNDED.check(scaled[n, c, i, j], (float(value) - mean[c]) / sd[c])


def test_scaling_standardises(pixels: Tensor) -> None:
    scaled = Scaling.of(pixels)(pixels).double()
    ROUNDED.check(scaled.mean((0, 2, 3)), torch.zeros(3))
    ROUNDED.check(scaled.std((0, 2, 3), correction=0), torch.ones(3))


def test_a_constant_channel_has_no_scale(pixels: Tensor) -> None:
    pixels[:, 1] = 7
    with pytest.raises(InputError, match="every channel must vary over the training inputs, got channel 1 constant"):
        Scaling.of(pixels)


@given(rows=st.lists(st.integers(0, 10), min_size=1, max_size=20), size=st.integers(1, 12))
def test_three_ways_of_storage(rows: list[int], size: int) -> None:
    x = torch.randint(0, 256, (11, 3, 4, 5), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    y, scaling, at = torch.arange(11) % 3, Scaling.of(x), torch.tensor(rows)
    expected = scaling(x)
    asked: list[list[int]] = []
    stored = [Samples(expected, y), Samples(x, y, scaling), Samples(OnDemand(x, asked), y, scaling)]
    assert [samples.in_memory for samples in stored] == [True, True, False]
    for samples in stored:
        assert (len(samples), samples.shape) == (11, (3, 4, 5))
        for found, want in zip(samples.take(at), (expected[at], y[at]), strict=True):
            EXACT.check(found, want)
        for _ in range(2):
            batches = list(samples.batches(size))
            assert len(batches) == len(samples.batches(size))
            EXACT.check(torch.cat([x for x, _ in batches]), expected)
            EXACT.check(torch.cat([y for _, y in batches]), y)
        EXACT.check(samples.subset(at).take(torch.arange(len(rows)))[0], expected[at])
        EXACT.check(samples.relabelled(2 - y).take(at)[1], 2 - y[at])
        assert samples.relabelled(2 - y).x is samples.x


def test_what_is_made_on_demand_is_made_when_taken(pixels: Tensor) -> None:
    asked: list[list[int]] = []
    samples = Samples(OnDemand(pixels, asked), torch.zeros(11).long(), Scaling.of(pixels))
    some = samples.to(torch.device("cpu")).subset(torch.tensor([4, 2, 9])).relabelled(torch.tensor([0, 1, 2]))
    assert Splits(some, samples, 3).shape == (3, 4, 5)
    assert asked == []
    some.take(torch.tensor([2]))
    list(samples.batches(6))
    assert asked == [[2], [0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]


def test_floats_are_handed_on_untouched() -> None:
    x, y = torch.randn(10, 2, dtype=torch.float64), torch.arange(10)
    samples = Samples(x, y)
    EXACT.check(samples.take(torch.tensor([3, 1]))[0], x[[3, 1]])
    first, _ = next(iter(samples.batches(4)))
    assert first.data_ptr() == x.data_ptr()  # a view: looking at all of it costs no memory


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_taken_on_a_device_without_waiting_for_it(pixels: Tensor) -> None:
    y = torch.arange(11)
    there = Samples(pixels, y, Scaling.of(pixels)).to(torch.device("cuda"))
    rows = torch.tensor([3, 1]).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found, labels = there.take(rows)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    ROUNDED.check(found.cpu(), Scaling.of(pixels)(pixels)[[3, 1]])
    EXACT.check(labels.cpu(), y[[3, 1]])


def test_samples_that_do_not_fit(pixels: Tensor) -> None:
    with pytest.raises(InputError, match="y must be one label for each of 11 inputs, got 10"):
        Samples(pixels, torch.arange(10), Scaling.of(pixels))
    with pytest.raises(
        InputError, match=r"scaling must be given for uint8 inputs and for no others, got none for torch.uint8"
    ):
        Samples(pixels, torch.arange(11))
    with pytest.raises(InputError, match=r"scaling must be given for uint8 .* got one for torch.float32"):
        Samples(pixels.float(), torch.arange(11), Scaling.of(pixels))


def test_balanced_rows(generator: torch.Generator) -> None:
    y = torch.tensor([0] * 9 + [1] * 3 + [2] * 6)[torch.randperm(18, generator=generator)]
    drawn, others = balanced_rows(y, per_class=4, generator=generator)
    assert torch.bincount(y[drawn]).tolist() == [4, 3, 4]
    assert sorted([*drawn.tolist(), *others.tolist()]) == list(range(18))


def test_balanced_split_is_standardised_over_the_training_inputs(generator: torch.Generator) -> None:
    x, y = torch.randn(60, 4, generator=generator, dtype=torch.float64) * 3 + 7, torch.arange(60) % 3
    splits = balanced_split(x, y, per_class=5, num_classes=3, generator=torch.Generator().manual_seed(1))
    rows, others = balanced_rows(y, per_class=5, generator=torch.Generator().manual_seed(1))
    values = x[rows].numpy().ravel()
    mean = sum(values) / len(values)
    sd = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
    REFERENCE.check(mean, x[rows].mean())
    ROUNDED.check(splits.train.x, (x[rows] - mean) / sd)
    ROUNDED.check(splits.test.x, (x[others] - mean) / sd)
