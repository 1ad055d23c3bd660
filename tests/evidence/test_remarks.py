"""Sentences that qualify numbers appear when they are true and only then."""

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, TensorDataset, WeightedRandomSampler

from collapselab.evidence import ClassStats, LabelledFeatures
from collapselab.evidence.remarks import loader_remarks, remarks, rounding_floor


def stats_of(h: Tensor, y: Tensor, classes: int) -> ClassStats:
    return ClassStats.of(LabelledFeatures(h, y, classes))


def blobs(
    spread: float, *, offset: float = 0.0, classes: int = 5, each: int = 200, width: int = 16
) -> tuple[Tensor, Tensor]:
    """Gaussian classes in float64, unit distance scale between them."""
    generator = torch.Generator().manual_seed(3)
    y = torch.arange(classes * each) % classes
    means = torch.randn(classes, width, generator=generator, dtype=torch.float64) + offset
    noise = torch.randn(len(y), width, generator=generator, dtype=torch.float64)
    return means[y] + spread * noise, y


def test_nothing_to_say():
    h, y = blobs(0.1)
    assert remarks(stats_of(h.float(), y, 5), torch.float32) == ()


@pytest.mark.parametrize(
    ("y", "classes", "fragments"),
    [
        ([0, 0, 2, 2], 4, ["2 of 4 classes have no sample and enter no mean: 1, 3"]),
        ([0, 0, 1], 2, ["classes with a single sample have no spread of their own: 1", "class sizes differ, 1 to 2"]),
        ([0, 0] * 2 + [1, 1], 2, ["class sizes differ, 2 to 4 samples (ratio 2)"]),
    ],
)
def test_classes(y, classes, fragments):
    h = torch.randn(len(y), 1, generator=torch.Generator().manual_seed(0))
    said = " | ".join(remarks(stats_of(h, torch.tensor(y), classes), None))
    assert all(fragment in said for fragment in fragments)


def test_long_lists_are_cut():
    h = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    said = " | ".join(remarks(stats_of(h, torch.arange(20), 20), None))
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 10 more" in said


@pytest.mark.parametrize(("n", "said"), [(17, True), (18, False)])
def test_more_dimensions_than_samples(n, said):
    h = torch.randn(n, 16, generator=torch.Generator().manual_seed(0))
    found = any(
        "any labelling of them can be separated" in s for s in remarks(stats_of(h, torch.arange(n) % 2, 2), None)
    )
    assert found is said


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    h, y = blobs(0.1)
    said = " | ".join(remarks(stats_of(h.to(dtype), y, 5), dtype))
    assert f"features are {str(dtype).removeprefix('torch.')}: their rounding can dominate" in said


@pytest.mark.parametrize("offset", [0.0, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_rounding_floor_is_what_rounding_leaves(dtype, offset):
    """R_floor = .0451 u^2 (1 + |mu_G|^2 / tr Sigma_B), measured on features far tighter than the format resolves."""
    # A spread of 30 units spreads the rounding errors evenly and is itself subtracted below.
    unit = torch.finfo(dtype).eps
    h, y = blobs(30 * unit, offset=offset, classes=64, width=64, each=64)
    errors = stats_of(h.to(dtype).double() - h, torch.zeros_like(y), 1)
    exact = stats_of(h, y, 64)
    left = float(errors.class_variances[0] / exact.between_trace)
    # The constant assumes a log-uniform mantissa; Gaussian features and one offset come within a factor of 1.5 of it.
    assert 1 / 1.5 < left / rounding_floor(exact, dtype) < 1.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_within_rounding(dtype):
    unit = torch.finfo(dtype).eps
    name = str(dtype).removeprefix("torch.")
    h, y = blobs(0.1 * unit)
    assert any(f"within rounding of {name}" in s for s in remarks(stats_of(h.to(dtype), y, 5), dtype))
    h, y = blobs(100 * unit)
    assert not any("within rounding" in s for s in remarks(stats_of(h.to(dtype), y, 5), dtype))


def test_classes_that_are_single_points():
    h, y = blobs(0.0)
    assert any("each class is a single point" in s for s in remarks(stats_of(h.float(), y, 5), torch.float32))
    assert not any("rounding" in s for s in remarks(stats_of(h.float(), y, 5), None))


def test_no_sentence_about_rounding_without_distances():
    one = stats_of(torch.randn(9, 2), torch.zeros(9, dtype=torch.int64), 1)
    same = stats_of(torch.ones(8, 2), torch.arange(8) % 2, 2)
    assert remarks(one, torch.float32) == ()
    assert remarks(same, torch.float32) == ()


def data() -> TensorDataset:
    return TensorDataset(torch.zeros(10, 2), torch.zeros(10, dtype=torch.int64))


@pytest.mark.parametrize(
    ("loader", "fragment"),
    [
        (lambda: DataLoader(data(), batch_size=4), None),
        (lambda: DataLoader(data(), batch_size=4, shuffle=True), None),
        (lambda: DataLoader(data(), batch_size=4, drop_last=True), None),
        (lambda: DataLoader(data(), batch_size=4, shuffle=True, drop_last=True), "drops the last incomplete batch"),
        (lambda: DataLoader(data(), sampler=WeightedRandomSampler([1.0] * 10, 10)), "draws samples with replacement"),
        (lambda: DataLoader(data(), sampler=RandomSampler(data(), replacement=True)), "draws samples with replacement"),
        (lambda: DataLoader(data(), sampler=DistributedSampler(data(), 2, 0)), "distributed sampler gives a part"),
        (lambda: DataLoader(data(), batch_size=None), None),
        (lambda: [(1, 2)], None),
    ],
)
def test_loaders(loader, fragment):
    said = loader_remarks(loader())
    assert said == () if fragment is None else fragment in said[0]
