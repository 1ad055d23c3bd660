"""Slow twins of the NC1 family, loops and all. One function ``reference_<key>(h, y, w, b)`` for each metric."""

import numpy as np


def reference_nc1_pinv(h, y, w, b):
    """Papyan, Han and Donoho 2020; 1/K form as in Zhu et al. 2021: (1/K) tr(Sigma_W Sigma_B^+)."""
    classes = sorted(set(y.tolist()))
    means = {c: np.mean([h[i] for i in range(len(y)) if y[i] == c], axis=0) for c in classes}
    mu_g = np.mean([means[c] for c in classes], axis=0)
    sigma_w = np.zeros((h.shape[1], h.shape[1]))
    for i in range(len(y)):
        r = h[i] - means[int(y[i])]
        sigma_w += np.outer(r, r) / len(y)
    sigma_b = np.zeros_like(sigma_w)
    for c in classes:
        sigma_b += np.outer(means[c] - mu_g, means[c] - mu_g) / len(classes)
    return float(np.trace(sigma_w @ np.linalg.pinv(sigma_b, rcond=1e-9, hermitian=True)) / len(classes))
