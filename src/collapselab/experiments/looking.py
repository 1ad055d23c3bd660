"""One pass over a split in eval mode: loss, error, and the moments and features of every place that is measured."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics import Found, Quantity, Sight
from collapselab.evidence import ClassStats, LinearHead, OnlineStats
from collapselab.evidence.caching import FeatureCache
from collapselab.evidence.features import FeatureSource
from collapselab.evidence.remarks import remarks
from collapselab.experiments.extra import Extras, matrices_of, with_extra, with_found
from collapselab.metrics import REGISTRY, Evidence, measure_evidence, snapshot_arrays
from collapselab.records.schema import Conditions, Measurements, Observation
from collapselab.training import Samples, Training
from collapselab.training.data import EVALUATION_BATCH
from collapselab.training.loop import require_finite
from collapselab.training.plan import layers_of
from collapselab.training.pooling import Pooling, pooled
from collapselab.training.sharding import Processes, gathered, share
from collapselab.training.watched import Watched, stage_names

_POOLED = {
    "mean": "mean over places",
    "tokens": "mean over tokens",
    "first_token": "first token",
    "flatten": "all places",
}
"""What a record says of a pooling."""

# Of wider layers no matrix of features by features is formed: it would take hundreds of megabytes, and minutes.
WIDEST = 1024

# Bytes of features of one split at one place that are kept in memory; more go to a file without a name.
_BUDGET = 2**30

# Samples of a class that a snapshot shows.
_SHOWN = 40


@dataclass(frozen=True)
class Places:
    """Where a network is measured, besides the features that its classifier sees.

    Attributes:
        layers: Stages of the body, or modules inside them; ``*`` for all stages.
        pooling: What becomes of outputs with places.
        metrics: Keys of what is measured; None for all. Inner layers are spared what needs a classifier.
        extra: Gives further numbers of the features that the classifier sees.
        quantities: What is measured on the network itself besides, from its gradients.
    """

    layers: tuple[str, ...] = ()
    pooling: Pooling = "mean"
    metrics: tuple[str, ...] | None = None
    extra: Extras | None = None
    quantities: tuple[Quantity, ...] = ()

    def __post_init__(self) -> None:
        """Check the fields."""
        if isinstance(self.layers, str):
            raise InputError(f"layers must be a tuple of names, got the string {self.layers!r}")
        checks.one_of(self.pooling, "pooling", get_args(Pooling))

    def stages(self, training: Training) -> tuple[str, ...]:
        """The stages of a network that are measured.

        Args:
            training: The network.

        Returns:
            Names in the order of the forward pass.

        Raises:
            InputError: If there is no such stage.
        """
        return stage_names(training.network.body, self.layers)

    def asked(self, *, inner: bool, num_features: int) -> list[str]:
        """What is measured at one place.

        Args:
            inner: Whether it lies before the classifier.
            num_features: d.

        Returns:
            Keys of metrics.
        """
        names = list(REGISTRY if self.metrics is None else self.metrics)
        if not inner:
            return names
        without = [name for name in names if not {"head", "bias"} & set(REGISTRY[name].needs)]
        return [name for name in without if num_features <= WIDEST or REGISTRY[name].family != "coding"]


@dataclass(frozen=True, eq=False)
class Seen:
    """What a pass gave at one place.

    Attributes:
        stats: Class moments.
        features: The features again.
        again: Where they are kept.
        dtype: Data type of the features.
    """

    stats: ClassStats
    features: FeatureSource
    again: Literal["memory", "memory-map"]
    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class Look:
    """One pass over a split in eval mode.

    Attributes:
        loss: Mean loss.
        error: Fraction the classifier gets wrong.
        head: What the classifier saw.
        layers: What the stages gave, by name.
    """

    loss: float
    error: float
    head: Seen
    layers: Mapping[str, Seen]


class _Gathering:
    """Takes in features batch by batch."""

    def __init__(self, num_classes: int, cache: FeatureCache) -> None:
        self._num_classes = num_classes
        self._cache = cache
        self._online: OnlineStats | None = None
        self._dtype = torch.float32

    def add(self, h: Tensor, y: Tensor, *, inner: bool) -> None:
        """Take in one batch."""
        if self._online is None:
            self._online = OnlineStats(self._num_classes, scatter=not inner or h.shape[1] <= WIDEST)
            self._dtype = h.dtype
        self._online.update(h, y)
        self._cache.append(h, y)

    def seen(self) -> Seen:
        """What came."""
        assert self._online is not None  # a split has samples
        source = self._cache.source(self._num_classes)
        return Seen(self._online.stats(), source, self._cache.how, self._dtype)


def look(training: Training, samples: Samples, *, places: Places, caches: ExitStack) -> Look | None:
    """Loss, error, and moments and features of all places of a split, in one pass in eval mode.

    In several processes each sends its share of every batch through the network, without padding, and the first puts
    them together in the order of one process; all must call this.

    Args:
        training: The network and its loss; training flags are left as they were.
        samples: The split.
        places: Where to look.
        caches: Closes what features are kept in.

    Returns:
        What was seen; None in processes after the first.

    Raises:
        InputError: If a stage is not there, or gives no tensor of samples.
        NotConverged: If the loss is no longer finite.
    """
    stages = places.stages(training)
    leads = training.fabric.global_rank == 0
    gatherings = {
        name: _Gathering(training.data.num_classes, caches.enter_context(FeatureCache(_BUDGET)))
        for name in ("", *stages)
    }
    loss, wrong = 0.0, 0
    for batch in _batches(training, samples, stages, places.pooling):
        loss += float(batch.losses.cpu().double().sum())
        wrong += int(batch.wrong.sum())
        for name, h in batch.features.items() if leads else ():
            gatherings[name].add(h, batch.y, inner=bool(name))
    loss /= len(samples)
    require_finite(loss, epoch=training.epoch, learning_rate=training.learning_rate)
    if not leads:
        return None
    return Look(loss, wrong / len(samples), gatherings[""].seen(), {name: gatherings[name].seen() for name in stages})


@dataclass(frozen=True, eq=False)
class _Batch:
    """What the network made of some samples; `features` by stage, with an empty name for those of the classifier."""

    y: Tensor
    losses: Tensor
    wrong: Tensor
    features: Mapping[str, Tensor]


def _batches(training: Training, samples: Samples, stages: Sequence[str], pooling: Pooling) -> Iterator[_Batch]:
    network, was_training = training.network, training.network.training
    needed = stage_names(network.body, layers_of(training.plan))
    watched = Watched(network, tuple(dict.fromkeys((*needed, *stages)))) if stages else training.watched
    network.eval()
    try:
        with torch.no_grad():
            for x, y, together in _shares(samples, training.fabric):
                outputs = watched.look(x)
                # The loss sees the stages that it asked for, and no others.
                own = {name: outputs.layers[name] for name in needed}
                losses = training.losses(dataclasses.replace(outputs, layers=own), y)
                inner = {name: pooled(outputs.layers[name], name, pooling, axes=outputs.axes[name]) for name in stages}
                wrong = outputs.logits.argmax(1) != y
                features = {name: together(h) for name, h in {"": outputs.features, **inner}.items()}
                yield _Batch(together(y), together(losses), together(wrong), features)
    finally:
        network.train(was_training)


def _shares(samples: Samples, fabric: Processes) -> Iterator[tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]]:
    """Batches of this process, and what puts those of all processes together."""
    if fabric.world_size == 1:
        for x, y in samples.batches():
            yield x, y, lambda rows: rows
        return
    for rows in torch.arange(len(samples), device=samples.y.device).split(EVALUATION_BATCH):
        mine = rows[share(len(rows), fabric)]
        # A process without samples looks at one all the same, to know the type of what it has none of.
        x, y = samples.take(mine if len(mine) else rows[:1])
        yield x, y, partial(_together, count=len(mine), fabric=fabric)


def _together(found: Tensor, *, count: int, fabric: Processes) -> Tensor:
    kind = torch.uint8 if found.dtype == torch.bool else found.dtype  # not every backend sends truth values
    return gathered(found[:count].to(kind), fabric).to(found.dtype)


def moving(training: Training, split: str, samples: Samples, *, places: Places) -> Found:
    """What the quantities find of the network as it stands; flags are left as they were.

    Args:
        training: The network and its loss.
        split: Name of the split.
        samples: Its samples.
        places: Says which quantities.

    Returns:
        All their numbers and matrices.
    """
    network, was_training = training.network, training.network.training
    sight = Sight(
        network,
        samples.take,
        samples.y,
        training.data.num_classes,
        split=split,
        seed=training.seed,
        batch_size=training.plan.batch_size,
        learning_rate=training.learning_rate,
        losses=lambda x, y: training.losses(training.watched.look(x), y),
    )
    network.eval()
    try:
        found = [one.look(sight) for one in places.quantities if split in one.splits]
    finally:
        network.train(was_training)
    return Found(
        tuple(number for one in found for number in one.numbers), tuple(m for one in found for m in one.matrices)
    )


def observations(
    training: Training, split: str, found: Look, *, places: Places, arm: str, moved: Found | None = None
) -> Iterator[Observation]:
    """Rows of the series for one look: the features that the classifier sees, then the layers.

    Args:
        training: The network.
        split: Name of the split.
        found: What a look at it gave.
        places: Where was looked, and what is measured there.
        arm: Name of the arm.
        moved: What the quantities found; it joins the first row.

    Yields:
        Rows, with the declarations of the metrics and without provenance: the run has one of its own.
    """
    for name, seen in {"": found.head, **found.layers}.items():
        result = _measured(training, split, name, seen, places=places)
        if moved is not None and not name:
            result = with_found(result, moved)
        yield Observation(
            epoch=training.epoch,
            step=training.step,
            split=split,
            loss=found.loss,
            error=found.error,
            learning_rate=training.learning_rate,
            result=result,
            arm=arm,
            layer=name,
        )


def _measured(training: Training, split: str, name: str, seen: Seen, *, places: Places) -> Measurements:
    stats = seen.stats
    evidence = Evidence(stats, None if name else head_of(training), seen.features)
    asked = places.asked(inner=bool(name), num_features=stats.num_features)
    measurements, per_class, declarations = measure_evidence(evidence, asked)
    how = _POOLED[places.pooling]
    conditions = Conditions(
        split=split,
        source=type(training.network).__name__,
        layer=f"output of body.{name}, {how}" if name else "head",
        mode="eval",
        num_samples=stats.num_samples,
        num_classes=stats.num_classes,
        num_features=stats.num_features,
        classes=tuple(stats.labels.tolist()),
        counts=tuple(stats.counts.tolist()),
        empty_classes=stats.empty_classes,
        feature_dtype=str(seen.dtype).removeprefix("torch."),
        features_again=seen.again,
        warnings=remarks(stats, seen.dtype),
    )
    result = Measurements(
        measurements=measurements, per_class=per_class, conditions=conditions, declarations=declarations
    )
    return result if name or places.extra is None else with_extra(result, places.extra(evidence, split))


def head_of(training: Training) -> LinearHead:
    """The classifier as it acts now.

    Args:
        training: The network.

    Returns:
        A copy that later training does not change.
    """
    head = training.network.head
    return LinearHead.of(head.weight.detach().clone(), None if head.bias is None else head.bias.detach().clone())


def picture(training: Training, seen: Seen) -> dict[str, np.ndarray] | None:
    """The arrays of a snapshot of a split.

    Args:
        training: The network.
        seen: What its classifier saw of the split.

    Returns:
        Name to array; None where the class means coincide, as those of a network that died do.
    """
    h, y = _first_of_each(seen.features)
    try:
        return snapshot_arrays(seen.stats, h, y, head=head_of(training), samples_per_class=_SHOWN)
    except UndefinedMetric:
        return None


def pictures(shown: dict[str, np.ndarray] | None, moved: Found | None) -> dict[str, np.ndarray] | None:
    """The arrays of a snapshot together with the matrices that quantities found.

    Args:
        shown: What `picture` gave.
        moved: What the quantities found.

    Returns:
        Name to array; None where there is neither.
    """
    matrices = {} if moved is None else matrices_of(moved)
    return None if shown is None and not matrices else {**(shown or {}), **matrices}


def _first_of_each(features: FeatureSource) -> tuple[Tensor, Tensor]:
    """The first samples of each class, in the order in which they came."""
    missing = torch.full((features.num_classes,), _SHOWN)
    kept: list[tuple[Tensor, Tensor]] = []
    for part in features.chunks():
        h, y = part.h.cpu(), part.y.cpu()
        rows = torch.cat([(y == label).nonzero()[: int(missing[label]), 0] for label in y.unique().tolist()])
        rows = rows.sort().values
        missing -= torch.bincount(y[rows], minlength=len(missing))
        kept.append((h[rows], y[rows]))
        if not missing.any():
            break
    return torch.cat([h for h, _ in kept]), torch.cat([y for _, y in kept])
