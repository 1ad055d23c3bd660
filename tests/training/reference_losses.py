"""Slow twins of losses and penalties: one sample after the other, from the formula of the paper.

Each takes what a loss may look at, as arrays: z logits, h features, w and b the head, y labels, and its settings.
"""

import math

import numpy as np


def softmax(row):
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def reference_cross_entropy(z, h, w, b, y):
    """Minus the logarithm of the softmax of the true class."""
    return np.array([-math.log(softmax(row)[label]) for row, label in zip(z, y, strict=True)])


def reference_mse(z, h, w, b, y):
    """1/2 ||z - e_y||^2: the term of one sample in Han et al. (2022), eq. 1, without its average over samples."""
    values = []
    for row, label in zip(z, y, strict=True):
        total = 0.0
        for j, logit in enumerate(row):
            total += 0.5 * (logit - (1.0 if j == label else 0.0)) ** 2
        values.append(total)
    return np.array(values)


def reference_mean_squared_error(z, h, w, b, y):
    """1/K ||z - e_y||^2."""
    return reference_rescaled_mse(z, h, w, b, y, kappa=1.0, target=1.0)


def reference_rescaled_mse(z, h, w, b, y, *, kappa=5.0, target=1.0):
    """Hui and Belkin (2021): 1/K (k (f_y - M)^2 + sum of the other squares)."""
    values = []
    for row, label in zip(z, y, strict=True):
        total = kappa * (row[label] - target) ** 2
        for j, logit in enumerate(row):
            if j != label:
                total += logit**2
        values.append(total / len(row))
    return np.array(values)


def reference_label_smoothing(z, h, w, b, y, *, smoothing=0.1):
    """Szegedy et al. (2016): cross-entropy to (1 - alpha) e_y + alpha / K."""
    values = []
    for row, label in zip(z, y, strict=True):
        total = 0.0
        for j, p in enumerate(softmax(row)):
            wanted = (1 - smoothing) * (j == label) + smoothing / len(row)
            total -= wanted * math.log(p)
        values.append(total)
    return np.array(values)


def reference_focal(z, h, w, b, y, *, gamma=2.0):
    """Lin et al. (2017): -(1 - p)^gamma log p, p the probability of the true class."""
    values = []
    for row, label in zip(z, y, strict=True):
        p = softmax(row)[label]
        values.append(-((1 - p) ** gamma) * math.log(p))
    return np.array(values)


def reference_bce(z, h, w, b, y):
    """Sum over classes of the binary cross-entropies of the sigmoids."""
    values = []
    for row, label in zip(z, y, strict=True):
        total = 0.0
        for j, logit in enumerate(row):
            sigmoid = 1 / (1 + math.exp(-logit))
            total -= math.log(sigmoid if j == label else 1 - sigmoid)
        values.append(total)
    return np.array(values)


def cosine(u, v):
    return float(np.dot(u, v) / (np.linalg.norm(u) * np.linalg.norm(v)))


def reference_cosine_softmax(z, h, w, b, y, *, temperature=0.1):
    """Cross-entropy of cosines divided by the temperature."""
    scores = [[cosine(row, vector) / temperature for vector in w] for row in h]
    return reference_cross_entropy(scores, h, w, b, y)


def reference_dot_regression(z, h, w, b, y, *, energy_head=1.0, energy_features=1.0):
    """Yang et al. (2022): 1 / (2 sqrt(E_W E_H)) (w_y . h - sqrt(E_W E_H))^2."""
    root = math.sqrt(energy_head * energy_features)
    return np.array([(np.dot(w[label], row) - root) ** 2 / (2 * root) for row, label in zip(h, y, strict=True)])


def reference_supervised_contrastive(z, h, w, b, y, *, temperature=0.1):
    """Khosla et al. (2020), L_out: P(i) are the other samples of the class, A(i) all others; 0 if P(i) is empty."""
    values = []
    for i in range(len(h)):
        total = sum(math.exp(cosine(h[i], h[a]) / temperature) for a in range(len(h)) if a != i)
        partners = [p for p in range(len(h)) if p != i and y[p] == y[i]]
        logs = [math.log(math.exp(cosine(h[i], h[p]) / temperature) / total) for p in partners]
        values.append(-sum(logs) / len(partners) if partners else 0.0)
    return np.array(values)


