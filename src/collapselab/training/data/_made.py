"""Data that are made rather than read: independent streams for training and testing, and the split of the result."""

import torch
from torch import Tensor

from collapselab.training.data._spec import Samples, Splits


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
    """
    mean, sd = train[0].mean(), train[0].std(correction=0)
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
