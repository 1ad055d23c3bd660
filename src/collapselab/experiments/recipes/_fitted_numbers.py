"""Names of the numbers of local elasticity fitted to a training, and a number with its interval."""

from functools import partial
from typing import NamedTuple

from collapselab.experiments.extra import declared
from collapselab.records.schema import Declaration, Observation

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
    _number(
        ABOVE,
        "share of time with α > β",
        "Part of the iterations with α above β (I-model).",
        symbol="p",
        lower=0.0,
        upper=1.0,
    ),
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
