"""Sentences a reader of the numbers must know: what in the evidence, or in how it came, qualifies them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, Sampler

from collapselab.evidence.stats import ClassStats
from collapselab.evidence.tap import FeatureTap

# Variance that rounding to a format of unit u adds to a coordinate x is ROUNDING * u^2 * E[x^2]: u^2 / 12 for a uniform
# error, times the mean of the squared spacing of binary formats over a log-uniform mantissa, 3 / (8 ln 2).
ROUNDING = 0.0451

# Within-class variation below this many rounding floors is called rounding.
_FLOORS = 10.0

# Empty and single-sample classes named in a sentence.
_NAMED = 10


def remarks(stats: ClassStats, dtype: torch.dtype | None) -> tuple[str, ...]:
    """What in the evidence qualifies the numbers.

    Args:
        stats: The moments.
        dtype: Data type of the features as they came; None if not known.

    Returns:
        Sentences.
    """
    return (*_about_precision(dtype), *_about_classes(stats), *_about_size(stats), *_about_rounding(stats, dtype))


def _about_precision(dtype: torch.dtype | None) -> Iterator[str]:
    if dtype is not None and torch.finfo(dtype).bits <= 16:
        yield f"features are {str(dtype).removeprefix('torch.')}: their rounding can dominate the within-class spread"


def _about_classes(stats: ClassStats) -> Iterator[str]:
    if stats.empty_classes:
        named = _listed(stats.empty_classes)
        yield f"{len(stats.empty_classes)} of {stats.num_classes} classes have no sample and enter no mean: {named}"
    single = stats.labels[stats.counts == 1].tolist()
    if single:
        yield f"classes with a single sample have no spread of their own: {_listed(single)}"
    low, high = int(stats.counts.min()), int(stats.counts.max())
    if low != high:
        yield (
            f"class sizes differ, {low} to {high} samples (ratio {high / low:.3g}): metrics that count samples and"
            " metrics that count each class once then disagree"
        )


def _about_size(stats: ClassStats) -> Iterator[str]:
    n, d = stats.num_samples, stats.num_features
    if n > 1 and d >= n - 1:
        yield f"{n} samples in {d} dimensions: any labelling of them can be separated, so little spread proves little"


def _about_rounding(stats: ClassStats, dtype: torch.dtype | None) -> Iterator[str]:
    if dtype is None or stats.num_seen < 2 or float(stats.between_trace) == 0:
        return
    name = str(dtype).removeprefix("torch.")
    ratio = float(stats.class_variances.mean() / stats.between_trace)
    floor = rounding_floor(stats, dtype)
    if 0 < ratio <= _FLOORS * floor:
        yield f"within rounding of {name}: within / between variation is {ratio:.2g}, rounding alone leaves {floor:.2g}"
    elif ratio == 0 and stats.num_samples > stats.num_seen:
        yield f"within rounding of {name}: each class is a single point; rounding hides what is below {floor:.2g}"


def rounding_floor(stats: ClassStats, dtype: torch.dtype) -> float:
    """Ratio of within- to between-class variation that rounding the features to a format leaves behind.

    R_floor = ROUNDING u^2 (1 + |mu_G|^2 / tr Sigma_B): an offset common to all classes costs digits.

    Args:
        stats: Moments of at least two classes with different means.
        dtype: The format.

    Returns:
        The floor of `nc1_trace_ratio`.
    """
    offset = float(stats.global_mean.square().sum() / stats.between_trace)
    return ROUNDING * torch.finfo(dtype).eps ** 2 * (1 + offset)


def _listed(labels: Any) -> str:
    labels = list(labels)
    shown = ", ".join(map(str, labels[:_NAMED]))
    return shown if len(labels) <= _NAMED else f"{shown} and {len(labels) - _NAMED} more"


def tap_remarks(tap: FeatureTap) -> tuple[str, ...]:
    """What in the way features were taken from a model qualifies the numbers.

    Args:
        tap: The tap, after a pass.

    Returns:
        Sentences.
    """
    return tuple(_about_tap(tap))


def _about_tap(tap: FeatureTap) -> Iterator[str]:
    if tap.mode == "train":
        yield "measured in train mode: dropout and batch statistics are part of the features"
    if tap.autocast:
        yield "measured under autocast: features were computed in a lower precision than the weights are kept in"
    if tap.layer.num_outputs is None:
        yield f"layer {tap.layer} does not compute W h + b, so it gives no classifier"
    if tap.layer.num_outputs == 1:
        yield f"layer {tap.layer} has a single output, not a vector for each class, so it gives no classifier"
    if tap.unshifted:
        yield (
            "the labels repeat the inputs position by position: classes of next-token prediction are the inputs shifted"
            " by one, and shifting is the caller's"
        )


def loader_remarks(loader: Any) -> tuple[str, ...]:
    """What in a loader makes the measured samples differ from the data set.

    Args:
        loader: Any iterable; only PyTorch's own loader can be looked into.

    Returns:
        Sentences.
    """
    if not isinstance(loader, DataLoader):
        return ()
    return tuple(_about_sampler(loader.sampler, drop_last=loader.drop_last))


def _about_sampler(sampler: Any, *, drop_last: bool) -> Iterator[str]:
    if not isinstance(sampler, Sampler):
        return
    if getattr(sampler, "replacement", False):
        yield "the loader draws samples with replacement: some count twice, others not at all"
    elif isinstance(sampler, RandomSampler) and drop_last:
        yield "the loader shuffles and drops the last incomplete batch: other samples are left out in every pass"
    if isinstance(sampler, DistributedSampler):
        yield "the loader's distributed sampler gives a part of the data, and may repeat samples to even the parts out"
