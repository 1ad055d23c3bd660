"""Slow twins of the metrics of head and tail groups (Fang et al. 2021; Thrampoulidis et al. 2022, Figure 1).

One function ``reference_<key>(h, y, w, b)`` for each metric.
"""

import math

import numpy as np

from metrics.reference_means import centred_means, cosine, cosines_of_pairs, rows_seen


def groups(y):
    """Places of the head and of the tail among the classes seen: thirds by rank, equal sizes at their mean rank."""
    labels = sorted(set(y.tolist()))
    counts = [sum(1 for label in y.tolist() if label == c) for c in labels]
    head, tail = [], []
    for place, count in enumerate(counts):
        larger = sum(1 for other in counts if other > count)
        same = sum(1 for other in counts if other == count)
        share = (larger + same / 2) / len(counts)
        if count == max(counts) or share < 1 / 3 - 1e-12:
            head.append(place)
        elif count == min(counts) or share > 2 / 3 + 1e-12:
            tail.append(place)
    return head, tail


def _mean(values):
    return sum(values) / len(values)


def _between(first, second):
    return _mean([cosine(u, v) for u in first for v in second])


def _norms(rows):
    return [math.sqrt(np.dot(r, r)) for r in rows]


def reference_head_group_cosine_means(h, y, w, b):
    return _mean(cosines_of_pairs(centred_means(h, y)[groups(y)[0]]))


def reference_tail_group_cosine_means(h, y, w, b):
    return _mean(cosines_of_pairs(centred_means(h, y)[groups(y)[1]]))


def reference_head_tail_cosine_means(h, y, w, b):
    head, tail = groups(y)
    return _between(centred_means(h, y)[head], centred_means(h, y)[tail])


def reference_head_group_cosine_weights(h, y, w, b):
    return _mean(cosines_of_pairs(rows_seen(w, y)[groups(y)[0]]))


def reference_tail_group_cosine_weights(h, y, w, b):
    return _mean(cosines_of_pairs(rows_seen(w, y)[groups(y)[1]]))


def reference_head_tail_cosine_weights(h, y, w, b):
    head, tail = groups(y)
    return _between(rows_seen(w, y)[head], rows_seen(w, y)[tail])


def reference_head_tail_norm_ratio_means(h, y, w, b):
    head, tail = groups(y)
    return _mean(_norms(centred_means(h, y)[head])) / _mean(_norms(centred_means(h, y)[tail]))


def reference_head_tail_norm_ratio_weights(h, y, w, b):
    head, tail = groups(y)
    return _mean(_norms(rows_seen(w, y)[head])) / _mean(_norms(rows_seen(w, y)[tail]))


def _trace_ratio(h, y, places):
    """Mean squared distance to the own mean over that of the means to their mean, of some classes alone."""
    labels = [sorted(set(y.tolist()))[place] for place in places]
    rows = [[h[i] for i in range(len(y)) if y[i] == c] for c in labels]
    means = [sum(own) / len(own) for own in rows]
    middle = sum(means) / len(means)
    within = _mean([_mean([np.dot(x - m, x - m) for x in own]) for own, m in zip(rows, means, strict=True)])
    return within / _mean([np.dot(m - middle, m - middle) for m in means])


def reference_head_group_trace_ratio(h, y, w, b):
    return _trace_ratio(h, y, groups(y)[0])


def reference_tail_group_trace_ratio(h, y, w, b):
    return _trace_ratio(h, y, groups(y)[1])
