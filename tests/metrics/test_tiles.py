"""Pairs seen tile by tile are the pairs, each once, and as exact close by as far apart."""

import itertools
import math

import numpy as np
import pytest
import torch

from collapselab.evidence import ClassStats
from collapselab.metrics import _tiles
from collapselab.metrics._pairs import _Sweep, class_pairs
from configurations import collapsed
from metrics.samples import evidence, problem
from tolerances import IDENTITY, REFERENCE


def _collected(rows, **options):
    k, found = rows.shape[0], {}
    for tile in _tiles.upper_tiles(rows, **options):
        for i, j in itertools.product(range(*tile.rows.indices(k)), range(*tile.columns.indices(k))):
            value = float(tile.values[i - tile.first, j - tile.second])
            if value != math.inf:
                assert (i, j) not in found
                found[i, j] = value
    return found


@pytest.mark.parametrize(("k", "tile"), [(1, 3), (2, 3), (10, 3), (9, 3), (65, 64), (64, 64), (7, 100)])
def test_every_pair_once(k, tile):
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(k, 4)))
    found = _collected(rows, tile=tile)
    assert set(found) == set(itertools.combinations(range(k), 2))
    for (i, j), value in found.items():
        REFERENCE.check(value, float((rows[i] - rows[j]).square().sum()))


@pytest.mark.parametrize("gap", [1e-1, 1e-3, 1e-6, 1e-9, 1e-12])
def test_close_pairs_keep_their_digits(gap):
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 50)))
    step = torch.from_numpy(np.random.default_rng(1).normal(size=50))
    rows = torch.cat([rows, rows[2:3] + gap * step])
    found = _collected(rows, tile=4)
    REFERENCE.check(found[2, 6], float((rows[2] - rows[6]).square().sum()))


@pytest.mark.parametrize("centres", [0, 1, 8])
@pytest.mark.parametrize("values", [1, 100, 2**18])
@pytest.mark.parametrize("groups", [1, 2, 5, 30])
def test_classes_in_tight_groups(groups, values, centres, monkeypatch):
    """Most pairs are close relative to their norms: from a nearer centre, all at once, or a few at a time."""
    monkeypatch.setattr(_tiles, "_DIRECT_VALUES", values)
    monkeypatch.setattr(_tiles, "_CENTRES", centres)
    g = np.random.default_rng(0)
    group = np.arange(60) % groups
    rows = torch.from_numpy(g.normal(size=(groups, 10))[group] + 1e-7 * g.normal(size=(60, 10)))
    for tile in (16, 100):
        for (i, j), value in _collected(rows, tile=tile).items():
            REFERENCE.check(value, float((rows[i] - rows[j]).square().sum()))


def test_sweep_over_classes_in_tight_groups():
    g = np.random.default_rng(0)
    group = np.arange(40) % 2
    means = g.normal(size=(2, 10))[group] + 1e-6 * g.normal(size=(40, 10)) + 3
    stats = _of_means(means)
    found = class_pairs(stats)
    inverse = [sum(1 / np.sum((means[i] - means[j]) ** 2) for j in range(40) if j != i) for i in range(40)]
    REFERENCE.times(10).check(found.inverse_squared, inverse)
    _, _, logarithms = _slow(stats)
    # Directions of centred means: centring costs 1e-16 of the offset, 1e-10 of the distances in a group.
    REFERENCE.times(100).check(found.log_kernel_mean, logarithms.mean())


# ------------------------------------------------------------------------------------- the sweep over class means


def _slow(stats):
    means = stats.centred_means.numpy()
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    pairs = list(itertools.combinations(range(len(means)), 2))
    cosines = np.array([unit[i] @ unit[j] for i, j in pairs])
    logarithms = np.array([-math.log(np.linalg.norm(unit[i] - unit[j])) for i, j in pairs])
    return pairs, cosines, logarithms


@pytest.mark.parametrize("tile", [2, 3, 5, 100])
def test_sums_of_the_sweep(tile):
    stats, _ = evidence(*problem(11, 4, 120))
    found = _Sweep(stats, tile=tile).run()
    pairs, cosines, logarithms = _slow(stats)
    assert found.num_pairs == 55
    IDENTITY.check(found.cosine_deviation, np.abs(cosines + 1 / 10).mean())
    IDENTITY.check(found.log_kernel_mean, logarithms.mean())
    IDENTITY.check(found.log_kernel_variance, logarithms.var())
    IDENTITY.check(found.smallest_distance, math.exp(-logarithms.max()))
    v, means = stats.class_variances.numpy(), stats.means.numpy()
    for c in range(11):
        others = [j for j in range(11) if j != c]
        squares = np.array([np.sum((means[c] - means[j]) ** 2) for j in others])
        IDENTITY.check(found.inverse_squared[c], (1 / squares).sum())
        IDENTITY.check(found.worst[c], ((v[c] + v[others]) / 2 / squares).max())
        mine = [value for pair, value in zip(pairs, cosines, strict=True) if c in pair]
        IDENTITY.check(found.largest_cosine[c], max(mine))


def test_sweep_is_done_once_for_each_statistics():
    first, _ = evidence(*problem(4, 4, 30))
    second, _ = evidence(*problem(4, 4, 30))
    assert class_pairs(first) is class_pairs(first)
    assert class_pairs(first) is not class_pairs(second)


def test_sweep_on_a_simplex_loses_no_digits():
    found = class_pairs(collapsed(classes=40, features=60, offset=3.0))
    assert float(found.log_kernel_variance) < 1e-28
    assert float(found.cosine_deviation) < 1e-14
    IDENTITY.check(found.smallest_distance, math.sqrt(80 / 39))


def _of_means(means):
    k = len(means)
    means = torch.as_tensor(means, dtype=torch.float64)
    return ClassStats(k, torch.arange(k) * 2, torch.full((k,), 3), means, torch.ones(k, dtype=torch.float64))


def test_sweep_names_pairs_without_a_value():
    g = np.random.default_rng(0)
    means = g.normal(size=(6, 5))
    assert class_pairs(_of_means(means)).coincident is None
    means[4] = means[1]
    assert class_pairs(_of_means(means)).coincident == (2, 8)
    # +1, -1 on one axis, 0.5 and -0.5 on the same: two pairs of equal direction, no equal means.
    ray = class_pairs(_of_means([[1.0, 0], [0.5, 0], [-1.0, 0], [-0.5, 0]]))
    assert ray.coincident is None
    assert ray.parallel == (0, 2)
    assert class_pairs(_of_means([[1.0, 0], [0, 0], [-1.0, 0]])).central == 2


def test_sweep_with_means_of_very_different_norms():
    g = np.random.default_rng(0)
    means = g.normal(size=(8, 5)) * np.geomspace(1, 1e6, 8)[:, None]
    stats = _of_means(means)
    expected = [
        sum(1 / float((stats.means[i] - stats.means[j]).square().sum()) for j in range(8) if j != i) for i in range(8)
    ]
    # Relative to the largest mean the first few are close together, yet not to each other.
    IDENTITY.check(class_pairs(stats).inverse_squared, expected)
