"""Slow twin of the directional CDNV."""

import itertools

import numpy as np

from metrics.reference_variability import class_rows


def reference_directional_cdnv(h, y, w, b):
    """Luthra et al. 2025: mean over ordered pairs of u^T Sigma_i u / D^2 with u = (mu_j - mu_i) / D."""
    groups, found = class_rows(h, y), []
    for one, other in itertools.permutations(groups, 2):
        difference = other.mean(0) - one.mean(0)
        distance = np.linalg.norm(difference)
        sigma = sum(np.outer(row - one.mean(0), row - one.mean(0)) for row in one) / len(one)
        u = difference / distance
        found.append(float(u @ sigma @ u) / distance**2)
    return float(np.mean(found))
