"""The arrays that show one moment of a collapse: features and class means in the coordinates of the simplex."""

import numpy as np
import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats
from collapselab.geometry import align, canonical_simplex

# A heat-map of more classes than this shows nothing.
_LARGEST_MAP = 200


def snapshot_arrays(
    stats: ClassStats,
    h: Tensor,
    y: Tensor,
    *,
    head: LinearHead | None = None,
    samples_per_class: int = 40,
    max_classes: int = 20,
) -> dict[str, np.ndarray]:
    """What a run keeps of one moment, for pictures.

    The first `max_classes` seen classes are shown, k of them. They are centred at the mean of their means, mapped by
    the isometry that best lays the centred means on the canonical simplex, and divided by the means' root mean square
    norm: at full collapse every sample lies on its class's vertex.

    Args:
        stats: Moments whose means are shown.
        h: (n, d) features; the first samples of each class are shown.
        y: (n,) their labels.
        head: The classifier, if its rows are to be shown too, divided by their own root mean square norm.
        samples_per_class: Most samples shown of a class.
        max_classes: Most classes shown.

    Returns:
        float32 `coordinates` (m, k-1), `centres` (k, k-1), `simplex` (k, k-1) and perhaps `weight_coordinates`
        (k, k-1); int64 `labels` (m,) and `classes` (k,). Up to 200 seen classes also float32 `cosines` between all
        centred class means, with a row of zeros for a mean at the global mean, and int64 `cosine_classes`, its labels.

    Raises:
        InputError: If features and labels do not fit the statistics.
        UndefinedMetric: If fewer than two classes were seen, or the means shown coincide.
    """
    per_class = checks.whole(samples_per_class, "samples_per_class", at_least=1)
    shown = min(stats.num_seen, checks.whole(max_classes, "max_classes", at_least=2))
    if shown < 2:
        raise UndefinedMetric("a picture needs at least two classes with samples, got one")
    h = checks.matrix(h, "features")
    y = checks.labels(y, num_rows=h.shape[0]).to(h.device)
    if h.shape[1] != stats.num_features:
        raise InputError(f"features must have {stats.num_features} columns, got {checks.described(h)}")
    labels, means = stats.labels[:shown], stats.means[:shown]
    picked = _first_of_each(y, labels.to(y.device), per_class)
    centre = means.mean(0)
    rms = (means - centre).square().sum(1).mean().sqrt()
    if float(rms) == 0:
        raise UndefinedMetric("the class means shown coincide: the picture has no size")
    turn = align(means)
    arrays = {
        "coordinates": (h[picked].to(means.device).double() - centre) @ (turn / rms),
        "centres": (means - centre) @ (turn / rms),
        "simplex": canonical_simplex(shown),
        "labels": y[picked],
        "classes": labels,
    }
    if head is not None:
        arrays["weight_coordinates"] = _rows_of(head, labels, means.device) @ turn
    if stats.num_seen <= _LARGEST_MAP:
        arrays |= {"cosines": _cosines(stats), "cosine_classes": stats.labels}
    return {name: _kept(array) for name, array in arrays.items()}


def _first_of_each(y: Tensor, labels: Tensor, most: int) -> Tensor:
    """Indices of the first `most` samples of each label, class by class."""
    order = torch.argsort(y, stable=True)
    ordered = y[order].contiguous()
    starts, ends = torch.searchsorted(ordered, labels), torch.searchsorted(ordered, labels, right=True)
    at = starts[:, None] + torch.arange(most, device=y.device)
    return order[at[at < ends[:, None]]]


def _rows_of(head: LinearHead, labels: Tensor, device: torch.device) -> Tensor:
    rows = head.double().weight.to(device)[labels]
    rms = rows.square().sum(1).mean().sqrt()
    return rows / rms if float(rms) > 0 else rows


def _cosines(stats: ClassStats) -> Tensor:
    rows = torch.nn.functional.normalize(stats.centred_means, dim=1, eps=1e-300)
    return (rows @ rows.T).clamp(-1.0, 1.0)


def _kept(array: Tensor) -> np.ndarray:
    return array.cpu().to(torch.float32 if array.is_floating_point() else torch.int64).numpy()
