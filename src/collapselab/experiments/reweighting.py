"""Oversampling and class weights of a run, as a model of free features takes them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from collapselab.training.data.balance import Balance

Reweighted = Literal["no", "shown", "weighed", "unknown"]
"""As other class sizes, as weights, or not at all."""


def balanced(balance: Mapping[str, Any]) -> bool:
    """Whether a run does something about unequal classes.

    Args:
        balance: Settings of `collapselab.training.data.balance.Balance`.

    Returns:
        True if it oversamples or weighs.
    """
    return bool(balance.get("oversample")) or balance.get("class_weights", "none") != "none"


def reweighted(balance: Mapping[str, Any], *, own_decay: bool, weighable: bool) -> Reweighted:
    """How a model takes it.

    A decay of the features that is a term of the loss of each sample is not weighed with the loss: then weights are
    weights. Weight decay of the layers below knows the gradient alone, which is the same for weights and for samples
    shown more often: then both are class sizes.

    Args:
        balance: Settings of the run.
        own_decay: Whether features have a decay of their own.
        weighable: Whether there is a model of the loss with weights.

    Returns:
        The manner.
    """
    if not balanced(balance):
        return "no"
    if balance.get("oversample") or not own_decay:
        return "shown"
    return "weighed" if weighable else "unknown"


def class_weights(balance: Mapping[str, Any], counts: Sequence[int]) -> tuple[float, ...]:
    """Factors of the losses of classes, as training has them.

    Args:
        balance: Settings of the run.
        counts: Samples of each class.

    Returns:
        One factor a class, of mean 1 over the samples.
    """
    settings = {name: balance[name] for name in ("class_weights", "beta") if name in balance}
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    found = Balance(**settings).weights(y, len(counts))
    return (1.0,) * len(counts) if found is None else tuple(found.double().tolist())


def shown_counts(balance: Mapping[str, Any], counts: Sequence[int]) -> tuple[int, ...]:
    """How often the loss counts the samples of each class.

    Args:
        balance: Settings of the run.
        counts: Samples of each class.

    Returns:
        Samples in an epoch with oversampling; else weights times samples, in whole samples.
    """
    if balance.get("oversample"):
        return (max(counts),) * len(counts)
    return tuple(max(1, round(w * n)) for w, n in zip(class_weights(balance, counts), counts, strict=True))
