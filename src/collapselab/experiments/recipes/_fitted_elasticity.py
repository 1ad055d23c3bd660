"""Local elasticity fitted to a training, in numbers: what a row says of a moment, and the last row of the whole."""

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.dynamics import Found
from collapselab.experiments.extra import Extra, with_found
from collapselab.experiments.recipes._fitted_numbers import INTER, INTRA, ITERATION, MEANS, MOMENT, WHOLE
from collapselab.records.schema import Declaration, Measurements, PerClass
from collapselab.theory.elastic_fit import (
    ClassSums,
    elasticity,
    extrapolated_path,
    fitted_identity_path,
    fitted_residual_path,
    frozen_path,
    goodness,
    identity_exponents,
    identity_exponents_reference,
    residual_exponents,
    tail_index_local,
    tail_index_reference,
)

T = TypeVar("T")

# Trials drawn again that are worked out at once: about 50 MB at 3,000 iterations and three classes.
_AT_ONCE = 25

# Parts of the iterations: the end that predictions and the published index are judged by, the beginning that a straight
# line is fitted to, and the part that the local index is of.
_TAIL, _SEEN, _LOCAL = 10, 10, 2


def courses(means: Tensor, *, window: int) -> Tensor:
    """Elasticity and its integrals over time.

    Args:
        means: Class means of logits (t, k, k).
        window: Iterations that a derivative is taken over.

    Returns:
        (8, t), as `MOMENT` says.
    """
    rows: list[Tensor] = []
    for estimate in (identity_exponents, residual_exponents):
        exponents = estimate(means)
        rows += [*elasticity(exponents, window=window), *exponents]
    return torch.stack(rows)


