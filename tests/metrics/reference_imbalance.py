"""Slow twins of the cosines among small classes (Fang, He, Long and Su 2021, Figure 1).

One function ``reference_<key>(h, y, w, b)`` for each metric.
"""

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
