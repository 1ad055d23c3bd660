"""Slow twins of sizes. One function ``reference_<key>(h, y, w, b)`` for each metric."""

import math


def reference_weight_norm(h, y, w, b):
    """Root of the sum of all squared entries of the classifier."""
    return math.sqrt(sum(float(x) ** 2 for row in w for x in row))


def reference_feature_norm(h, y, w, b):
    """Root of the mean over samples of the sum of squared entries."""
    return math.sqrt(sum(float(x) ** 2 for row in h for x in row) / len(h))