def whole(means: Tensor, *, window: int) -> Tensor:
    """What is said of a training as a whole.

    Args:
        means: Class means of logits (..., t, k, k).
        window: Iterations that a derivative and an average are taken over.

    Returns:
        (..., 10), as `WHOLE` says.
    """
    length = means.shape[-3]
    intra = identity_exponents(means).intra
    rates = elasticity(identity_exponents(means), window=window)
    entries = identity_exponents_reference(means).intra
    fits = _fits(means, window=window)
    return torch.stack(
        [
            (rates.intra > rates.inter).double().mean(-1),
            tail_index_reference(intra, last=length // _TAIL),
            tail_index_reference(entries, last=length // _TAIL),
            tail_index_local(intra, last=length // _LOCAL),
            *fits,
        ],
        dim=-1,
    )


def _fits(means: Tensor, *, window: int) -> list[Tensor]:
    """Errors at the end, and the cosine and the gain of the L-model."""
    length = means.shape[-3]
    paths = (
        fitted_residual_path(means, window=window),
        fitted_identity_path(means, window=window),
        frozen_path(means),
        extrapolated_path(means, seen=length // _SEEN),
    )
    end = slice(length - length // _TAIL, length)
    ours, identity, frozen, straight = (goodness(path[..., end, :, :], means[..., end, :, :]) for path in paths)
    gain = torch.minimum(frozen.error, straight.error) - ours.error
    return [ours.error, ours.cosine, identity.error, frozen.error, straight.error, gain]


def of_moments(
    sums: ClassSums, moments: list[int], *, window: int, draws: int, generator: torch.Generator
) -> list[list[Extra]]:
    """Numbers of some moments; elasticity of the I-model with intervals as those of `of_whole`.

    Args:
        sums: What the trials saw.
        moments: Iterations done, at most all; where all are done, what the last saw before its update.
        window: Iterations that a derivative is taken over.
        draws: How often the trials are drawn again.
        generator: What the draws come from.

    Returns:
        One list a moment.
    """
    means = sums.means()
    at, again = torch.tensor(moments).clamp(max=len(means) - 1), sums.again(draws, generator).split(_AT_ONCE)

    def found() -> list[list[float]]:
        here = courses(means, window=window)[:, at]
        there = torch.cat([_rates(sums.means(some), window=window)[..., at] for some in again])
        return torch.cat([here, _reach(here[:2], there).flatten(0, 1)]).T.tolist()

    values = _or_reason(found)
    entries = (*MOMENT, *(_end(entry, word) for word in ("low", "high") for entry in (INTRA, INTER)))
    rows = [[values] * len(entries)] * len(moments) if isinstance(values, str) else values
    return [
        [(ITERATION, float(moment)), *zip(entries, row, strict=True)]
        for moment, row in zip(moments, rows, strict=True)
    ]  # fmt: skip


def _rates(means: Tensor, *, window: int) -> Tensor:
    """Elasticity of the I-model (b, 2, t)."""
    return torch.stack(elasticity(identity_exponents(means), window=window), dim=-2)


def _reach(here: Tensor, there: Tensor) -> Tensor:
    """Low and high ends (2, ...) of intervals: as far from the value as the middle 95 % of draws from their median."""
    low, middle, high = there.quantile(torch.tensor([0.025, 0.5, 0.975]).double(), dim=0)
    return torch.stack([here + low - middle, here + high - middle])


def _within(entry: Declaration, value: float) -> float:
    """An end of an interval is no further than the number can be."""
    low, high = (-math.inf if entry.lower is None else entry.lower), (math.inf if entry.upper is None else entry.upper)
    return min(max(value, low), high)


def _end(entry: Declaration, word: str) -> Declaration:
    return entry.model_copy(update={"name": f"{entry.name}_{word}", "label": f"{entry.label}, {word} end"})


def of_whole(sums: ClassSums, *, window: int, draws: int, generator: torch.Generator) -> list[Extra]:
    """Numbers of a whole training, with intervals from trials drawn again, with replacement.

    An interval reaches from the value as far down and up as the middle 95 % of what such draws give reach from their
    median. A draw has fewer different trials and so more noise in its means, which moves all draws alike: their own
    quantiles can lie beside the value.

    Args:
        sums: What the trials saw.
        window: Iterations that derivatives and averages are taken over.
        draws: How often the trials are drawn again.
        generator: What the draws come from.

    Returns:
        Three numbers for each of `WHOLE`.
    """
    again = sums.again(draws, generator).split(_AT_ONCE)

    def found() -> list[list[float]]:
        here = whole(sums.means(), window=window)
        there = torch.cat([whole(sums.means(some), window=window) for some in again])
        return torch.cat([here[None], _reach(here, there)]).T.tolist()

    values = _or_reason(found)
    numbers: list[Extra] = []
    for at, entry in enumerate(WHOLE):
        named = (entry, _end(entry, "low"), _end(entry, "high"))
        three = [values] * 3 if isinstance(values, str) else [_within(entry, value) for value in values[at]]
        numbers += zip(named, three, strict=True)
    return numbers


def with_means(result: Measurements, means: Tensor) -> Measurements:
    """A row with the class means of its moment, each logit class by class.

    Args:
        result: What is measured.
        means: (k, k), a class a row.

    Returns:
        New record.
    """
    vectors, entries = dict(result.per_class), dict(result.declarations)
    for logit, values in enumerate(means.T.tolist()):
        name = f"mean_logit_{logit}"
        changes = {"name": name, "label": f"mean of logit {logit}", "symbol": rf"\bar X_{{k{logit}}}"}
        entries[name] = MEANS.model_copy(update=changes | {"per_class": True})
        vectors[name] = PerClass(values=tuple(values), unit="1")
    return result.model_copy(update={"per_class": vectors, "declarations": entries})


def with_picture(result: Measurements, means: Tensor) -> tuple[Measurements, Found]:
    """A row that declares the matrix of class means, and the matrix for the snapshot beside it.

    Args:
        result: What is measured.
        means: (k, k), a class a row.

    Returns:
        New record, and what was found.
    """
    found = Found((), ((MEANS, means.numpy().astype(np.float32)),))
    return with_found(result, found), found


def _or_reason(work: Callable[[], T]) -> T | str:
    """What some work gives, or the reason why it has no value."""
    try:
        return work()
    except UndefinedMetric as undefined:
        return str(undefined)
