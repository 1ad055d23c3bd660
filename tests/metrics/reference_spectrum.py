"""Slow twins of the numbers of directions. One function ``reference_<key>(h, y, w, b)`` for each metric."""

import math

import numpy as np

from metrics.reference_variability import outer_mean, sigma_b, sigma_w


def _effective_rank(matrix):
    """Roy and Vetterli 2007, eq. 2 and 3: exp(-sum p log p) with p the singular values over their sum."""
    singular = np.linalg.svd(matrix, compute_uv=False)
    entropy = 0.0
    for value in singular / singular.sum():
        entropy -= value * math.log(value) if value > 0 else 0.0
    return math.exp(entropy)


def _participation(matrix):
    """(tr S)^2 / tr S^2."""
    return float(np.trace(matrix) ** 2 / np.trace(matrix @ matrix))


def reference_effective_rank(h, y, w, b):
    """Of the total covariance over samples."""
    return _effective_rank(outer_mean(h - h.mean(0), np.full(len(h), 1 / len(h))))


def reference_effective_rank_means(h, y, w, b):
    """Of the covariance of class means."""
    return _effective_rank(sigma_b(h, y))


def reference_participation_ratio(h, y, w, b):
    """Gao et al. 2017, of the covariance within classes."""
    return _participation(sigma_w(h, y))


def reference_participation_ratio_means(h, y, w, b):
    """Gao et al. 2017, of the covariance of class means."""
    return _participation(sigma_b(h, y))
