"""Slow twins of hyperspherical uniformity: one pair of directions after the other."""

import math

import numpy as np
from scipy.special import digamma

from metrics.reference_means import centred_means


def _distances(h, y):
    rows = centred_means(h, y)
    units = [r / math.sqrt(np.dot(r, r)) for r in rows]
    return [math.sqrt(np.dot(u - v, u - v)) for i, u in enumerate(units) for v in units[i + 1 :]]


def reference_uniformity_mean(h, y, w, b):
    """Liu et al. 2023, log kernel: mean over pairs of -log ||u_i - u_j||."""
    energies = [-math.log(t) for t in _distances(h, y)]
    return sum(energies) / len(energies)


def reference_uniformity_variance(h, y, w, b):
    """Wu and Papyan 2024, GNC2: variance over pairs of the same."""
    energies = [-math.log(t) for t in _distances(h, y)]
    mean = sum(energies) / len(energies)
    return sum((e - mean) ** 2 for e in energies) / len(energies)


def reference_uniformity_excess(h, y, w, b):
    """Above the simplex, or above the expectation for independent uniform directions where the simplex does not fit."""
    k, d = len(set(y.tolist())), h.shape[1]
    if k <= d + 1:
        expected = -0.5 * math.log(2 * k / (k - 1))
    else:
        expected = -0.5 * (math.log(4) + digamma((d - 1) / 2) - digamma(d - 1))
    return reference_uniformity_mean(h, y, w, b) - expected


def reference_minimum_distance(h, y, w, b):
    return min(_distances(h, y))
