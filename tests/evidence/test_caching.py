"""Features come back as they were: from memory, from a memory map, or computed again and checked."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.errors import InputError, StorageError
from collapselab.evidence import ClassStats, FeatureCache, FeatureSource, LabelledFeatures, Replay
from collapselab.evidence.features import CHUNK_ROWS
from tolerances import EXACT

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def made(rows: int, *, dtype: torch.dtype = torch.float32, classes: int = 3, width: int = 4) -> LabelledFeatures:
    generator = torch.Generator().manual_seed(rows)
    h = torch.randn(rows, width, generator=generator).to(dtype)
    return LabelledFeatures(h, torch.arange(rows) % classes, classes)


def filled(cache: FeatureCache, features: LabelledFeatures, *, batch: int) -> FeatureSource:
    for part in features.chunks(batch):
        cache.append(part.h, part.y)
    return cache.source(features.num_classes)


def joined(source: FeatureSource, rows: int = CHUNK_ROWS) -> tuple[torch.Tensor, torch.Tensor]:
    parts = list(source.chunks(rows))
    assert all(part.num_samples <= rows and part.num_classes == source.num_classes for part in parts)
    return torch.cat([part.h for part in parts]), torch.cat([part.y for part in parts])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("budget", "how"), [(None, "memory"), (10**9, "memory"), (0, "memory-map"), (300, "memory-map")]
)
def test_what_went_in_comes_out(budget, how, dtype):
    features = made(101, dtype=dtype)
    with FeatureCache(budget) as cache:
        source = filled(cache, features, batch=7)
        assert cache.how == how
        assert isinstance(source, FeatureSource)
        for _ in range(2):  # as often as asked
            h, y = joined(source, rows=10)
            EXACT.check(h, features.h)
            EXACT.check(y, features.y)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=6), st.integers(0, 200_000), st.integers(1, 9000))
def test_any_batching_and_any_budget(sizes, budget, rows):
    features = made(sum(sizes))
    with FeatureCache(budget) as cache:
        for h, y in zip(features.h.split(sizes), features.y.split(sizes), strict=True):
            cache.append(h, y)
        h, y = joined(cache.source(3), rows=rows)
        assert cache.how == ("memory" if features.h.numel() * 4 <= budget else "memory-map")
    EXACT.check(h, features.h)
    EXACT.check(y, features.y)


def test_nothing_stays_on_disk(tmp_path):
    with FeatureCache(0, folder=str(tmp_path)) as cache:
        source = filled(cache, made(50), batch=9)
        if os.name == "posix":
            assert list(tmp_path.iterdir()) == []  # without a name from the start: even a kill leaves nothing
    EXACT.check(joined(source)[0], made(50).h)  # still readable while it is held
    assert list(tmp_path.iterdir()) == []


def test_moments_from_a_memory_map_are_those_from_memory():
    features = made(500, classes=5)
    with FeatureCache(0) as cache:
        h, y = joined(filled(cache, features, batch=64))
        again = ClassStats.of(LabelledFeatures(h, y, 5))
    EXACT.check(again.means, ClassStats.of(features).means)


def test_a_full_disk_says_so_and_gives_everything_back(monkeypatch):
    class Full:
        closed = False

        def write(self, content) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None:
            self.closed = True

    full = Full()
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full)
    cache = FeatureCache(0)
    with pytest.raises(StorageError, match=r"No space left on device; raise memory_budget.*features_again='replay'"):
        cache.append(torch.ones(3, 2), torch.tensor([0, 1, 1]))
    assert full.closed


def test_writes_that_come_short_are_continued(monkeypatch):
    made_file = tempfile.TemporaryFile

    def stingy(**options):
        file = made_file(**options)

        class Short:
            fileno, close = file.fileno, file.close

            def write(self, content) -> int:
                return file.write(content[:5])

        return Short()

    monkeypatch.setattr(tempfile, "TemporaryFile", stingy)
    with FeatureCache(0) as cache:
        EXACT.check(joined(filled(cache, made(20), batch=6))[0], made(20).h)


def test_a_missing_folder_is_named(tmp_path):
    missing = str(Path(tmp_path) / "gone")
    cache = FeatureCache(0, folder=missing)
    with pytest.raises(StorageError, match="gone"):
        cache.append(torch.ones(1, 2), torch.tensor([0]))


def test_features_keep_their_kind():
    cache = FeatureCache(None)
    cache.append(torch.ones(3, 2), torch.tensor([0, 1, 1]))
    with pytest.raises(InputError, match="must keep dtype and width"):
        cache.append(torch.ones(3, 3), torch.tensor([0, 1, 1]))
    with pytest.raises(InputError, match="must keep dtype and width"):
        cache.append(torch.ones(3, 2).double(), torch.tensor([0, 1, 1]))
    with pytest.raises(InputError, match="at least one row"):
        FeatureCache(None).source(2)


# ------------------------------------------------------------------------------------------------ replay


def replay(first: LabelledFeatures, second: LabelledFeatures, *, batch: int = 8) -> Replay:
    return Replay(lambda: ((p.h, p.y) for p in second.chunks(batch)), ClassStats.of(first))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_again(dtype):
    features = made(60, dtype=dtype)
    source = replay(features, features)
    assert isinstance(source, FeatureSource)
    for rows in (3, 100):
        EXACT.check(joined(source, rows)[0], features.h)


def test_another_order_is_the_same():
    features = made(60)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    shuffled = LabelledFeatures(features.h[order] * (1 + 1e-7), features.y[order], 3)  # other batches, other last bits
    EXACT.check(joined(replay(features, shuffled))[0], shuffled.h)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda h, y: (h[1:], y[1:]), "class 0 had 20 samples, then 19"),
        (lambda h, y: (h, y.roll(1) * 0 + 1), "class 0 had 20 samples, then 0"),
        (lambda h, y: (h + 0.01 * (y == 2)[:, None], y), "the mean of class 2 moved"),
        (lambda h, y: (h[:, 1:], y), "their width or labels changed"),
        (lambda h, y: (h, y + 1), "their width or labels changed"),
    ],
)
def test_other_features_are_noticed(change, fragment):
    features = made(60)
    h, y = change(features.h, features.y)
    with pytest.raises(InputError) as refused:
        joined(replay(features, LabelledFeatures.of(h, y)))
    assert "the second pass over the loader gave other features than the first" in str(refused.value)
    assert fragment in str(refused.value)
