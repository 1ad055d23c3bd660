"""What recipes about unequal classes of digits have in common: their data, and the accuracy on the small classes."""

import math
from collections.abc import Sequence

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.experiments.assembly import data_of
from collapselab.experiments.extra import Extra, declared
from collapselab.metrics import Evidence
from collapselab.training.data import Splits
from collapselab.training.data.digits import Digits
from collapselab.training.data.imbalance import Imbalance

MINORITY_ACCURACY = declared(
    "minority_accuracy",
    "accuracy on minority classes",
    "Mean over the minority classes of the share of their samples that the classifier, with its bias, gets right.",
    symbol=r"\operatorname{mean}_{k\in\mathrm{minority}}\Pr[\hat y=k\mid y=k]",
    source="fang2021",
    family="imbalance",
    at_collapse=1.0,
    unit="fraction",
    upper=1.0,
)


def step_profile(ratio: float) -> Imbalance:
    """Classes of two sizes, the last half being the small ones; equal classes for ratio 1.

    Args:
        ratio: Largest over smallest class size.

    Returns:
        The profile.
    """
    return Imbalance("step", ratio=ratio) if ratio > 1 else Imbalance()


def uneven_digits(ratio: float, *, samples_per_class: int, seed: int) -> Splits:
    """The digits, five of which are rare in the training split.

    Args:
        ratio: Largest over smallest class size.
        samples_per_class: Training images of each frequent class.
        seed: Decides which.

    Returns:
        Both splits; the test split does not depend on the ratio.
    """
    return data_of(Digits(samples_per_class=samples_per_class), seed=seed, imbalance=step_profile(ratio))


def shown_counts(ratio: float, *, samples_per_class: int, oversample: bool) -> tuple[int, ...]:
    """Samples of each class of digits in an epoch.

    Args:
        ratio: Largest over smallest class size.
        samples_per_class: Training images of each frequent class.
        oversample: Whether each class appears as often as the largest.

    Returns:
        Ten numbers.

    Example:
        >>> shown_counts(20, samples_per_class=100, oversample=False)
        (100, 100, 100, 100, 100, 5, 5, 5, 5, 5)
    """
    counts = step_profile(ratio).counts(samples_per_class, Digits.num_classes)
    return (max(counts),) * len(counts) if oversample else counts


def epochs_of(steps: int, *, samples: int, batch_size: int) -> int:
    """Whole epochs that take about a number of steps, incomplete batches being left out.

    Args:
        steps: Optimiser steps.
        samples: Samples in an epoch.
        batch_size: Samples in a step.

    Returns:
        At least one.

    Example:
        >>> epochs_of(100, samples=525, batch_size=64)
        12
    """
    return max(1, round(steps / max(1, samples // batch_size)))


def minority_accuracy(evidence: Evidence) -> Extra:
    """The accuracy on the last half of the classes.

    Args:
        evidence: Features, head and moments of a split that has samples of all classes.

    Returns:
        The number with its declaration.
    """
    decided, first = evidence.decisions, evidence.stats.num_classes - evidence.stats.num_classes // 2
    if decided.classifier_correct is None:
        return MINORITY_ACCURACY, "there is no classifier"
    shares = decided.classifier_correct.double() / decided.counts.double()
    return MINORITY_ACCURACY, float(shares[first:].mean())


def check_ratios(ratios: Sequence[float], *, at_least: int = 1) -> None:
    """Check imbalance ratios.

    Args:
        ratios: What was given.
        at_least: How many there must be.

    Raises:
        InputError: If they are not different numbers in ascending order, 1 or more, or too few.
    """
    if not isinstance(ratios, tuple) or list(ratios) != sorted(set(ratios)) or len(ratios) < at_least:
        many = "one" if at_least == 1 else f"{at_least}"
        raise InputError(f"ratios must be different numbers in ascending order, at least {many}, got {ratios!r}")
    for ratio in ratios:
        checks.real(ratio, "every entry of ratios", at_least=1)


def clear_of(value: float, mean: float, half: float) -> int:
    """On which side of a value an interval lies.

    Args:
        value: The value.
        mean: Middle of the interval.
        half: Half its width.

    Returns:
        1 if the whole interval is above the value, -1 if it is below, 0 if it holds the value.

    Example:
        >>> clear_of(0.0, 0.5, 0.2), clear_of(0.0, -0.5, 0.2), clear_of(0.0, 0.1, 0.2)
        (1, -1, 0)
    """
    return int(math.copysign(1, mean - value)) if abs(mean - value) > half else 0
