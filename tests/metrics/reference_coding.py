"""Slow twins of the coding rates. Yu et al. 2020 write samples as columns; rows here."""

import numpy as np

from metrics.reference_variability import class_rows


def _rate(rows, epsilon_squared=0.5):
    """Yu et al. 2020, eq. 1: 1/2 log det(I + d / (m eps^2) Z Z^T) of m samples, from the eigenvalues."""
    unit = np.array([row / np.linalg.norm(row) for row in rows])
    m, d = unit.shape
    eigenvalues = np.linalg.eigvalsh(np.eye(d) + d / (m * epsilon_squared) * unit.T @ unit)
    return 0.5 * float(np.sum(np.log(eigenvalues)))


def reference_coding_rate(h, y, w, b):
    """R of all samples."""
    return _rate(h)


def reference_coding_rate_classes(h, y, w, b):
    """Sum over classes of n_k / N times R of the class."""
    return sum(len(group) / len(h) * _rate(group) for group in class_rows(h, y))


def reference_coding_rate_reduction(h, y, w, b):
    """Difference of the two."""
    return _rate(h) - reference_coding_rate_classes(h, y, w, b)
