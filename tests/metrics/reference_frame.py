"""Slow twins of the ETF error: the K x K matrices are formed and subtracted as the definition says."""

import math

import numpy as np

from metrics.reference_means import centred_means, rows_seen


def simplex_gram(k):
    """(I - 11^T/K) / sqrt(K - 1): the Gram matrix of a simplex ETF, of unit Frobenius norm."""
    return np.array([[(float(i == j) - 1 / k) / math.sqrt(k - 1) for j in range(k)] for i in range(k)])


def structure_error(gram):
    """Zhu et al. 2021, NC2 and NC3: || A / ||A||_F - (I - 11^T/K)/sqrt(K-1) ||_F."""
    size = math.sqrt((gram**2).sum())
    return math.sqrt(((gram / size - simplex_gram(len(gram))) ** 2).sum())


def reference_etf_error(h, y, w, b):
    rows = centred_means(h, y)
    return structure_error(rows @ rows.T)


def reference_etf_error_weights(h, y, w, b):
    rows = rows_seen(w, y)
    return structure_error(rows @ rows.T)


def reference_etf_error_excess(h, y, w, b):
    """Share of the way from the smallest error of rank d, sqrt(2 - 2 sqrt(d/(K-1))), to sqrt 2."""
    rows = centred_means(h, y)
    k, d = rows.shape
    floor = math.sqrt(2 - 2 * math.sqrt(d / (k - 1))) if k > d + 1 else 0.0
    return (structure_error(rows @ rows.T) - floor) / (math.sqrt(2) - floor)


def reference_etf_error_debiased(h, y, w, b):
    """Expected Gram matrix of the noise of the means taken away: P diag(v_k / n_k) P with unbiased v_k."""
    rows = centred_means(h, y)
    k = len(rows)
    noise = np.zeros((k, k))
    for at, c in enumerate(sorted(set(y.tolist()))):
        own = [h[i] for i in range(len(y)) if y[i] == c]
        mean = sum(own) / len(own)
        noise[at, at] = sum(np.dot(x - mean, x - mean) for x in own) / (len(own) - 1) / len(own)
    projector = np.eye(k) - np.ones((k, k)) / k
    return structure_error(rows @ rows.T - projector @ noise @ projector)
