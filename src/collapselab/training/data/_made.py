"""From inputs and labels to two splits: drawn from one set or made as two, standardised."""

import math

import torch
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.training.data._rows import balanced_rows, most_per_class
from collapselab.training.data._samples import Samples, Splits

# Standard deviation over mean of numbers that are the same but for the rounding of their mean.
_ROUNDING = 1e-14


def streams(generator: torch.Generator) -> tuple[torch.Generator, torch.Generator]:
    """One generator for the training samples and one for the test samples.

    How many training samples are made then leaves the test samples as they are.

    Args:
        generator: What both are seeded from.

    Returns:
        Training, testing.
    """
    first, second = torch.randint(2**62, (2,), generator=generator).tolist()
    return torch.Generator().manual_seed(first), torch.Generator().manual_seed(second)


def standardised(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], *, num_classes: int) -> Splits:
    """Splits from float64 inputs, by one mean and one standard deviation over all values of the training inputs.

    Args:
        train: Inputs (n, ...) and labels (n,).
        test: The same of the other split.
        num_classes: K.

    Returns:
        Both splits in float32.

    Raises:
        InputError: If the training inputs are all the same, or too large for their standard deviation to be a number.
    """
    mean, sd = train[0].mean(), train[0].std(correction=0)
    if not _ROUNDING * abs(float(mean)) < float(sd) < math.inf:
        raise InputError(
            "training inputs must vary, and their squares be numbers of float64, got values around"
            f" {float(mean):g} with standard deviation {float(sd):g}"
        )
    return Splits(
        Samples(((train[0] - mean) / sd).float(), train[1]),
        Samples(((test[0] - mean) / sd).float(), test[1]),
        num_classes,
    )


def shuffled(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs and labels in the same random order.

    Args:
        x: Inputs (n, ...).
        y: Labels (n,).
        generator: What the order comes from.

    Returns:
        The same samples.
    """
    order = torch.randperm(len(y), generator=generator)
    return x[order], y[order]


def balanced_split(x: Tensor, y: Tensor, *, per_class: int, num_classes: int, generator: torch.Generator) -> Splits:
    """Draw the same number of training samples from each class; all others are for testing.

    Inputs are shifted and scaled by one mean and one standard deviation over all values of the training inputs.

    Args:
        x: Inputs (n, ...).
        y: Labels (n,).
        per_class: Training samples of each class.
        num_classes: K.
        generator: What the draw comes from.

    Returns:
        Both splits, each in random order.

    Raises:
        InputError: If a class has too few samples to leave one for testing.
    """
    most = most_per_class(y, num_classes, spare=1)
    if per_class > most:
        raise InputError(
            f"samples_per_class must be at most {most}, one less than the smallest class has, got {per_class}"
        )
    train, test = balanced_rows(y, per_class=per_class, generator=generator)
    x = x.double()
    return standardised((x[train], y[train]), (x[test], y[test]), num_classes=num_classes)
