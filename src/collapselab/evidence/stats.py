"""Class moments in float64: the sufficient statistics of every moment-based metric, mergeable in any order.

Moments are centred before they are summed and merged as in Chan, Golub and LeVeque (1983). Raw or fixed-shift sums lose
4-12 % of the within-class trace once spread / offset is 1e-6; these lose nothing down to the rounding of the features.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.core.linalg import accumulator_device, add_gram, mirrored, right_svd
from collapselab.evidence.features import CHUNK_ROWS, LabelledFeatures
from collapselab.records.files import read_arrays, write_arrays

_SCHEMA = "collapselab.ClassStats/1"

# Float64 values reduced at once: 2 MB stays in a core's cache; blocks of 32 MB were measured ten times slower.
_BLOCK_VALUES = 2**18


@dataclass(frozen=True, eq=False)
class ClassStats:
    """Counts, means and within-class scatter of the classes that were seen, k of `num_classes`.

    A class never seen has no row: it cannot become a mean at the origin. All arrays are float64 (counts int64).

    Attributes:
        num_classes: K as declared.
        labels: (k,) labels seen, ascending.
        counts: (k,) samples of each.
        means: (k, d) class means.
        class_scatter: (k,) sum of squared distances to the own mean.
        scatter: (d, d) pooled sum of (h - mu_y)(h - mu_y)^T, or None where it was not asked for.
    """

    num_classes: int
    labels: Int[Tensor, " k"]
    counts: Int[Tensor, " k"]
    means: Float[Tensor, "k d"]
    class_scatter: Float[Tensor, " k"]
    scatter: Float[Tensor, "d d"] | None = field(default=None)

    @classmethod
    def of(cls, features: LabelledFeatures, *, scatter: bool = True) -> "ClassStats":
        """Moments of features held in memory: means first, then residuals, in blocks.

        Args:
            features: What to describe.
            scatter: Whether to form the d x d pooled scatter.

        Returns:
            The moments.
        """
        online = OnlineStats(num_classes=features.num_classes, scatter=scatter)
        online.absorb(_block_stats(features.h, features.y, features.num_classes, scatter=scatter))
        return online.stats()

    def merge(self, other: "ClassStats") -> "ClassStats":
        """Moments of two sets of samples together; associative and commutative up to rounding.

        Args:
            other: Moments of other samples of the same problem.

        Returns:
            New moments.

        Raises:
            InputError: If classes, width or the presence of the scatter differ.
        """
        if (self.num_classes, self.num_features) != (other.num_classes, other.num_features):
            mine, theirs = (self.num_classes, self.num_features), (other.num_classes, other.num_features)
            raise InputError(f"statistics to merge must agree in (num_classes, num_features), got {mine} and {theirs}")
        if (self.scatter is None) != (other.scatter is None):
            raise InputError("statistics to merge must both have the scatter or both lack it")
        online = OnlineStats(num_classes=self.num_classes, scatter=self.scatter is not None)
        online.absorb(self)
        online.absorb(other)
        return online.stats()

    @property
    def num_seen(self) -> int:
        """K, the number of classes with at least one sample."""
        return self.labels.shape[0]

    @property
    def num_features(self) -> int:
        """Width d of the features."""
        return self.means.shape[1]

    @cached_property
    def num_samples(self) -> int:
        """N."""
        return int(self.counts.sum())

    @cached_property
    def empty_classes(self) -> tuple[int, ...]:
        """Labels never seen."""
        seen = torch.zeros(self.num_classes, dtype=torch.bool)
        seen[self.labels.cpu()] = True
        return tuple((~seen).nonzero().flatten().tolist())

    @cached_property
    def imbalance(self) -> float:
        """Largest over smallest class size among the classes seen; 1 if balanced."""
        return float(self.counts.max()) / float(self.counts.min())

    @cached_property
    def global_mean(self) -> Float[Tensor, " d"]:
        """Mean of the class means: each class counts once."""
        return self.means.mean(0)

    @cached_property
    def sample_mean(self) -> Float[Tensor, " d"]:
        """Mean of the samples: each sample counts once."""
        return (self.counts.double() / self.num_samples) @ self.means

    @cached_property
    def centred_means(self) -> Float[Tensor, "k d"]:
        """Class means minus their mean."""
        return self.means - self.global_mean

    @cached_property
    def class_variances(self) -> Float[Tensor, " k"]:
        """Plug-in trace of each class covariance, v_k = SSW_k / n_k."""
        return self.class_scatter / self.counts.double()

    @cached_property
    def class_variances_unbiased(self) -> Float[Tensor, " k"]:
        """Unbiased trace of each class covariance, SSW_k / (n_k - 1).

        Raises:
            UndefinedMetric: If a class has a single sample.
        """
        if int(self.counts.min()) < 2:
            single = int(self.labels[self.counts.argmin()])
            raise UndefinedMetric(f"an unbiased variance needs two samples of every class, class {single} has one")
        return self.class_scatter / (self.counts.double() - 1)

    @cached_property
    def within(self) -> Float[Tensor, "d d"]:
        """Sigma_W, the pooled within-class covariance over samples (divided by N).

        Raises:
            UndefinedMetric: If the scatter was not kept.
        """
        if self.scatter is None:
            raise UndefinedMetric("the pooled scatter was not kept; accumulate with scatter=True")
        return self.scatter / self.num_samples

    @cached_property
    def between_trace(self) -> Float[Tensor, ""]:
        """Trace of Sigma_B: mean squared distance of the class means to their mean."""
        return self.centred_means.square().sum() / self.num_seen

    @cached_property
    def means_spectrum(self) -> tuple[Float[Tensor, " r"], Float[Tensor, "d r"]]:
        """Singular values (descending) of the centred means and their right singular vectors."""
        return right_svd(self.centred_means)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as safetensors with a schema version, atomically.

        Args:
            path: Where to.
        """
        arrays = {
            "labels": self.labels.cpu().numpy(),
            "counts": self.counts.cpu().numpy(),
            "means": self.means.cpu().numpy(),
            "class_scatter": self.class_scatter.cpu().numpy(),
        }
        if self.scatter is not None:
            arrays["scatter"] = self.scatter.cpu().numpy()
        metadata = {"schema": _SCHEMA, "num_classes": str(self.num_classes)}
        write_arrays(Path(path), arrays, metadata=metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "ClassStats":
        """Read what `save` wrote.

        Args:
            path: Where from.

        Returns:
            The same moments, bit for bit, on the CPU.

        Raises:
            InputError: If the file is missing, truncated, foreign or inconsistent.
        """
        arrays, metadata = read_arrays(Path(path))
        if metadata.get("schema") != _SCHEMA:
            raise InputError(f"{path} must hold {_SCHEMA}, got schema {metadata.get('schema')!r}")
        return _checked_stats(arrays, metadata, str(path))


def _checked_stats(arrays: dict[str, np.ndarray], metadata: dict[str, str], path: str) -> ClassStats:
    wanted = {"labels", "counts", "means", "class_scatter"}
    if not wanted <= set(arrays) <= wanted | {"scatter"} or not metadata.get("num_classes", "").isdecimal():
        raise InputError(f"{path} must hold {sorted(wanted)} and num_classes, got {sorted(arrays)}")
    t = {name: torch.from_numpy(array) for name, array in arrays.items()}
    k, num_classes = t["labels"].numel(), int(metadata["num_classes"])
    d = t["means"].shape[1] if t["means"].ndim == 2 else -1
    shapes = {"labels": (k,), "counts": (k,), "means": (k, d), "class_scatter": (k,), "scatter": (d, d)}
    for name in (name for name in shapes if name in t):
        dtype = torch.int64 if name in ("labels", "counts") else torch.float64
        if tuple(t[name].shape) != shapes[name] or t[name].dtype != dtype:
            expected = f"{dtype} of shape {shapes[name]}"
            raise InputError(f"{path}: {name} must be {expected}, got {checks.described(t[name])}")
    ascending = k > 0 and bool((t["labels"][1:] > t["labels"][:-1]).all())
    if not ascending or int(t["labels"][0]) < 0 or int(t["labels"][-1]) >= num_classes or int(t["counts"].min()) < 1:
        raise InputError(f"{path}: labels must ascend within 0..{num_classes - 1} and counts be positive")
    for name in ("means", "class_scatter", "scatter"):
        if name in t:
            checks.finite(t[name], f"{path}: {name}")
    return ClassStats(num_classes=num_classes, **t)


class OnlineStats:
    """Accumulates `ClassStats` from a stream of batches, in constant memory: (K, d) means and, if asked for, (d, d).

    Small batches are gathered into blocks before they are reduced, so the cost does not depend on the batch size. Any
    chunking and order give the same moments to about 1e-15 relative to the offset squared over the spread.

    Args:
        num_classes: K; by default grows with the largest label seen.
        scatter: Whether to keep the d x d pooled scatter.
        ignore_index: Rows with this label are counted in `num_ignored` and left out.

    Raises:
        InputError: If an argument is out of range.

    Example:
        >>> online = OnlineStats(num_classes=2)
        >>> online.update(torch.tensor([[0.0], [2.0]]), torch.tensor([0, 1]))
        >>> online.update(torch.tensor([[4.0]]), torch.tensor([1]))
        >>> online.stats().means.flatten().tolist()
        [0.0, 3.0]
    """

    def __init__(
        self, num_classes: int | None = None, *, scatter: bool = True, ignore_index: int | None = None
    ) -> None:
        self._declared = None if num_classes is None else checks.whole(num_classes, "num_classes", at_least=1)
        self._with_scatter = scatter
        self._ignore_index = ignore_index
        self.num_ignored = 0
        self._counts = torch.zeros(0, dtype=torch.int64)
        self._means = torch.zeros(0, 0, dtype=torch.float64)
        self._class_scatter = torch.zeros(0, dtype=torch.float64)
        self._scatter: Tensor | None = None  # upper triangle only
        self._buffer_h: Tensor | None = None
        self._buffer_y: Tensor | None = None
        self._buffered = 0

    def update(self, h: Any, y: Any) -> None:
        """Take in a batch. Its values are copied or reduced before this returns.

        Args:
            h: Features (n, d).
            y: Labels (n,).

        Raises:
            InputError: If the batch is not of that kind or does not fit the batches before.
        """
        y = checks.labels(y)
        h = checks.as_tensor(h, "features")
        if self._ignore_index is not None and h.ndim == 2 and h.shape[0] == y.shape[0]:
            keep = y != self._ignore_index
            self.num_ignored += int((~keep).sum())
            h, y = h[keep.to(h.device)], y[keep]
            if y.numel() == 0:
                return
        h = checks.matrix(h, "features")
        y = checks.labels(y, num_rows=h.shape[0])
        y = checks.labels_in_range(y, self._declared or max(int(y.max()) + 1, 1)).to(h.device)
        width = self._width()
        if width not in (None, h.shape[1]):
            raise InputError(f"features must keep their width {width}, got {checks.described(h)}")
        for rows, classes in zip(torch.split(h, CHUNK_ROWS), torch.split(y, CHUNK_ROWS), strict=True):
            self._gather(rows, classes)

    def _width(self) -> int | None:
        if self._buffer_h is not None:
            return self._buffer_h.shape[1]
        return self._means.shape[1] if self._counts.numel() else None

    def _gather(self, h: Tensor, y: Tensor) -> None:
        """Copy rows into the block buffer; reduce it when it is full."""
        buffer = self._buffer_h
        if buffer is not None and (buffer.dtype != h.dtype or buffer.device != h.device):
            self._flush()
            buffer = None
        if buffer is None:
            self._buffer_h = h.new_empty(CHUNK_ROWS, h.shape[1])
            self._buffer_y = y.new_empty(CHUNK_ROWS)
        if self._buffered + h.shape[0] > CHUNK_ROWS:
            self._flush()
        assert self._buffer_h is not None and self._buffer_y is not None  # set above
        stop = self._buffered + h.shape[0]
        self._buffer_h[self._buffered : stop] = h
        self._buffer_y[self._buffered : stop] = y
        self._buffered = stop

    def _flush(self) -> None:
        if self._buffered == 0 or self._buffer_h is None or self._buffer_y is None:
            return
        h, y = self._buffer_h[: self._buffered], self._buffer_y[: self._buffered]
        self._buffered = 0
        num_classes = self._declared or int(y.max()) + 1
        self.absorb(_block_stats(h, y, num_classes, scatter=self._with_scatter))

    def absorb(self, block: ClassStats) -> None:
        """Merge finished moments into the running ones, in place.

        Args:
            block: Moments of other samples.

        Raises:
            InputError: If they have another width, more classes than declared, or lack the scatter that is kept here.
        """
        self._check(block)
        self._grow(self._declared or block.num_classes, block.num_features, block.means.device)
        at = block.labels
        n_a, n_b = self._counts[at].double(), block.counts.double()
        delta = block.means - self._means[at]
        weight = n_a * n_b / (n_a + n_b)
        self._means[at] += delta * (n_b / (n_a + n_b))[:, None]
        self._class_scatter[at] += block.class_scatter + weight * delta.square().sum(1)
        self._counts[at] += block.counts
        if self._scatter is not None and block.scatter is not None:
            self._scatter += block.scatter
            moved = weight > 0
            if bool(moved.any()):
                add_gram(self._scatter, delta[moved] * weight[moved].sqrt()[:, None])

    def _check(self, block: ClassStats) -> None:
        if self._width() not in (None, block.num_features):
            raise InputError(
                f"statistics must have the width {self._width()} of those before, got {block.num_features}"
            )
        if self._declared is not None and block.num_classes > self._declared:
            raise InputError(f"statistics must have at most {self._declared} classes, got {block.num_classes}")
        if self._with_scatter and block.scatter is None:
            raise InputError("statistics must hold the scatter, which is kept here, got some without")

    def _grow(self, num_classes: int, d: int, device: torch.device) -> None:
        """Make room for more classes; the first call makes everything."""
        old = self._counts.shape[0]
        if old == 0:
            self._means = torch.zeros(num_classes, d, dtype=torch.float64, device=device)
            self._counts = torch.zeros(num_classes, dtype=torch.int64, device=device)
            self._class_scatter = torch.zeros(num_classes, dtype=torch.float64, device=device)
            if self._with_scatter:
                self._scatter = torch.zeros(d, d, dtype=torch.float64, device=device)
        elif num_classes > old:
            extra = num_classes - old
            self._means = torch.cat([self._means, self._means.new_zeros(extra, d)])
            self._counts = torch.cat([self._counts, self._counts.new_zeros(extra)])
            self._class_scatter = torch.cat([self._class_scatter, self._class_scatter.new_zeros(extra)])

    def stats(self) -> ClassStats:
        """The moments of everything taken in so far.

        Returns:
            A snapshot, independent of later updates.

        Raises:
            InputError: If nothing was taken in.
        """
        self._flush()
        seen = self._counts.nonzero().flatten()
        if seen.numel() == 0:
            raise InputError("statistics need at least one sample, got none")
        return ClassStats(
            num_classes=self._declared or self._counts.shape[0],
            labels=seen,
            counts=self._counts[seen],
            means=self._means[seen],
            class_scatter=self._class_scatter[seen],
            scatter=None if self._scatter is None else mirrored(self._scatter),
        )


def _block_stats(h: Tensor, y: Tensor, num_classes: int, *, scatter: bool) -> ClassStats:
    """Two sweeps over rows in memory: class means, then residuals. Scatter is the upper triangle only."""
    device = accumulator_device(h.device)
    h, y = h.to(device), y.to(device)
    counts_all = torch.bincount(y, minlength=num_classes)
    seen = counts_all.nonzero().flatten()
    counts = counts_all[seen]
    row_of = torch.zeros(num_classes, dtype=torch.int64, device=device)
    row_of[seen] = torch.arange(seen.shape[0], device=device)
    k, d = seen.shape[0], h.shape[1]
    means = torch.zeros(k, d, dtype=torch.float64, device=device)
    for rows, at in _blocks(h, y, row_of):
        means.index_add_(0, at, rows)
    means /= counts.double()[:, None]
    class_scatter = torch.zeros(k, dtype=torch.float64, device=device)
    total = torch.zeros(d, d, dtype=torch.float64, device=device) if scatter else None
    for rows, at in _blocks(h, y, row_of):
        residuals = rows.sub_(means.index_select(0, at))
        class_scatter.index_add_(0, at, torch.linalg.vector_norm(residuals, dim=1).square_())
        if total is not None:
            add_gram(total, residuals)
    return ClassStats(num_classes, seen, counts, means, class_scatter, total)


def _blocks(h: Tensor, y: Tensor, row_of: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    size = max(_BLOCK_VALUES // h.shape[1], 64)
    for rows, classes in zip(torch.split(h, size), torch.split(y, size), strict=True):
        yield rows.to(torch.float64, copy=True), row_of[classes]
