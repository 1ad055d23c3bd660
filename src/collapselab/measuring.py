"""The public door: features, moments, a file, or a model with a loader in; measurements out."""

import contextlib
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence.caching import FeatureCache, Replay
from collapselab.evidence.features import FeatureSource, LabelledFeatures
from collapselab.evidence.files import FeatureFile, read_features
from collapselab.evidence.head import LinearHead
from collapselab.evidence.remarks import loader_remarks, remarks
from collapselab.evidence.stats import ClassStats, OnlineStats
from collapselab.evidence.tap import FeatureTap, feature_tap
from collapselab.metrics._measure import Evidence, measure_evidence, select
from collapselab.records.provenance import provenance
from collapselab.records.schema import Conditions, Measurements

FeaturesAgain = Literal["auto", "memory", "memory-map", "replay"]


def measure(
    model_or_features: Any,
    loader: Iterable[Any] | None = None,
    *,
    head: Any = None,
    metrics: Sequence[str] | None = None,
    num_classes: int | None = None,
    layer: str | FeatureTap = "auto",
    split: str | None = None,
    ignore_index: int | None = None,
    device: torch.device | str | None = None,
    mode: Literal["eval", "train"] = "eval",
    allow_autocast: bool = False,
    features_again: FeaturesAgain = "auto",
    memory_budget: int = 2**30,
    progress: bool = False,
) -> Measurements:
    """Measure neural collapse of features, or of what a model's classifier sees.

    Safe in the middle of training: parameters, gradients, buffers, training flags, hooks and the state of the global
    random generators (PyTorch, NumPy, Python) are afterwards as before.

    Args:
        model_or_features: A model (then `loader` is needed); `LabelledFeatures`; a pair (h, y) of tensors or arrays;
            the path of a feature file; or `ClassStats`, from which metrics that look at single samples are undefined.
        loader: Pairs (inputs, labels), or mappings with ``labels``, ``label`` or ``y``. Labels are taken as they come,
            one a sample or one a position of a sequence; shifting for next-token prediction is the caller's.
        head: Classifier: `LinearHead`, a pair (weight, bias), a weight, or a linear layer. By default the tapped layer
            of the model, or what the file brings. What needs a head is recorded as undefined without one.
        metrics: Keys; by default all registered metrics.
        num_classes: K; by default the classifier's rows, else one more than the largest label.
        layer: Name of the layer whose input is the features; ``auto`` for the classifier; or a `FeatureTap` that
            already knows its layer, which saves one forward pass and keeps its own mode, device and autocast setting.
        split: Name of the data for the record, such as ``train``.
        ignore_index: Rows with this label are left out and counted; by default none are (-100 is usual for tokens).
        device: Where inputs go; by default where the model is.
        mode: Flags of the model while it is measured; ``train`` is recorded with a warning.
        allow_autocast: Measure under autocast; by default it is switched off for the measured forward passes.
        features_again: Where metrics that look at features a second time get them: ``memory``; ``memory-map``, a
            temporary file; ``replay``, a second pass over the loader; ``auto``, memory up to the budget, then the file.
        memory_budget: Bytes of features kept in memory under ``auto``.
        progress: Show a bar on standard error.

    Returns:
        Every metric's value or the reason why it is undefined, with the conditions and the provenance.

    Raises:
        InputError: If an argument, a file or what the loader gives is not of that kind.

    Example:
        >>> h = torch.tensor([[1.0, 0.0], [1.1, 0.0], [0.0, 1.0], [0.0, 1.1]])
        >>> measure((h, [0, 0, 1, 1]), metrics=["nc1_pinv"])["nc1_pinv"]
        0.002...
    """
    asked = _Asked(
        metrics=None if metrics is None else tuple(m.name for m in select(metrics)),
        num_classes=None if num_classes is None else checks.whole(num_classes, "num_classes", at_least=1),
        head=_as_head(head),
        ignore_index=ignore_index,
        again=_one_of(features_again),
        budget=checks.whole(memory_budget, "memory_budget", at_least=0),
        progress=progress,
    )
    if isinstance(model_or_features, nn.Module):
        options = {"device": device, "mode": mode, "allow_autocast": allow_autocast}
        tap = _tap(model_or_features, layer, options)
        if loader is None:
            raise InputError("a model is measured on data: pass a loader, measure(model, loader)")
        with _untouched_randomness(tap.device):
            return _measure_model(tap, loader, asked, split)
    if loader is not None:
        raise InputError(f"a loader goes with a model only, got {checks.described(model_or_features)} and a loader")
    return _measure_given(model_or_features, asked, split)


@dataclass(frozen=True)
class _Asked:
    """What was asked for, checked."""

    metrics: tuple[str, ...] | None
    num_classes: int | None
    head: LinearHead | None
    ignore_index: int | None
    again: FeaturesAgain
    budget: int
    progress: bool

    @property
    def scatter(self) -> bool:
        """Whether a requested metric needs the d x d scatter."""
        return any("scatter" in m.needs for m in select(self.metrics))

    @property
    def features(self) -> bool:
        """Whether a requested metric looks at the features a second time."""
        return any("features" in m.needs or {"features", "decisions"} & set(m.inputs) for m in select(self.metrics))


