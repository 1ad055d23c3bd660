"""Seeded problems of the NC1, CDNV, spectrum and coding families: unequal classes, more or fewer of them than d + 1."""

import numpy as np
import torch

from collapselab.evidence import ClassStats, LabelledFeatures

SHAPES = {
    "few classes": (4, 6, 40),
    "two classes": (2, 5, 30),
    "K = d + 1": (5, 4, 50),
    "K > d + 1": (9, 4, 120),
    "d > N / 2": (3, 20, 35),
}


def problem(k, d, n, *, seed=0, offset=5.0, spread=0.5, balanced=False):
    """Features (n, d) and labels (n,), every class with at least three samples, in random order."""
    g = np.random.default_rng(seed)
    y = np.arange(n) % k if balanced else np.concatenate([np.repeat(np.arange(k), 3), g.integers(0, k, n - 3 * k)])
    y = g.permutation(y)
    centres = g.normal(size=(k, d)) * 2 + offset
    # Unequal spread over coordinates and classes: a formula that averages the wrong thing first is seen.
    sizes = spread * (0.5 + g.random(size=(k, 1))) * (0.5 + g.random(size=(1, d)))
    return centres[y] + g.normal(size=(n, d)) * sizes[y], y


def evidence(h, y, *, num_classes=None):
    """Statistics and features of arrays."""
    features = LabelledFeatures.of(torch.as_tensor(h), torch.as_tensor(y), num_classes=num_classes)
    return ClassStats.of(features), features


def apart(first, second):
    """Two classes of given samples."""
    h = np.concatenate([first, second])
    return evidence(h, np.repeat([0, 1], [len(first), len(second)]))
