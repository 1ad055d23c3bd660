"""Slow twins of the NC2 metrics of Papyan, Han and Donoho 2020, loops and all.

One function ``reference_<key>(h, y, w, b)`` for each metric.
"""

import math

import numpy as np


def centred_means(h, y):
    """mu_k - mu_G for the classes seen, mu_G the mean of class means; rows in the order of the labels."""
    means = []
    for c in sorted(set(y.tolist())):
        rows = [h[i] for i in range(len(y)) if y[i] == c]
        means.append(sum(rows) / len(rows))
    mu_g = sum(means) / len(means)
    return np.array([m - mu_g for m in means])


def rows_seen(w, y):
    return np.array([w[c] for c in sorted(set(y.tolist()))])


def cosine(u, v):
    return float(np.dot(u, v) / (math.sqrt(np.dot(u, u)) * math.sqrt(np.dot(v, v))))


def cosines_of_pairs(rows):
    return [cosine(rows[k], rows[j]) for k in range(len(rows)) for j in range(len(rows)) if j != k]


def _equinorm(rows):
    """Papyan et al. 2020, Figure 2: Std_k(norm) / Avg_k(norm); the authors' code divides by K - 1."""
    norms = [math.sqrt(np.dot(r, r)) for r in rows]
    mean = sum(norms) / len(norms)
    return math.sqrt(sum((n - mean) ** 2 for n in norms) / (len(norms) - 1)) / mean


def _equiangularity(rows):
    """Papyan et al. 2020, Figure 3: Std over k != k' of the cosine."""
    cosines = cosines_of_pairs(rows)
    mean = sum(cosines) / len(cosines)
    return math.sqrt(sum((c - mean) ** 2 for c in cosines) / len(cosines))


def _max_angle(rows):
    """Papyan et al. 2020, Figure 4: Avg over k != k' of |cosine + 1/(K-1)|."""
    cosines = cosines_of_pairs(rows)
    return sum(abs(c + 1 / (len(rows) - 1)) for c in cosines) / len(cosines)


def reference_nc2_equinorm_means(h, y, w, b):
    return _equinorm(centred_means(h, y))


def reference_nc2_equinorm_weights(h, y, w, b):
    return _equinorm(rows_seen(w, y))


def reference_nc2_equiangularity_means(h, y, w, b):
    return _equiangularity(centred_means(h, y))


def reference_nc2_equiangularity_weights(h, y, w, b):
    return _equiangularity(rows_seen(w, y))


def reference_nc2_max_angle_means(h, y, w, b):
    return _max_angle(centred_means(h, y))


def reference_nc2_max_angle_weights(h, y, w, b):
    return _max_angle(rows_seen(w, y))


def reference_class_mean_norm(h, y, w, b):
    """Length of each centred mean over the root mean square length."""
    squares = [np.dot(r, r) for r in centred_means(h, y)]
    return np.array([math.sqrt(s / (sum(squares) / len(squares))) for s in squares])


def reference_class_max_cosine(h, y, w, b):
    """Cosine with the nearest other mean."""
    rows = centred_means(h, y)
    return np.array([max(cosine(r, rows[j]) for j in range(len(rows)) if j != k) for k, r in enumerate(rows)])
