"""The public door: features, moments, a file, or a model with a loader in; measurements out."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence.batches import iterable
from collapselab.evidence.caching import FeatureCache
from collapselab.evidence.features import LabelledFeatures
from collapselab.evidence.files import FeatureFile, read_features
from collapselab.evidence.guards import untouched_randomness
from collapselab.evidence.head import LinearHead
from collapselab.evidence.remarks import loader_remarks, remarks, tap_remarks
from collapselab.evidence.stats import ClassStats, OnlineStats
from collapselab.evidence.streaming import Wanted, stream
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
            already knows its layer, which saves the probing pass and keeps its own mode, device and autocast setting.
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
        0.00113...
    """
    asked = _asked(metrics, num_classes, ignore_index, features_again, memory_budget)
    if isinstance(model_or_features, nn.Module):
        tap = _tap(model_or_features, layer, {"device": device, "mode": mode, "allow_autocast": allow_autocast})
        if loader is None:
            raise InputError("a model is measured on data: pass a loader, measure(model, loader)")
        with untouched_randomness(tap.device):
            return _measure_model(tap, loader, asked, head=_as_head(head), split=split, progress=progress)
    if loader is not None:
        raise InputError(f"a loader goes with a model only, got {checks.described(model_or_features)} and a loader")
    return _measure_given(model_or_features, asked, head=_as_head(head), split=split)


@dataclass(frozen=True)
class _Asked:
    """What was asked for, checked."""

    metrics: tuple[str, ...] | None
    wanted: Wanted


def _asked(
    metrics: Sequence[str] | None, num_classes: Any, ignore_index: Any, again: Any, memory_budget: Any
) -> _Asked:
    chosen = select(metrics)
    checks.one_of(again, "features_again", ("auto", "memory", "memory-map", "replay"))
    if ignore_index is not None and (isinstance(ignore_index, bool) or not isinstance(ignore_index, int)):
        raise InputError(f"ignore_index must be an integer or None, got {ignore_index!r}")
    wanted = Wanted(
        scatter=any("scatter" in metric.needs for metric in chosen),
        features=any("features" in m.needs or {"features", "decisions"} & set(m.inputs) for m in chosen),
        again=again,
        budget=checks.whole(memory_budget, "memory_budget", at_least=0),
        num_classes=None if num_classes is None else checks.whole(num_classes, "num_classes", at_least=1),
        ignore_index=ignore_index,
    )
    return _Asked(None if metrics is None else tuple(metric.name for metric in chosen), wanted)


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


def _tap(model: nn.Module, layer: str | FeatureTap, options: dict[str, Any]) -> FeatureTap:
    if not isinstance(layer, FeatureTap):
        return feature_tap(model, layer, **options)
    if options != {"device": None, "mode": "eval", "allow_autocast": False}:
        raise InputError("mode, device and allow_autocast belong to the tap that was passed as layer; set them there")
    if not layer.belongs_to(model):
        raise InputError("the tap passed as layer belongs to another model")
    return layer


def _measure_model(
    tap: FeatureTap, loader: Iterable[Any], asked: _Asked, *, head: LinearHead | None, split: str | None, progress: bool
) -> Measurements:
    wanted = asked.wanted
    if wanted.again == "replay" and wanted.features and isinstance(loader, Iterator):
        raise InputError(
            "features_again='replay' needs a loader that can be iterated twice, got a one-shot iterator"
            f" ({type(loader).__name__}); use 'memory' or 'memory-map'"
        )
    with FeatureCache({"memory": None, "memory-map": 0}.get(wanted.again, wanted.budget)) as cache:
        seen = stream(tap, _shown(iterable(loader)) if progress else loader, wanted, cache, head=head)
        conditions = Conditions(
            **_counted(seen.stats),
            split=split,
            source=type(tap.model).__name__,
            layer=tap.layer.name,
            mode=tap.mode,
            num_ignored=seen.num_ignored,
            feature_dtype=_name(seen.dtype),
            features_again=seen.again,
            autocast=tap.autocast,
            warnings=(*tap_remarks(tap), *loader_remarks(loader), *remarks(seen.stats, seen.dtype)),
        )
        dtype = next((p.dtype for p in tap.model.parameters() if p.is_floating_point()), None)
        return _finish(
            Evidence(seen.stats, seen.head, seen.features), asked, conditions, device=tap.device, dtype=dtype
        )


def _shown(loader: Iterable[Any]) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(loader, desc="measuring", unit="batch", leave=False)


def _measure_given(given: Any, asked: _Asked, *, head: LinearHead | None, split: str | None) -> Measurements:
    if isinstance(given, OnlineStats):
        given = given.stats()
    if isinstance(given, ClassStats):
        return _measure_stats(given, asked, head=head, split=split)
    found = _as_features(given, asked.wanted, head)
    features, dtype = found.features, found.features.h.dtype
    stats = ClassStats.of(features, scatter=asked.wanted.scatter)
    conditions = Conditions(
        **_counted(stats),
        split=split,
        source="features",
        num_ignored=found.num_ignored,
        feature_dtype=_name(dtype),
        features_again="memory" if asked.wanted.features else "not needed",
        warnings=remarks(stats, dtype),
    )
    evidence = Evidence(stats, head or found.head, features)
    return _finish(evidence, asked, conditions, device=features.h.device, dtype=dtype)


def _measure_stats(stats: ClassStats, asked: _Asked, *, head: LinearHead | None, split: str | None) -> Measurements:
    if asked.wanted.num_classes not in (None, stats.num_classes):
        raise InputError(
            f"num_classes must be {stats.num_classes} as in the statistics, got {asked.wanted.num_classes}"
        )
    conditions = Conditions(
        **_counted(stats), split=split, source="features", feature_dtype="unknown", warnings=remarks(stats, None)
    )
    return _finish(Evidence(stats, head), asked, conditions, device=stats.means.device, dtype=stats.means.dtype)


def _as_features(given: Any, wanted: Wanted, head: LinearHead | None) -> FeatureFile:
    rows = head.num_classes if head is not None and head.num_classes > 1 else None
    k, ignore_index = wanted.num_classes or rows, wanted.ignore_index
    if isinstance(given, (str, os.PathLike)):
        return read_features(Path(given), num_classes=k, ignore_index=ignore_index)
    if isinstance(given, FeatureFile):
        own, given = given.head, given.features
    else:
        own = None
    if isinstance(given, LabelledFeatures):
        h, y, k = given.h, given.y, wanted.num_classes or given.num_classes
    elif isinstance(given, tuple) and len(given) == 2:
        h, y = given
    else:
        kinds = "a torch.nn.Module, LabelledFeatures, a pair (h, y), a path, or ClassStats"
        raise InputError(f"model_or_features must be {kinds}, got {checks.described(given)}")
    features = LabelledFeatures.of(h, y, num_classes=k, ignore_index=ignore_index)
    return FeatureFile(features, own, num_ignored=len(y) - features.num_samples)


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
