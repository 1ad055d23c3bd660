"""Local elasticity fitted to a training, in numbers: what a row says of a moment, and the last row of the whole."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.dynamics import Found
from collapselab.experiments.extra import Extra, declared, with_found
from collapselab.records.schema import Declaration, Measurements, Observation, PerClass
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

_number = partial(declared, source="zhang2021", family="local_elasticity", at_collapse=None, lower=None)
_rate = partial(_number, unit="1/time")

ITERATION = _number("iteration", "iteration", "Iterations done.", symbol="t")
INTRA = _rate(
    "elasticity_intra",
    "within a class",
    "How an update moves its own class, fitted to class means over trials (I-model).",
    symbol=r"\hat\alpha",
)
INTER = _rate(
    "elasticity_inter",
    "between classes",
    "How an update moves the other classes, fitted to class means over trials (I-model).",
    symbol=r"\hat\beta",
)
MOMENT: tuple[Declaration, ...] = (
    INTRA,
    INTER,
    _number("growth_intra", "A", "Integral of the elasticity within a class (I-model).", symbol=r"\hat A"),
    _number("growth_inter", "B", "Integral of the elasticity between classes (I-model).", symbol=r"\hat B"),
    _rate(
        "elasticity_intra_logits",
        "within a class, L-model",
        "How an update moves its own class along residuals.",
        symbol=r"\hat\alpha_L",
    ),
    _rate(
        "elasticity_inter_logits",
        "between classes, L-model",
        "How an update moves the other classes along residuals.",
        symbol=r"\hat\beta_L",
    ),
    _number("growth_intra_logits", "A, L-model", "Integral of the elasticity within a class.", symbol=r"\hat A_L"),
    _number("growth_inter_logits", "B, L-model", "Integral of the elasticity between classes.", symbol=r"\hat B_L"),
)
"""Numbers of a moment, in the order of `courses`."""

ABOVE, TAIL, LOCAL, GAIN = "share_intra_above_inter", "tail_index", "tail_index_local", "l_model_gain"

WHOLE: tuple[Declaration, ...] = (
    _number(ABOVE, "share of time with α > β", "Part of the iterations with α above β (I-model).", symbol="p"),
    _number(TAIL, "tail index", "Published tail index of A, which is taken from norms (I-model).", symbol=r"\hat r"),
    _number(
        "tail_index_entries",
        "tail index from entries",
        "Published tail index of A, which is taken from ratios of entries as published (I-model).",
        symbol=r"\hat r_e",
    ),
    _number(LOCAL, "local tail index", "One minus the slope of log A along log t (I-model).", symbol=r"\hat r_l"),
    _number("l_model_error", "error of the L-model", "Of the L-model at the end, within the sample.", symbol="e_L"),
    _number("l_model_cosine", "cosine of the L-model", "Of the L-model at the end, within the sample.", symbol="c_L"),
    _number("i_model_error", "error of the I-model", "Of the I-model at the end, within the sample.", symbol="e_I"),
    _number("frozen_error", "error of frozen means", "Of class means that stay as they began.", symbol="e_0"),
    _number("straight_error", "error of a straight line", "Of class means that go on as they began.", symbol="e_1"),
    _number(
        GAIN,
        "gain of the L-model",
        "Error of the better of frozen means and a straight line, less that of the L-model.",
        symbol=r"\min(e_0,e_1)-e_L",
    ),
)
"""Numbers of a whole training, in the order of `whole`; the ends of their intervals are ``_low`` and ``_high``."""

MEANS = _number("class_means", "mean logits", "Mean logits over trials, a class a row.", symbol=r"\bar X_k")


class Range(NamedTuple):
    """A number with its interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, row: Observation, name: str) -> "Range":
        """What a row says of a number of a whole training.

        Args:
            row: The last row of an arm.
            name: Its key.

        Returns:
            The range.
        """
        return cls(*(row.result[f"{name}{side}"] for side in ("", "_low", "_high")))

    def above(self, bound: float) -> int:
        """Whether it lies above a number.

        Args:
            bound: The number.

        Returns:
            1 if all of it does, -1 if none of it does, 0 if neither.
        """
        return 1 if self.low > bound else -1 if self.high <= bound else 0

    def below(self, bound: float) -> int:
        """Whether it lies below a number.

        Args:
            bound: The number.

        Returns:
            1 if all of it does, -1 if none of it does, 0 if neither.
        """
        return 1 if self.high < bound else -1 if self.low >= bound else 0

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


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


def of_moments(means: Tensor, moments: list[int], *, window: int) -> list[list[Extra]]:
    """Numbers of some moments.

    Args:
        means: Class means of logits (t, k, k).
        moments: Iterations done, at most t; where all are done, what the last saw before its update.
        window: Iterations that a derivative is taken over.

    Returns:
        One list a moment.
    """
    at = torch.tensor(moments).clamp(max=len(means) - 1)
    found = _or_reason(lambda: courses(means, window=window)[:, at].T.tolist())
    rows: list[list[float] | list[str]] = (
        [[found] * len(MOMENT)] * len(moments) if isinstance(found, str) else found
    )  # fmt: skip
    return [
        [(ITERATION, float(moment)), *zip(MOMENT, row, strict=True)] for moment, row in zip(moments, rows, strict=True)
    ]


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
        low, middle, high = there.quantile(torch.tensor([0.025, 0.5, 0.975]).double(), dim=0)
        return torch.stack([here, here + low - middle, here + high - middle], dim=1).tolist()

    values = _or_reason(found)
    numbers: list[Extra] = []
    for at, entry in enumerate(WHOLE):
        for side, (end, words) in enumerate((("", ""), ("_low", ", low end"), ("_high", ", high end"))):
            named = entry.model_copy(update={"name": entry.name + end, "label": entry.label + words})
            numbers.append((named, values if isinstance(values, str) else values[at][side]))
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
