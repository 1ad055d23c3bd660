"""Slow twins of the generalised metrics of Jiang et al. 2023."""

import numpy as np

from metrics.reference_means import rows_seen
from metrics.reference_variability import reference_nc1_pinv


def reference_generalised_nc1(h, y, w, b):
    """Definition 1: NC1 of the features divided by their norms, one sample at a time."""
    unit = np.array([row / np.sqrt(sum(x * x for x in row)) for row in h])
    return reference_nc1_pinv(unit, y, w, b)


def distance_from_hull(point, others):
    """min |point - sum_j lambda_j w_j|: over every set of others, the nearest point of their affine hull inside it."""
    best = np.inf
    m = len(others)
    for chosen in range(1, 2**m):
        rows = np.array([others[j] for j in range(m) if chosen >> j & 1])
        # Lagrange's equations of the nearest point of an affine hull.
        gram = rows @ rows.T
        system = np.block([[gram, np.ones((len(rows), 1))], [np.ones((1, len(rows))), np.zeros((1, 1))]])
        solution = np.linalg.lstsq(system, np.append(rows @ point, 1.0), rcond=None)[0][:-1]
        if solution.min() >= -1e-12:
            best = min(best, np.linalg.norm(point - solution @ rows))
    return best


def reference_generalised_nc2(h, y, w, b):
    """Definition 2: min_k dist(w_k, conv of the others) of the rows divided by their norms."""
    rows = np.array([row / np.linalg.norm(row) for row in rows_seen(w, y)])
    return min(distance_from_hull(rows[k], np.delete(rows, k, 0)) for k in range(len(rows)))
