"""Which samples of each class: counts, random ranks within a class, and taking some rows of a split."""

from dataclasses import replace

import torch
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.training.data._samples import Splits


def class_counts(y: Tensor, num_classes: int) -> Tensor:
    """Samples of each class, of which every class must have one.

    Args:
        y: Labels (n,).
        num_classes: K.

    Returns:
        (k,) counts on the CPU, int64.

    Raises:
        InputError: If a class has no sample.
    """
    counts = torch.bincount(y.cpu(), minlength=num_classes)
    if int(counts.min()) == 0:
        raise InputError(f"every class must have a training sample, got none of class {int(counts.argmin())}")
    return counts


def class_ranks(y: Tensor, generator: torch.Generator) -> Tensor:
    """Place of each sample among those of its class, in a random order.

    Args:
        y: Labels (n,).
        generator: What the order comes from.

    Returns:
        (n,) numbers from 0 to n_k - 1, on the CPU. Those below m mark m samples of a class, drawn without replacement.
    """
    return _ranks(y.cpu(), torch.randperm(len(y), generator=generator))


def _ranks(y: Tensor, order: Tensor) -> Tensor:
    """Place of each sample among those of its class, in an order of all."""
    order = order[y[order].argsort(stable=True)]  # class after class, each in that order
    counts = torch.bincount(y)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(y)) - starts
    return ranks


def with_training_rows(splits: Splits, rows: Tensor) -> Splits:
    """The same data with some of the training samples.

    Args:
        splits: The data.
        rows: Indices (m,) of the training samples to keep, in their new order.

    Returns:
        New splits; the test split is the old one, and so is the standardisation.
    """
    train = splits.train
    rows = rows.to(train.y.device)
    return replace(splits, train=train.subset(rows))


def most_per_class(y: Tensor, num_classes: int, *, spare: int = 0) -> int:
    """Samples that can be drawn from every class.

    Args:
        y: Labels (n,).
        num_classes: K.
        spare: Samples of each class that must be left.

    Returns:
        Size of the smallest class, less those; at least 1.

    Raises:
        InputError: If a class has not one sample to draw.
    """
    counts = torch.bincount(y, minlength=num_classes)
    most = int(counts.min()) - spare
    if most < 1:
        raise InputError(
            f"every class must have at least {spare + 1} of the samples that training ones are drawn from,"
            f" got {most + spare} of class {int(counts.argmin())}"
        )
    return most


def balanced_rows(y: Tensor, *, per_class: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw the same number of samples from each class, or all of a class that has fewer.

    Args:
        y: Labels (n,).
        per_class: Samples of each class.
        generator: What the draw comes from.

    Returns:
        Indices of those drawn and of all others, each in random order.
    """
    order = torch.randperm(len(y), generator=generator)
    chosen = _ranks(y, order)[order] < per_class
    return order[chosen], order[~chosen]
