"""Slow twins of the NC3 family."""

import math

import numpy as np

from metrics.reference_frame import structure_error
from metrics.reference_means import centred_means, cosine, rows_seen


def _cosines(h, y, w):
    return [cosine(u, v) for u, v in zip(rows_seen(w, y), centred_means(h, y), strict=True)]


def _variance(values):
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values) / len(values)


def reference_nc3_duality(h, y, w, b):
    """Papyan et al. 2020, Figure 5: || W^T/||W||_F - M/||M||_F ||_F^2 with M the centred means."""
    weight, means = rows_seen(w, y), centred_means(h, y)
    a, c = math.sqrt((weight**2).sum()), math.sqrt((means**2).sum())
    total = 0.0
    for k in range(len(weight)):
        for j in range(weight.shape[1]):
            total += (weight[k, j] / a - means[k, j] / c) ** 2
    return total


def reference_duality_error(h, y, w, b):
    """Zhu et al. 2021: || W H / ||W H||_F - (I - 11^T/K)/sqrt(K-1) ||_F with H the centred means."""
    return structure_error(rows_seen(w, y) @ centred_means(h, y).T)


def reference_nc3_cosine(h, y, w, b):
    return sum(_cosines(h, y, w)) / len(set(y.tolist()))


def reference_generalised_nc3(h, y, w, b):
    """Jiang et al. 2023, GNC3: mean over classes of 1 - cos."""
    return sum(1 - c for c in _cosines(h, y, w)) / len(set(y.tolist()))


def reference_unc3_mean(h, y, w, b):
    return sum(_cosines(h, y, w)) / len(set(y.tolist()))


def reference_unc3_variance(h, y, w, b):
    """Wu and Papyan 2024, uniform duality: variance over classes of the cosines."""
    return _variance(_cosines(h, y, w))


def reference_unc3_dot_variance(h, y, w, b):
    """... and of the inner products."""
    return _variance([float(np.dot(u, v)) for u, v in zip(rows_seen(w, y), centred_means(h, y), strict=True)])


def reference_bias_collapse(h, y, w, b):
    """Zhu et al. 2021: || W mu_G + b ||_2, here with mu_G the mean of class means."""
    classes = sorted(set(y.tolist()))
    means = [sum(h[i] for i in range(len(y)) if y[i] == c) / sum(y == c) for c in classes]
    mu_g = sum(means) / len(means)
    return math.sqrt(sum((np.dot(w[c], mu_g) + (0.0 if b is None else b[c])) ** 2 for c in classes))


def reference_class_duality_cosine(h, y, w, b):
    return np.array(_cosines(h, y, w))