def _one_of(value: Any) -> FeaturesAgain:
    known = ("auto", "memory", "memory-map", "replay")
    if value not in known:
        raise InputError(f"features_again must be one of {', '.join(known)}, got {value!r}")
    return value


def _as_head(value: Any) -> LinearHead | None:
    if value is None or isinstance(value, LinearHead):
        return value
    if isinstance(value, nn.Module):
        weight = getattr(value, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim != 2:
            raise InputError(f"head must be a linear layer with a (classes, features) weight, got {value!r}")
        return LinearHead.of(weight, getattr(value, "bias", None))
    if isinstance(value, tuple) and len(value) == 2:
        return LinearHead.of(*value)
    return LinearHead.of(value)


# ------------------------------------------------------------------------------------------------ a model and a loader


def _tap(model: nn.Module, layer: str | FeatureTap, options: dict[str, Any]) -> FeatureTap:
    if not isinstance(layer, FeatureTap):
        return feature_tap(model, layer, **options)
    if options != {"device": None, "mode": "eval", "allow_autocast": False}:
        raise InputError("mode, device and allow_autocast belong to the tap that was passed as layer; set them there")
    if not layer.belongs_to(model):
        raise InputError("the tap passed as layer belongs to another model")
    return layer


def _measure_model(tap: FeatureTap, loader: Iterable[Any], asked: _Asked, split: str | None) -> Measurements:
    if asked.again == "replay" and asked.features and isinstance(loader, Iterator):
        raise InputError(
            "features_again='replay' needs a loader that can be iterated twice, got a one-shot iterator"
            f" ({type(loader).__name__}); use 'memory' or 'memory-map'"
        )
    with contextlib.ExitStack() as stack:
        seen = _Stream(tap, asked)
        stack.callback(seen.cache.close)
        for h, y in tap.stream(_shown(loader) if asked.progress else loader):
            seen.take(h, y)
        stats, head = seen.stats(), seen.head()
        source, how = seen.source(stats, loader)
        conditions = Conditions(
            **_counted(stats),
            split=split,
            source=type(tap.model).__name__,
            layer=tap.layer.name,
            mode=tap.mode,
            num_ignored=seen.num_ignored,
            feature_dtype=_name(seen.dtype),
            features_again=how,
            autocast=tap.autocast,
            warnings=(
                *_mode_remarks(tap),
                *tap.warnings,
                *seen.warnings,
                *loader_remarks(loader),
                *remarks(stats, seen.dtype),
            ),
        )
        return _finish(Evidence(stats, head, source), asked, conditions, device=tap.device, dtype=_dtype_of(tap.model))


class _Stream:
    """One pass over a tap: moments, and the features themselves where they will be needed."""

    def __init__(self, tap: FeatureTap, asked: _Asked) -> None:
        self._tap = tap
        self._asked = asked
        self._keeps = asked.features and asked.again != "replay"
        self.cache = FeatureCache({"memory": None, "memory-map": 0}.get(asked.again, asked.budget))
        self._online: OnlineStats | None = None
        self.num_ignored = 0
        self.dtype: torch.dtype | None = None
        self.warnings: tuple[str, ...] = ()

    def take(self, h: Tensor, y: Tensor) -> None:
        """Take in a batch."""
        h, y, ignored = _without(h, y, self._asked.ignore_index)
        self.num_ignored += ignored
        if y.numel() == 0:
            return
        if self._online is None:
            self.dtype = h.dtype
            self._online = OnlineStats(self._num_classes(), scatter=self._asked.scatter)
        self._online.update(h, y)
        if self._keeps:
            self.cache.append(h, y)

    def _num_classes(self) -> int | None:
        head = self._asked.head
        rows = self._tap.layer.num_outputs if head is None else head.num_classes
        if self._asked.num_classes is not None or rows is None:
            return self._asked.num_classes
        return rows if rows > 1 else None

    def head(self) -> LinearHead | None:
        """The classifier as it is after the pass."""
        if self._asked.head is not None:
            return self._asked.head
        if self._tap.layer.num_outputs == 1:
            self.warnings = (
                "the classifier has a single output: it has no vector for each class, so none is compared",
            )
            return None
        return self._tap.head()

    def stats(self) -> ClassStats:
        """The moments of the pass."""
        if self._online is None:
            raise InputError(f"at least one label must differ from ignore_index={self._asked.ignore_index}, got none")
        return self._online.stats()

    def source(
        self, stats: ClassStats, loader: Iterable[Any]
    ) -> tuple[FeatureSource | None, Literal["memory", "memory-map", "replay", "not needed"]]:
        """Where the features come from a second time, and how that is called."""
        if not self._asked.features:
            return None, "not needed"
        if self._asked.again == "replay":
            return Replay(lambda: self._replayed(loader), stats), "replay"
        return self.cache.source(stats.num_classes), self.cache.how

    def _replayed(self, loader: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
        for h, y in self._tap.stream(loader):
            h, y, _ = _without(h, y, self._asked.ignore_index)
            if y.numel():
                yield h, y


def _without(h: Tensor, y: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor, int]:
    """Rows whose label is not to be ignored, and how many were."""
    if ignore_index is None:
        if bool((y == -100).any()):
            raise InputError("labels hold -100, the usual mark of positions to leave out: pass ignore_index=-100")
        return h, y, 0
    keep = y != ignore_index
    ignored = int((~keep).sum())
    return (h[keep.to(h.device)], y[keep], ignored) if ignored else (h, y, 0)


def _mode_remarks(tap: FeatureTap) -> tuple[str, ...]:
    if tap.mode == "eval":
        return ()
    return ("measured in train mode: dropout and batch statistics are part of the features",)


def _shown(loader: Iterable[Any]) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(loader, desc="measuring", unit="batch", leave=False)


@contextlib.contextmanager
def _untouched_randomness(device: torch.device | None) -> Iterator[None]:
    """Loaders and data sets draw random numbers; a run that is measured must go on as one that is not."""
    cuda = [device] if device is not None and device.type == "cuda" else []
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global state is what is kept
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


# ------------------------------------------------------------------------------------------------ what is given at once


def _measure_given(given: Any, asked: _Asked, split: str | None) -> Measurements:
    if isinstance(given, (str, os.PathLike)):
        given = read_features(Path(given), num_classes=asked.num_classes, ignore_index=asked.ignore_index)
    if isinstance(given, FeatureFile):
        asked = replace(asked, head=given.head if asked.head is None else asked.head)
        given = given.features
    if isinstance(given, OnlineStats):
        given = given.stats()
    if isinstance(given, ClassStats):
        return _measure_stats(given, asked, split)
    features, ignored = _as_features(given, asked)
    stats = ClassStats.of(features, scatter=asked.scatter)
    conditions = Conditions(
        **_counted(stats),
        split=split,
        source="features",
        num_ignored=ignored,
        feature_dtype=_name(features.h.dtype),
        features_again="memory" if asked.features else "not needed",
        warnings=(*_half_remarks(features.h.dtype), *remarks(stats, features.h.dtype)),
    )
    evidence = Evidence(stats, asked.head, features)
    return _finish(evidence, asked, conditions, device=features.h.device, dtype=features.h.dtype)


def _measure_stats(stats: ClassStats, asked: _Asked, split: str | None) -> Measurements:
    if asked.num_classes not in (None, stats.num_classes):
        raise InputError(f"num_classes must be {stats.num_classes} as in the statistics, got {asked.num_classes}")
    conditions = Conditions(
        **_counted(stats), split=split, source="features", feature_dtype="unknown", warnings=remarks(stats, None)
    )
    return _finish(Evidence(stats, asked.head), asked, conditions, device=stats.means.device, dtype=stats.means.dtype)


def _as_features(given: Any, asked: _Asked) -> tuple[LabelledFeatures, int]:
    if isinstance(given, LabelledFeatures):
        h, y, k = given.h, given.y, asked.num_classes or given.num_classes
    elif isinstance(given, tuple) and len(given) == 2:
        (h, y), k = given, asked.num_classes
        if k is None and asked.head is not None and asked.head.num_classes > 1:
            k = asked.head.num_classes
    else:
        kinds = "a torch.nn.Module, LabelledFeatures, a pair (h, y), a path, or ClassStats"
        raise InputError(f"model_or_features must be {kinds}, got {checks.described(given)}")
    features = LabelledFeatures.of(h, y, num_classes=k, ignore_index=asked.ignore_index)
    return features, len(y) - features.num_samples


def _half_remarks(dtype: torch.dtype) -> tuple[str, ...]:
    if torch.finfo(dtype).bits > 16:
        return ()
    return (f"features are {_name(dtype)}: their rounding can dominate the within-class spread",)


# ------------------------------------------------------------------------------------------------ the record


def _counted(stats: ClassStats) -> dict[str, Any]:
    return {
        "num_samples": stats.num_samples,
        "num_classes": stats.num_classes,
        "num_features": stats.num_features,
        "classes": tuple(stats.labels.tolist()),
        "counts": tuple(stats.counts.tolist()),
        "empty_classes": stats.empty_classes,
    }


def _finish(
    evidence: Evidence, asked: _Asked, conditions: Conditions, *, device: torch.device | None, dtype: torch.dtype | None
) -> Measurements:
    measurements, per_class, declarations = measure_evidence(evidence, asked.metrics)
    return Measurements(
        measurements=measurements,
        per_class=per_class,
        conditions=conditions,
        declarations=declarations,
        provenance=provenance(
            threads=torch.get_num_threads(), device=None if device is None else str(device), dtype=_name(dtype)
        ),
    )


def _name(dtype: torch.dtype | None) -> str:
    return "unknown" if dtype is None else str(dtype).removeprefix("torch.")


def _dtype_of(model: nn.Module) -> torch.dtype | None:
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
