"""One pass over a tap: moments, and the features themselves where they will be needed again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.evidence.caching import FeatureCache, Replay
from collapselab.evidence.features import FeatureSource
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats, OnlineStats
from collapselab.evidence.tap import FeatureTap

Again = Literal["memory", "memory-map", "replay", "not needed"]


@dataclass(frozen=True)
class Wanted:
    """What a pass is to keep.

    Attributes:
        scatter: Whether to form the d x d scatter.
        features: Whether the features will be looked at a second time.
        again: How they come back: ``auto``, ``memory``, ``memory-map`` or ``replay``.
        budget: Bytes kept in memory under ``auto``.
        num_classes: K; None to take the classifier's rows, or to grow with the labels.
        ignore_index: Rows with this label are left out.
    """

    scatter: bool
    features: bool
    again: Literal["auto", "memory", "memory-map", "replay"] = "auto"
    budget: int = 2**30
    num_classes: int | None = None
    ignore_index: int | None = None


@dataclass(frozen=True, eq=False)
class Streamed:
    """What a pass gave.

    Attributes:
        stats: The moments.
        features: A source of the features, if they were wanted.
        again: How the source gets them.
        head: The classifier, if there is one with a vector for each class.
        num_ignored: Rows left out.
        dtype: Data type of the features as they came.
    """

    stats: ClassStats
    features: FeatureSource | None
    again: Again
    head: LinearHead | None
    num_ignored: int
    dtype: torch.dtype


def stream(
    tap: FeatureTap, loader: Iterable[Any], wanted: Wanted, cache: FeatureCache, *, head: LinearHead | None = None
) -> Streamed:
    """Run a loader through a tap once.

    Args:
        tap: Where the features come from.
        loader: The data.
        wanted: What to keep.
        cache: Where features are kept; the caller closes it.
        head: The classifier; by default the tapped layer, with its weights as they are after the pass.

    Returns:
        Moments, features and classifier.

    Raises:
        InputError: If every row is ignored, or what the tap gives is no evidence.
    """
    rows = _Rows(tap, wanted.ignore_index)
    online: OnlineStats | None = None
    dtype = torch.float32
    for h, y in rows.of(loader):
        if online is None:
            online, dtype = OnlineStats(_num_classes(tap, wanted, head), scatter=wanted.scatter), h.dtype
        online.update(h, y)
        if wanted.features and wanted.again != "replay":
            cache.append(h, y)
    if online is None:
        raise InputError(f"at least one label must differ from ignore_index={wanted.ignore_index}, got none")
    stats = online.stats()
    if head is None and tap.layer.num_outputs != 1:
        head = tap.head()
    if not wanted.features:
        return Streamed(stats, None, "not needed", head, rows.num_ignored, dtype)
    if wanted.again == "replay":
        again = Replay(lambda: _Rows(tap, wanted.ignore_index).of(loader), stats)
        return Streamed(stats, again, "replay", head, rows.num_ignored, dtype)
    return Streamed(stats, cache.source(stats.num_classes), cache.how, head, rows.num_ignored, dtype)


def _num_classes(tap: FeatureTap, wanted: Wanted, head: LinearHead | None) -> int | None:
    outputs = tap.layer.num_outputs if head is None else head.num_classes
    if wanted.num_classes is not None or outputs is None or outputs == 1:
        return wanted.num_classes  # a single output decides between two classes without a vector for each
    return outputs


class _Rows:
    """Rows of a tap whose label is not to be ignored."""

    def __init__(self, tap: FeatureTap, ignore_index: int | None) -> None:
        self._tap = tap
        self._ignore_index = ignore_index
        self.num_ignored = 0

    def of(self, loader: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
        """Non-empty batches of rows."""
        for h, y in self._tap.stream(loader):
            if self._ignore_index is None:
                if bool((y == -100).any()):
                    raise InputError("labels hold -100, the usual mark of rows to leave out: pass ignore_index=-100")
                yield h, y
                continue
            keep = y != self._ignore_index
            ignored = int((~keep).sum())
            self.num_ignored += ignored
            if ignored < y.numel():
                yield (h[keep.to(h.device)], y[keep]) if ignored else (h, y)
