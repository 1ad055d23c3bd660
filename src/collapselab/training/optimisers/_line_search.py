"""A step length that fulfils the strong Wolfe conditions."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

_DECREASE = 1e-4  # share of the decrease that the slope promises
_CURVATURE = 0.9  # share of the slope that may remain; the usual value for quasi-Newton directions
_FLAT = 0.8  # 1 - 2 delta of Hager and Zhang with their delta = 0.1


@dataclass(frozen=True, eq=False)
class Probe:
    """The objective at one place on the line.

    Attributes:
        length: Step length t.
        value: Objective, weight decay included.
        slope: Its derivative along the line.
        loss: Sum of the losses, without weight decay.
        gradient: Gradient of the objective, flat.
    """

    length: float
    value: float
    slope: float
    loss: float
    gradient: Tensor


@dataclass(frozen=True)
class StrongWolfe:
    """Which step lengths are good.

    Near a minimum the decrease of the objective drowns in its rounding errors. There a value that is no higher than
    the rounding errors allow is good enough, if the slope has not grown too much: the approximate Wolfe conditions of
    Hager and Zhang (2005), which reach the precision of the gradient and not only the root of that of the objective.

    Attributes:
        start: Where the line begins; its slope is negative.
        rounding: How far two values may differ by rounding alone.
    """

    start: Probe
    rounding: float

    def too_high(self, probe: Probe) -> bool:
        """Whether the objective did not fall as it must, even if rounding is allowed for.

        Args:
            probe: A place on the line.

        Returns:
            True also where it is not finite.
        """
        if not (math.isfinite(probe.value) and math.isfinite(probe.slope)):
            return True
        return probe.value > max(self._line(probe), self.start.value + self.rounding)

    def good(self, probe: Probe) -> bool:
        """Whether a place may be accepted.

        Args:
            probe: A place on the line.

        Returns:
            Whether objective and slope are small enough.
        """
        if self.too_high(probe) or abs(probe.slope) > -_CURVATURE * self.start.slope:
            return False
        return probe.value <= self._line(probe) or probe.slope <= -_FLAT * self.start.slope

    def _line(self, probe: Probe) -> float:
        return self.start.value + _DECREASE * probe.length * self.start.slope


def search(probe: Callable[[float], Probe], rule: StrongWolfe, *, first: float, evaluations: int) -> Probe | None:
    """Look for a good step length between one that still descends and one that has gone too far.

    Args:
        probe: Evaluates the objective at a step length.
        rule: Which lengths are good.
        first: Length to try first.
        evaluations: How many may be tried.

    Returns:
        A good place; otherwise the longest one found that lies lower and still descends, None if there is none. It
        need not be the one that was evaluated last.
    """
    low, high, length = rule.start, None, first
    for _ in range(evaluations):
        now = probe(length)
        if rule.good(now):
            return now
        if rule.too_high(now) or now.slope >= 0:
            high = now
        else:
            low = now
        length = _further(rule.start, low) if high is None else _between(low, high)
        if length in (low.length, None if high is None else high.length):
            break  # the interval is as short as two numbers can be
    return low if low.length > 0 and low.value < rule.start.value else None


def _further(start: Probe, low: Probe) -> float:
    """Where a straight line through the slopes at the start and here meets zero, two to ten times as far as here."""
    bend = low.slope - start.slope
    zero = -start.slope / bend if bend > 0 else math.inf
    return low.length * min(max(zero, 2.0), 10.0)


def _between(low: Probe, high: Probe) -> float:
    """Where the slope meets zero between two places, not too near to either; the middle if it does not change sign."""
    share = 0.5
    if math.isfinite(high.value) and 0 <= high.slope < math.inf:
        share = min(max(-low.slope / (high.slope - low.slope), 0.1), 0.9)
    return low.length + share * (high.length - low.length)
