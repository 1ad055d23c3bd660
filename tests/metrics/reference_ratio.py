"""Slow twins of NC1 from traces. One function ``reference_<key>(h, y, w, b)`` for each metric."""

import numpy as np

from metrics.reference_variability import class_rows, sigma_b, sigma_b_samples, sigma_w


def class_variances(h, y, *, ddof=0):
    """v_k = sum of squared distances to the own mean over n_k (or n_k - 1)."""
    found = []
    for group in class_rows(h, y):
        squares = [float(np.dot(row - group.mean(0), row - group.mean(0))) for row in group]
        found.append(sum(squares) / (len(group) - ddof))
    return np.array(found)


def reference_nc1_trace_ratio(h, y, w, b):
    """R = mean_k v_k / tr Sigma_B."""
    return float(class_variances(h, y).mean() / np.trace(sigma_b(h, y)))


def reference_nc1_trace_ratio_sample_weighted(h, y, w, b):
    """tr Sigma_W / tr Sigma_B, both over samples."""
    return float(np.trace(sigma_w(h, y)) / np.trace(sigma_b_samples(h, y)))


def reference_nc1_trace_ratio_debiased(h, y, w, b):
    """R with tr Sigma_B - ((K-1)/K^2) sum_k v_k/n_k below and v_k over n_k - 1."""
    variances, groups = class_variances(h, y, ddof=1), class_rows(h, y)
    k = len(groups)
    noise = sum(v / len(group) for v, group in zip(variances, groups, strict=True))
    return float(variances.mean() / (np.trace(sigma_b(h, y)) - (k - 1) / k**2 * noise))


def reference_within_fraction(h, y, w, b):
    """R / (1 + R)."""
    ratio = reference_nc1_trace_ratio(h, y, w, b)
    return ratio / (1 + ratio)


def reference_class_variability(h, y, w, b):
    """v_k / tr Sigma_B."""
    return class_variances(h, y) / np.trace(sigma_b(h, y))


def reference_class_separation_r2(h, y, w, b):
    """Kornblith et al. 2021: 1 - d_within / d_total, cosine distances of all pairs of samples, self-pairs included."""
    groups = [group / np.linalg.norm(group, axis=1, keepdims=True) for group in class_rows(h, y)]
    k = len(groups)
    within = total = 0.0
    for j, one in enumerate(groups):
        for m, other in enumerate(groups):
            for a in one:
                for c in other:
                    distance = 1 - float(a @ c)
                    total += distance / (k**2 * len(one) * len(other))
                    within += distance / (k * len(one) ** 2) if j == m else 0.0
    return 1 - within / total
