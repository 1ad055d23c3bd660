"""Evidence with a known answer, for tests and for the examples in docstrings."""

import torch
from torch import Tensor

from collapselab.evidence import ClassStats


def etf_rows(classes: int, *, features: int | None = None) -> Tensor:
    """Vertices of a regular simplex: unit rows (classes, features), pairwise cosine -1/(classes - 1), float64."""
    features = classes if features is None else features
    centred = torch.eye(classes, dtype=torch.float64) - 1.0 / classes
    # Orthonormal coordinates of the hyperplane orthogonal to the all-ones vector.
    basis = torch.linalg.qr(centred[:, : classes - 1]).Q
    rows = centred @ basis * (classes / (classes - 1)) ** 0.5
    return torch.nn.functional.pad(rows, (0, features - (classes - 1)))


def collapsed(
    classes: int = 3, *, features: int | None = None, per_class: int = 5, radius: float = 1.0, offset: float = 0.0
) -> ClassStats:
    """Class statistics at the exact collapse: no scatter, means on a simplex of the given radius, shifted by offset."""
    means = radius * etf_rows(classes, features=features) + offset
    width = means.shape[1]
    return ClassStats(
        num_classes=classes,
        labels=torch.arange(classes),
        counts=torch.full((classes,), per_class),
        means=means,
        class_scatter=torch.zeros(classes, dtype=torch.float64),
        scatter=torch.zeros(width, width, dtype=torch.float64),
    )
