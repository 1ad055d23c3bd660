"""Which samples of each class: counts, random ranks within a class, and taking some rows of a split."""

from dataclasses import replace

import torch
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.training.data._spec import Splits


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
    y = y.cpu()
    order = torch.randperm(len(y), generator=generator)
    order = order[y[order].argsort(stable=True)]  # class after class, each in random order
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
