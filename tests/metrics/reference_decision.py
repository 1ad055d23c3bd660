"""Slow twins of the NC4 family: one sample after the other."""

import numpy as np


def _decisions(h, y, w, b):
    """Label, nearest class mean and decision of the classifier, for every sample."""
    classes = sorted(set(y.tolist()))
    means = {c: np.mean([h[i] for i in range(len(y)) if y[i] == c], axis=0) for c in classes}
    for x, label in zip(h, y.tolist(), strict=True):
        nearest = min(classes, key=lambda c: np.dot(x - means[c], x - means[c]))
        logits = [np.dot(w[k], x) + (0.0 if b is None else b[k]) for k in range(len(w))]
        yield label, nearest, int(np.argmax(logits))


def _share(hits):
    hits = list(hits)
    return sum(hits) / len(hits)


def _shares(h, y, w, b, *, rule):
    decided = list(_decisions(h, y, w, b))
    return np.array([_share(d[rule] == c for d in decided if d[0] == c) for c in sorted(set(y.tolist()))])


def reference_nc4_disagreement(h, y, w, b):
    """Papyan et al. 2020, Figure 7: share of samples where argmax <w, h> + b differs from argmin ||h - mu||."""
    return _share(nearest != decided for _, nearest, decided in _decisions(h, y, w, b))


def reference_ncc_accuracy(h, y, w, b):
    return _share(nearest == label for label, nearest, _ in _decisions(h, y, w, b))


def reference_accuracy(h, y, w, b):
    return _share(decided == label for label, _, decided in _decisions(h, y, w, b))


def reference_class_ncc_accuracy(h, y, w, b):
    return _shares(h, y, w, b, rule=1)


def reference_class_accuracy(h, y, w, b):
    return _shares(h, y, w, b, rule=2)
