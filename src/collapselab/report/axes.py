"""Axes that suit collapse: logarithmic, with room for epoch 0 and for a value that is exactly 0."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from collapselab.report.words import number, power_of_ten

_STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Scale:
    """How the values of a figure are placed on its vertical axis.

    Attributes:
        axis: The axis as plotly takes it.
        zero_at: Where exact zeros are drawn on a logarithmic axis; None where there are none or the axis is linear.
        lowest: Lower end of the axis.
        highest: Upper end of the axis.
        logarithmic: Whether it is logarithmic.
    """

    axis: dict[str, Any]
    zero_at: float | None
    lowest: float
    highest: float
    logarithmic: bool

    def place(self, value: float) -> float:
        """Where a value is drawn.

        Args:
            value: The value.

        Returns:
            The value itself, or the row of zeros.
        """
        return self.zero_at if value == 0 and self.zero_at is not None else value

    def shows(self, value: float) -> bool:
        """Whether a line at this value lies on the axis.

        Args:
            value: The value.

        Returns:
            True if it can be drawn.
        """
        return self.lowest <= self.place(value) <= self.highest and (not self.logarithmic or self.place(value) > 0)


def epoch_place(epoch: float) -> float:
    """Where an epoch is drawn: on a logarithmic axis of epoch + 1, so that epoch 0, before training, has a place.

    Args:
        epoch: Epochs done.

    Returns:
        Position on the axis.
    """
    return epoch + 1


def epoch_axis(last: int, unit: str = "epoch") -> dict[str, Any]:
    """The axis of time, labelled in epochs or in steps.

    Args:
        last: Last epoch or step to show.
        unit: ``epoch`` or ``step``.

    Returns:
        A plotly axis.
    """
    ticks = [0, *(step * 10**power for power in range(7) for step in _STEPS if step * 10**power <= last)]
    if len(ticks) > 8:
        ticks = [0, *(10**power for power in range(7) if 10**power <= last)]
    end = math.log10(epoch_place(max(last, 1)))
    return {
        "type": "log",
        "title": {"text": unit},
        "tickvals": [epoch_place(tick) for tick in ticks],
        "ticktext": [f"{tick:,}" for tick in ticks],
        "range": [-0.03 * max(end, 0.3), 1.03 * end],
        "minor": {"ticks": ""},
    }


def value_scale(values: Sequence[float], target: float | None, *, linear: bool = False) -> Scale:
    """The axis for some values: logarithmic where they are positive and differ by a factor, linear otherwise.

    Args:
        values: What will be drawn; at least one.
        target: Value at collapse, to be in sight where that costs little.
        linear: Ask for a linear axis.

    Returns:
        The scale.
    """
    positive = [value for value in values if value > 0]
    if linear or min(values) < 0 or not positive or max(positive) < 3 * min(positive):
        return _linear(values, target)
    low, high = min(positive), max(positive)
    if target is not None and target > 0 and low / 30 < target < high * 30:
        low, high = min(low, target), max(high, target)
    zero_at = None
    if 0 in values:
        zero_at = low / 10 ** max(0.4, 0.12 * math.log10(high / low))
    bottom, top = math.log10(zero_at or low), math.log10(high)
    room = 0.06 * (top - bottom)
    vals, texts = _ticks(low, high)
    if zero_at is not None:
        vals, texts = [zero_at, *vals], ["0", *texts]
    axis = {"type": "log", "tickvals": vals, "ticktext": texts, "range": [bottom - room, top + room]}
    return Scale(axis, zero_at, 10 ** (bottom - room), 10 ** (top + room), True)


def _linear(values: Sequence[float], target: float | None) -> Scale:
    low, high = min(values), max(values)
    span = high - low
    if target is not None and (span == 0 or low - 2 * span <= target <= high + 2 * span):
        low, high = min(low, target), max(high, target)
    room = 0.08 * (high - low) or 0.5 * abs(high) or 0.5
    return Scale({"type": "linear", "range": [low - room, high + room]}, None, low - room, high + room, False)


def _ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Ticks at powers of ten; at 1, 2, 5 where the axis spans less than two of them; every few where it spans many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if math.log10(high / low) <= 2:
        ticks = [step * 10.0**power for power in range(first, last + 1) for step in _STEPS]
        inside = [tick for tick in ticks if low * 0.9 <= tick <= high * 1.1]
        return inside, [number(tick) for tick in inside]
    powers = [p for p in range(first, last + 1, max(1, (last - first) // 5)) if low * 0.7 <= 10.0**p <= high * 1.4]
    return [10.0**power for power in powers], [_short_power(power) for power in powers]


def _short_power(power: int) -> str:
    return {0: "1", 1: "10", 2: "100"}.get(power, power_of_ten(power))
