"""What a recipe is given, and how it looks at a network in training."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.core.random import preserved_randomness
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.experiments.events import EpochDone, Event, Observed, SafePoint, Snapshot
from collapselab.measuring import measure
from collapselab.metrics import snapshot_arrays
from collapselab.records.schema import Observation
from collapselab.training import Samples, Training
from collapselab.training.loop import require_finite


@dataclass(frozen=True, eq=False)
class Probe:
    """The device a recipe runs on, and the state it goes on from.

    Attributes:
        device: Where to compute.
        state: What the last safe point gave; None for a run that begins.
    """

    device: torch.device
    state: dict[str, Any] | None = None

    def watch(self, training: Training, *, at: Collection[int]) -> Iterator[Event]:
        """Train to the end of the plan and measure both splits on the way.

        Args:
            training: A training that has just been set up; it is taken to where the run stood.
            at: Epochs after which to measure; 0 is before training.

        Yields:
            What happens. A safe point follows each step, and comes after the rows of its epoch.
        """
        if self.state is not None:
            training.restore(self.state)
        elif 0 in at:
            yield from observed(training)
            yield SafePoint(0, training.state, wanted=True)
        for progress in training.steps():
            measured = False
            if progress.loss is not None:
                yield EpochDone(progress.epoch, progress.step, progress.loss, progress.learning_rate)
                measured = progress.epoch in at
            if measured:
                yield from observed(training)
            yield SafePoint(progress.epoch, training.state, wanted=measured)


def observed(training: Training) -> Iterator[Event]:
    """Measure the training as it stands, and draw from no generator that it will draw from.

    The features of both splits are compared with the means of their own classes in that split.

    Args:
        training: Where it stands; left as it was.

    Yields:
        A snapshot of the training split and one observation a split.
    """
    with preserved_randomness():
        train, test = look(training, training.data.train), look(training, training.data.test)
        arrays = picture(training, train.features)
        rows = [observation(training, "train", train), observation(training, "test", test)]
    if arrays is not None:
        yield Snapshot(training.epoch, arrays)
    for row in rows:
        yield Observed(row)


def picture(training: Training, features: Tensor) -> dict[str, np.ndarray] | None:
    """The arrays of a snapshot of the training split.

    Args:
        training: The network and the labels.
        features: What its classifier saw of the training split.

    Returns:
        Name to array; None where the class means coincide, as those of a network that died do.
    """
    y, head = training.data.train.y, training.network.head
    stats = ClassStats.of(LabelledFeatures.of(features, y, num_classes=training.data.num_classes), scatter=False)
    try:
        return snapshot_arrays(stats, features, y, head=LinearHead.of(head.weight, head.bias))
    except UndefinedMetric:
        return None


@dataclass(frozen=True, eq=False)
class Look:
    """One pass over a split in eval mode.

    Attributes:
        samples: The split.
        features: What the classifier saw (n, d).
        loss: Mean loss.
        error: Fraction the classifier gets wrong.
    """

    samples: Samples
    features: Tensor
    loss: float
    error: float


def look(training: Training, samples: Samples) -> Look:
    """Features, loss and error of a split in eval mode.

    Args:
        training: The network and its loss; training flags are left as they were.
        samples: The split.

    Returns:
        What was seen.
    """
    network, was_training = training.network, training.network.training
    features, loss, wrong = [], 0.0, 0
    network.eval()
    with torch.no_grad():
        for x, y in samples.batches():
            outputs = training.watched.look(x)
            loss += float(training.losses(outputs, y).cpu().double().sum())
            wrong += int((outputs.logits.argmax(1) != y).sum())
            features.append(outputs.features)
    network.train(was_training)
    loss /= len(samples)
    require_finite(loss, epoch=training.epoch, learning_rate=training.learning_rate)
    return Look(samples, torch.cat(features), loss, wrong / len(samples))


def observation(training: Training, split: str, seen: Look) -> Observation:
    """A row of the series.

    Args:
        training: The network.
        split: Name of the split.
        seen: What a look at it gave.

    Returns:
        The row, with the declarations of the metrics and without provenance: the run has one of its own.
    """
    measured = measure(
        training.network,
        seen.samples.batches(),
        split=split,
        num_classes=training.data.num_classes,
        layer="head",
    )
    return Observation(
        epoch=training.epoch,
        step=training.step,
        split=split,
        loss=seen.loss,
        error=seen.error,
        learning_rate=training.learning_rate,
        result=measured.model_copy(update={"provenance": None}),
    )
