"""Slow twins of the CDNV family. One function ``reference_<key>(h, y, w, b)`` for each metric."""

import itertools

import numpy as np

from metrics.reference_ratio import class_variances
from metrics.reference_variability import class_rows


def squared_distances(h, y):
    """|mu_i - mu_j|^2 by pairs of classes."""
    means = [group.mean(0) for group in class_rows(h, y)]
    return {(i, j): float(np.sum((means[i] - means[j]) ** 2)) for i, j in itertools.permutations(range(len(means)), 2)}


def reference_cdnv(h, y, w, b):
    """Galanti et al. 2021: mean over pairs of (v_i + v_j) / (2 |mu_i - mu_j|^2)."""
    v = class_variances(h, y)
    return float(np.mean([(v[i] + v[j]) / (2 * squared) for (i, j), squared in squared_distances(h, y).items()]))


def reference_cdnv_ordered(h, y, w, b):
    """Galanti et al. 2022: mean over ordered pairs of v_i / |mu_i - mu_j|^2."""
    v = class_variances(h, y)
    return float(np.mean([v[i] / squared for (i, _), squared in squared_distances(h, y).items()]))


def reference_cdnv_unhalved(h, y, w, b):
    """Mean over pairs of (v_i + v_j) / |mu_i - mu_j|^2."""
    v = class_variances(h, y)
    return float(np.mean([(v[i] + v[j]) / squared for (i, j), squared in squared_distances(h, y).items()]))


def reference_cdnv_aggregate(h, y, w, b):
    """Mean of v_k over the mean of |mu_i - mu_j|^2."""
    return float(class_variances(h, y).mean() / np.mean(list(squared_distances(h, y).values())))


def _debiased(h, y):
    v = class_variances(h, y, ddof=1)
    sizes = [len(group) for group in class_rows(h, y)]
    pairs = squared_distances(h, y).items()
    return v, {(i, j): squared - v[i] / sizes[i] - v[j] / sizes[j] for (i, j), squared in pairs}


def reference_cdnv_aggregate_debiased(h, y, w, b):
    """The same with unbiased variances and squared distances."""
    v, squares = _debiased(h, y)
    return float(v.mean() / np.mean(list(squares.values())))


def reference_cdnv_debiased(h, y, w, b):
    """Mean over pairs of (v_i + v_j) / (2 (|mu_i - mu_j|^2 - v_i/n_i - v_j/n_j)), v_k over n_k - 1."""
    v, squares = _debiased(h, y)
    return float(np.mean([(v[i] + v[j]) / (2 * squared) for (i, j), squared in squares.items()]))


def reference_cdnv_max(h, y, w, b):
    """Largest (v_i + v_j) / (2 |mu_i - mu_j|^2)."""
    v = class_variances(h, y)
    return max((v[i] + v[j]) / (2 * squared) for (i, j), squared in squared_distances(h, y).items())


def reference_class_cdnv_nearest(h, y, w, b):
    """... for each class."""
    v, found = class_variances(h, y), {}
    for (i, j), squared in squared_distances(h, y).items():
        found[i] = max(found.get(i, 0.0), (v[i] + v[j]) / (2 * squared))
    return np.array([found[i] for i in sorted(found)])