def reference_supervised_contrastive_with_self(z, h, w, b, y, *, temperature=0.1):
    """Fang et al. (2021): both the partners and the sum include the sample itself."""
    values = []
    for i in range(len(h)):
        total = sum(math.exp(cosine(h[i], h[a]) / temperature) for a in range(len(h)))
        partners = [p for p in range(len(h)) if y[p] == y[i]]
        logs = [math.log(math.exp(cosine(h[i], h[p]) / temperature) / total) for p in partners]
        values.append(-sum(logs) / len(partners))
    return np.array(values)


def reference_info_nce(z, h, w, b, y, *, temperature=0.1):
    """van den Oord et al. (2018), eq. 4, with the next sample of the class, round the end, as the positive one."""
    n = len(h)
    values = []
    for i in range(n):
        partner = next((j % n for j in range(i + 1, i + n) if y[j % n] == y[i]), None)
        if partner is None:
            values.append(0.0)
            continue
        total = sum(math.exp(cosine(h[i], h[a]) / temperature) for a in range(n) if a != i)
        values.append(-math.log(math.exp(cosine(h[i], h[partner]) / temperature) / total))
    return np.array(values)


def coding_rate(rows, count, d, epsilon_squared):
    """1/2 log det(I + d / (m eps^2) Z^T Z), from the eigenvalues."""
    eigenvalues = np.linalg.eigvalsh(np.eye(d) + d / (count * epsilon_squared) * rows.T @ rows)
    return 0.5 * float(np.sum(np.log(eigenvalues)))


def reference_mcr2(z, h, w, b, y, *, epsilon_squared=0.5):
    """Yu et al. (2020), eq. 8: minus (R - R_c) of the batch, for every sample."""
    unit = np.array([row / np.linalg.norm(row) for row in h])
    n, d = unit.shape
    reduction = coding_rate(unit, n, d, epsilon_squared)
    for label in sorted(set(y.tolist())):
        rows = unit[y == label]
        reduction -= len(rows) / n * coding_rate(rows, len(rows), d, epsilon_squared)
    return np.full(n, -reduction)


def reference_logit_penalty(z, h, w, b, y, *, strength=1e-2):
    """beta / 2 ||z||^2."""
    return np.array([strength / 2 * sum(logit**2 for logit in row) for row in z])


def reference_feature_decay(z, h, w, b, y, *, decay_features=5e-3):
    """lambda / 2 ||h||^2."""
    return np.array([decay_features / 2 * sum(value**2 for value in row) for row in h])


def reference_confidence_penalty(z, h, w, b, y, *, strength=0.1):
    """Pereyra et al. (2017): -beta H(p)."""
    return np.array([strength * sum(p * math.log(p) for p in softmax(row)) for row in z])


def reference_nearest_centre(layers, y, *, strength=1e-2):
    """Ben-Shaul and Dekel (2022): squared distance to the batch's class centre, averaged over layers (n, d)."""
    values = np.zeros(len(y))
    for layer in layers:
        for i, row in enumerate(layer):
            centre = np.mean([layer[j] for j in range(len(y)) if y[j] == y[i]], axis=0)
            values[i] += strength / len(layers) * sum((row - centre) ** 2)
    return values


TWINS = {
    "cross_entropy": reference_cross_entropy,
    "mse": reference_mse,
    "mean_squared_error": reference_mean_squared_error,
    "rescaled_mse": reference_rescaled_mse,
    "label_smoothing": reference_label_smoothing,
    "focal": reference_focal,
    "bce": reference_bce,
    "cosine_softmax": reference_cosine_softmax,
    "dot_regression": reference_dot_regression,
    "supervised_contrastive": reference_supervised_contrastive,
    "supervised_contrastive_with_self": reference_supervised_contrastive_with_self,
    "info_nce": reference_info_nce,
    "mcr2": reference_mcr2,
}
PENALTY_TWINS = {
    "logit_penalty": reference_logit_penalty,
    "feature_decay": reference_feature_decay,
    "confidence_penalty": reference_confidence_penalty,
}
