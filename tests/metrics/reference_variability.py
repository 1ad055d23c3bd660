"""Slow twins of NC1 from covariances. One function ``reference_<key>(h, y, w, b)`` for each metric."""

import numpy as np
import scipy.linalg


def class_rows(h, y):
    """The samples of each class, classes ascending."""
    return [np.array([h[i] for i in range(len(y)) if y[i] == c]) for c in sorted(set(y.tolist()))]


def outer_mean(rows, weights):
    """Weighted sum of outer products, one at a time."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for row, weight in zip(rows, weights, strict=True):
        total += weight * np.outer(row, row)
    return total


def sigma_w(h, y):
    """Covariance within classes over samples: each residual counts 1/N."""
    groups = class_rows(h, y)
    residuals = np.concatenate([group - group.mean(0) for group in groups])
    return outer_mean(residuals, np.full(len(h), 1 / len(h)))


def sigma_b(h, y):
    """Covariance of the class means, each counted once, about the mean of class means."""
    means = np.array([group.mean(0) for group in class_rows(h, y)])
    return outer_mean(means - means.mean(0), np.full(len(means), 1 / len(means)))


def sigma_b_samples(h, y):
    """Covariance of the class means, each counted n_k / N, about the mean of samples."""
    groups = class_rows(h, y)
    means = np.array([group.mean(0) for group in groups])
    return outer_mean(means - h.mean(0), [len(group) / len(h) for group in groups])


def _pinv(matrix):
    # A singular value of the means below 1e-7 of the largest is noise, an eigenvalue below 1e-14 with it.
    return np.linalg.pinv(matrix, rcond=1e-14, hermitian=True)


def reference_nc1_pinv(h, y, w, b):
    """Papyan, Han and Donoho 2020, in the 1/K form of Zhu et al. 2021: (1/K) tr(Sigma_W Sigma_B^+)."""
    return float(np.trace(sigma_w(h, y) @ _pinv(sigma_b(h, y))) / len(set(y.tolist())))


def reference_nc1_pinv_sum(h, y, w, b):
    """The notebook of Papyan et al. 2020: tr(Sigma_W Sigma_B^+)."""
    return float(np.trace(sigma_w(h, y) @ _pinv(sigma_b(h, y))))


def reference_nc1_pinv_sample_weighted(h, y, w, b):
    """(1/K) tr(Sigma_W Sigma_B^+) with Sigma_B over samples."""
    return float(np.trace(sigma_w(h, y) @ _pinv(sigma_b_samples(h, y))) / len(set(y.tolist())))


def reference_fuzziness(h, y, w, b):
    """He and Su 2023: D = tr(SS_w SS_b^+)."""
    return float(np.trace(sigma_w(h, y) @ _pinv(sigma_b_samples(h, y))))


def reference_vci(h, y, w, b):
    """Xu and Liu 2023: 1 - tr(Sigma_T^+ Sigma_B) / rank(Sigma_B)."""
    return 1 - reference_h_score(h, y, w, b) / np.linalg.matrix_rank(sigma_b_samples(h, y), tol=1e-10)


def reference_h_score(h, y, w, b):
    """Bao et al. 2019: tr(cov(h)^+ cov(E[h | y]))."""
    total = outer_mean(h - h.mean(0), np.full(len(h), 1 / len(h)))
    return float(np.trace(scipy.linalg.pinvh(total, rtol=1e-12) @ sigma_b_samples(h, y)))
