"""Class moments: any chunking, any merge order, near-constant features, empty classes, files."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures, OnlineStats
from collapselab.records import read_arrays
from tolerances import EXACT, IDENTITY

SEEDS = st.integers(0, 2**31 - 1)


def draw(n=60, d=5, k=4, *, seed=0, offset=10.0, spread=1.0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, k, (n,), generator=g)
    means = offset + torch.randn(k, d, generator=g, dtype=torch.float64)
    h = means[y] + spread * torch.randn(n, d, generator=g, dtype=torch.float64)
    return h.to(dtype), y


def two_pass(h, y, k):
    """Moments by the textbook, class by class, in NumPy."""
    h, y = h.double().numpy(), y.numpy()
    seen = [c for c in range(k) if (y == c).any()]
    means = np.array([h[y == c].mean(0) for c in seen])
    residuals = [h[y == c] - m for c, m in zip(seen, means, strict=True)]
    return {
        "labels": np.array(seen),
        "counts": np.array([(y == c).sum() for c in seen]),
        "means": means,
        "class_scatter": np.array([(r**2).sum() for r in residuals]),
        "scatter": sum(r.T @ r for r in residuals),
    }


def check_same(found: ClassStats, expected, policy=IDENTITY):
    """Compare with other statistics, or with a dictionary of arrays."""
    of = expected.get if isinstance(expected, dict) else lambda name: getattr(expected, name)
    for name in ("labels", "counts"):
        np.testing.assert_array_equal(getattr(found, name), of(name))
    for name in ("means", "class_scatter", "scatter"):
        policy.floor(float(np.abs(of(name)).max())).check(getattr(found, name), of(name))


# ------------------------------------------------------------------------------------------------ one pass
def test_agrees_with_the_textbook():
    h, y = draw()
    check_same(ClassStats.of(LabelledFeatures(h, y, 4)), two_pass(h, y, 4))


@given(sizes=st.lists(st.integers(1, 25), min_size=1, max_size=12), seed=SEEDS)
def test_any_chunking_gives_the_same_moments(sizes, seed):
    h, y = draw(n=sum(sizes), seed=seed)
    online = OnlineStats(4)
    for rows, labels in zip(h.split(sizes), y.split(sizes), strict=True):
        online.update(rows, labels)
    check_same(online.stats(), two_pass(h, y, 4))


@given(edges=st.lists(st.integers(1, 59), min_size=2, max_size=2, unique=True), seed=SEEDS)
def test_merging_is_associative_and_commutative(edges, seed):
    h, y = draw(seed=seed)
    low, high = sorted(edges)
    a, b, c = (ClassStats.of(LabelledFeatures(h[i:j], y[i:j], 4)) for i, j in ((0, low), (low, high), (high, 60)))
    whole = two_pass(h, y, 4)
    for merged in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b), b.merge(c.merge(a))):
        check_same(merged, whole)


@given(seed=SEEDS)
@settings(max_examples=10)
def test_order_of_samples_does_not_matter(seed):
    h, y = draw(seed=seed)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    check_same(ClassStats.of(LabelledFeatures(h[order], y[order], 4)), two_pass(h, y, 4))


@pytest.mark.parametrize("spread", [1e-4, 1e-6])
@pytest.mark.parametrize("how", ["of", "online", "merged"])
def test_near_constant_float32_features_keep_their_spread(spread, how):
    """Offset 5, spread down to the rounding of float32: raw or fixed-shift sums are off by several per cent there."""
    h, y = draw(n=2000, d=32, k=10, offset=5.0, spread=spread, dtype=torch.float32)
    if how == "of":
        found = ClassStats.of(LabelledFeatures(h, y, 10))
    elif how == "online":
        online = OnlineStats(10)
        for rows, labels in zip(h.split(7), y.split(7), strict=True):
            online.update(rows, labels)
        found = online.stats()
    else:
        parts = [ClassStats.of(LabelledFeatures(a, b, 10)) for a, b in zip(h.split(90), y.split(90), strict=True)]
        found = parts[0]
        for part in parts[1:]:
            found = part.merge(found)
    expected = two_pass(h, y, 10)
    np.testing.assert_allclose(found.class_scatter, expected["class_scatter"], rtol=1e-8)
    np.testing.assert_allclose(np.trace(found.scatter), np.trace(expected["scatter"]), rtol=1e-8)


def test_more_rows_than_a_block_and_more_than_the_buffer():
    h, y = draw(n=20_000, d=3)
    online = OnlineStats(4)
    online.update(h, y)
    check_same(online.stats(), two_pass(h, y, 4))


def test_data_type_may_change_in_the_stream():
    h, y = draw(n=90)
    parts = [h[:30].float(), h[30:60], h[60:].half()]
    online = OnlineStats(4)
    for rows, labels in zip(parts, y.split(30), strict=True):
        online.update(rows, labels)
    check_same(online.stats(), two_pass(torch.cat([p.double() for p in parts]), y, 4))


def test_batches_are_copied_before_update_returns():
    online = OnlineStats(2)
    h = torch.zeros(2, 1)
    online.update(h, torch.tensor([0, 1]))
    h += 100
    assert online.stats().means.flatten().tolist() == [0.0, 0.0]


def test_what_stats_returns_is_not_touched_by_later_updates():
    online = OnlineStats(2)
    online.update(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 1]))
    before = online.stats()
    means, scatter = before.means.clone(), before.scatter.clone()
    online.update(torch.tensor([[5.0]]), torch.tensor([0]))
    EXACT.check(before.means, means)
    EXACT.check(before.scatter, scatter)
    assert online.stats().means[0].item() == 3.0


def test_a_graph_is_not_kept():
    h = torch.randn(4, 2, requires_grad=True)
    online = OnlineStats(2)
    online.update(h * 2, torch.tensor([0, 1, 0, 1]))
    assert not online.stats().means.requires_grad


# ------------------------------------------------------------------------------------------------ classes
def test_classes_never_seen_have_no_row():
    stats = ClassStats.of(LabelledFeatures(torch.ones(3, 2), torch.tensor([1, 1, 4]), 6))
    assert stats.labels.tolist() == [1, 4]
    assert stats.counts.tolist() == [2, 1]
    assert stats.empty_classes == (0, 2, 3, 5)
    assert stats.num_seen == 2
    assert stats.imbalance == 2.0
    EXACT.check(stats.global_mean, torch.ones(2, dtype=torch.float64))


def test_number_of_classes_grows_with_the_labels():
    h, y = draw(n=50, k=7)
    y, order = torch.sort(y)
    h = h[order]
    online = OnlineStats()
    for rows, labels in zip(h.split(1), y.split(1), strict=True):
        online.update(rows, labels)
        online.stats()  # flushes: every update grows what is kept
    found = online.stats()
    assert found.num_classes == int(y.max()) + 1
    check_same(found, two_pass(h, y, 7))


def test_merging_brings_in_classes_the_other_has_not_seen():
    h, y = draw()
    even, odd = y % 2 == 0, y % 2 == 1
    a, b = (ClassStats.of(LabelledFeatures(h[s], y[s], 4)) for s in (even, odd))
    check_same(a.merge(b), two_pass(h, y, 4))


@pytest.mark.parametrize("ignored", [-100, -1, 2, 255])
def test_ignored_labels_are_left_out_and_counted(ignored):
    h, y = draw()
    y = torch.where(torch.arange(60) % 5 == 0, torch.tensor(ignored), y)
    h[y == ignored] = torch.nan  # not even looked at
    kept = y != ignored
    online = OnlineStats(4, ignore_index=ignored)
    for rows, labels in zip(h.split(3), y.split(3), strict=True):
        online.update(rows, labels)
    assert online.num_ignored == int((~kept).sum())
    check_same(online.stats(), two_pass(h[kept], y[kept], 4))


def test_a_batch_of_ignored_labels_alone_is_no_error():
    online = OnlineStats(2, ignore_index=-100)
    online.update(torch.ones(3, 2), torch.full((3,), -100))
    assert online.num_ignored == 3
    with pytest.raises(InputError, match="at least one sample, got none"):
        online.stats()


def test_counts_past_32_bits():
    many = ClassStats(
        num_classes=2,
        labels=torch.tensor([0, 1]),
        counts=torch.tensor([2**40, 2**33]),
        means=torch.tensor([[1.0], [2.0]], dtype=torch.float64),
        class_scatter=torch.tensor([2.0**40, 2.0**33], dtype=torch.float64),
        scatter=torch.tensor([[2.0**40 + 2.0**33]], dtype=torch.float64),
    )
    merged = many.merge(many)
    assert merged.counts.dtype == torch.int64
    assert merged.counts.tolist() == [2**41, 2**34]
    assert merged.num_samples == 2**41 + 2**34
    EXACT.check(merged.means, many.means)
    assert merged.class_variances.tolist() == [1.0, 1.0]


# ------------------------------------------------------------------------------------------------ derived
def test_derived_moments():
    h, y = draw(n=40)
    stats = ClassStats.of(LabelledFeatures(h, y, 4))
    IDENTITY.check(stats.sample_mean, h.mean(0))
    IDENTITY.check(stats.global_mean, stats.means.mean(0))
    IDENTITY.check(stats.within, two_pass(h, y, 4)["scatter"] / 40)
    IDENTITY.check(torch.trace(stats.scatter), stats.class_scatter.sum())
    IDENTITY.check(stats.class_variances_unbiased, [float(h[y == c].var(0).sum()) for c in range(4)])
    s, v = stats.means_spectrum
    IDENTITY.check(s.square().sum() / 4, stats.between_trace)
    IDENTITY.floor(10.0).check((v * s) @ (v * s).T, stats.centred_means.T @ stats.centred_means)


def test_what_was_not_kept_is_undefined():
    stats = ClassStats.of(LabelledFeatures(torch.randn(4, 2), torch.tensor([0, 0, 1, 2]), 3), scatter=False)
    assert stats.scatter is None
    with pytest.raises(UndefinedMetric, match="scatter=True"):
        _ = stats.within
    with pytest.raises(UndefinedMetric, match="class 1 has one"):
        _ = stats.class_variances_unbiased


# ------------------------------------------------------------------------------------------------ refusals
def test_merging_refuses_other_problems():
    def stats(k=3, d=2, **options):
        return ClassStats.of(LabelledFeatures(torch.randn(6, d), torch.arange(6) % 3, k), **options)

    with pytest.raises(InputError, match=r"agree in \(num_classes, num_features\), got \(3, 2\) and \(4, 2\)"):
        stats().merge(stats(k=4))
    with pytest.raises(InputError, match=r"got \(3, 2\) and \(3, 5\)"):
        stats().merge(stats(d=5))
    with pytest.raises(InputError, match="both have the scatter"):
        stats().merge(stats(scatter=False))


def test_absorbing_refuses_what_does_not_fit():
    block = ClassStats.of(LabelledFeatures(torch.randn(6, 2), torch.arange(6) % 3, 3), scatter=False)
    with pytest.raises(InputError, match="must hold the scatter"):
        OnlineStats(3).absorb(block)
    with pytest.raises(InputError, match="at most 2 classes, got 3"):
        OnlineStats(2, scatter=False).absorb(block)
    online = OnlineStats(3, scatter=False)
    online.update(torch.ones(1, 5), torch.tensor([0]))
    with pytest.raises(InputError, match="width 5 of those before, got 2"):
        online.absorb(block)


@pytest.mark.parametrize(
    ("h", "y", "message"),
    [
        (torch.ones(3, 2), [0, 1], "3 rows, 2 labels"),
        (torch.ones(3, 2), [0, 1, 7], "0..3, got 7 at index 2"),
        (torch.ones(3, 2), [0, -1, 1], "0..3, got -1 at index 1"),
        (torch.ones(3), [0, 1, 1], "matrix"),
        (torch.ones(3, 2, dtype=torch.int64), [0, 1, 1], "floating-point"),
        (torch.tensor([[1.0], [float("nan")]]), [0, 1], r"finite, got nan at index \(1, 0\)"),
        (torch.tensor([[1.0], [float("inf")]]), [0, 1], "finite, got inf"),
        (torch.ones(3, 2), [0.0, 1.0, 1.0], "integers"),
        (torch.ones(0, 2), torch.zeros(0, dtype=torch.int64), "at least one row"),
        (torch.ones(2, 0), [0, 1], "at least one column"),
        (torch.ones(2, 7), [0, 1], "width"),
    ],
)
def test_bad_batches_are_refused_and_leave_no_trace(h, y, message):
    online = OnlineStats(4)
    online.update(torch.zeros(2, 2), [0, 1])
    with pytest.raises(InputError, match=message):
        online.update(h, y)
    assert online.stats().num_samples == 2


# ------------------------------------------------------------------------------------------------ files
@pytest.mark.parametrize("scatter", [True, False])
def test_a_file_gives_back_the_same_bits(tmp_path, scatter):
    h, y = draw()
    stats = ClassStats.of(LabelledFeatures(h, y, 9), scatter=scatter)
    stats.save(tmp_path / "stats.safetensors")
    back = ClassStats.load(tmp_path / "stats.safetensors")
    assert back.num_classes == 9
    for name in ("labels", "counts", "means", "class_scatter"):
        EXACT.check(getattr(back, name), getattr(stats, name))
    assert (back.scatter is None) == (not scatter)
    if scatter:
        EXACT.check(back.scatter, stats.scatter)


@pytest.fixture
def saved(tmp_path):
    h, y = draw()
    path = tmp_path / "stats.safetensors"
    ClassStats.of(LabelledFeatures(h, y, 4)).save(path)
    return path


@pytest.mark.parametrize("kept", [0, 1, 7, 50, 0.5, 0.99])
def test_a_truncated_file_is_refused(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(InputError, match="not a complete safetensors file"):
        ClassStats.load(saved)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no file"):
        ClassStats.load(tmp_path / "nothing")
    (tmp_path / "text").write_text("counts: 3\n" * 100)
    with pytest.raises(InputError, match="not a complete safetensors file"):
        ClassStats.load(tmp_path / "text")
    save_file({"counts": np.ones(3)}, tmp_path / "other")
    with pytest.raises(InputError, match=r"must hold collapselab\.ClassStats/1, got schema None"):
        ClassStats.load(tmp_path / "other")


NOTHING = {
    "labels": np.zeros(0, dtype=np.int64),
    "counts": np.zeros(0, dtype=np.int64),
    "means": np.zeros((0, 5)),
    "class_scatter": np.zeros(0),
}


def changed(arrays, **to):
    return {name: array for name, array in {**arrays, **to}.items() if array is not None}


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ({"means": None}, "must hold"),
        ({"extra": np.ones(2)}, "must hold"),
        ({"labels": np.array(3)}, "labels must be"),
        ({"labels": np.array([0, 2, 1, 3])}, "ascend"),
        ({"labels": np.array([0, 1, 2, 4])}, "ascend within 0..3"),
        ({"labels": np.array([-1, 1, 2, 3])}, "ascend within 0..3"),
        ({"counts": np.array([1, 1, 0, 1])}, "counts be positive"),
        ({"counts": np.array([1, 1, 1])}, "counts must be"),
        ({"counts": np.ones(4)}, "counts must be torch.int64"),
        ({"means": np.ones((4, 5), dtype=np.float32)}, "means must be torch.float64"),
        ({"means": np.ones(4)}, "means must be"),
        ({"means": np.full((4, 5), np.nan)}, "means must be finite"),
        ({"class_scatter": np.array([0, 0, 0, np.inf])}, "class_scatter must be finite"),
        ({"scatter": np.ones((5, 4))}, "scatter must be"),
        (NOTHING, "ascend"),
    ],
)
def test_inconsistent_files_are_refused(saved, to, message):
    arrays, metadata = read_arrays(saved)
    save_file(changed(arrays, **to), saved, metadata=metadata)
    with pytest.raises(InputError, match=message):
        ClassStats.load(saved)


@pytest.mark.parametrize("number", ["", "-3", "four", "²"])
def test_a_file_with_a_strange_number_of_classes_is_refused(saved, number):
    arrays, metadata = read_arrays(saved)
    save_file(arrays, saved, metadata={**metadata, "num_classes": number})
    with pytest.raises(InputError, match="num_classes"):
        ClassStats.load(saved)
