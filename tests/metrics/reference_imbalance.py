"""Slow twins of the cosines among small classes (Fang, He, Long and Su 2021, Figure 1).

One function ``reference_<key>(h, y, w, b)`` for each metric.
"""

import numpy as np

from metrics.reference_means import centred_means, cosines_of_pairs, rows_seen


def _small(y):
    """Places of the classes seen whose number of samples is at most the average."""
    labels = sorted(set(y.tolist()))
    counts = [sum(1 for label in y.tolist() if label == c) for c in labels]
    return [place for place, count in enumerate(counts) if count <= sum(counts) / len(counts)]


def _mean(values):
    return sum(values) / len(values)


def reference_minority_cosine_weights(h, y, w, b):
    return _mean(cosines_of_pairs(rows_seen(w, y)[_small(y)]))


def reference_minority_cosine_means(h, y, w, b):
    return _mean(cosines_of_pairs(centred_means(h, y)[_small(y)]))


def reference_merged_classifiers(h, y, w, b):
    """Classes with a partner at most 5 % of the largest norm away, all pairs compared."""
    rows = rows_seen(w, y)
    largest = max(float(sum(v * v for v in row)) ** 0.5 for row in rows)
    near = [
        any(
            float(sum((u - v) ** 2 for u, v in zip(row, other, strict=True))) ** 0.5 <= 0.05 * largest
            for j, other in enumerate(rows)
            if j != k
        )
        for k, row in enumerate(rows)
    ]
    return float(sum(near))


def reference_class_weight_norm(h, y, w, b):
    """Length of each row over the root mean square length."""
    squares = [float(sum(v * v for v in row)) for row in rows_seen(w, y)]
    return np.array([(s / _mean(squares)) ** 0.5 for s in squares])
