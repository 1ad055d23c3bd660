"""Which of growth and noise wins in the end."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

from collapselab.core.errors import NotKnown
from collapselab.theory._elastic.profiles import Terms

Phase = Literal["separates", "does not separate", "undecided"]
"""What the theorem says of the features as time goes on."""


class Tail(NamedTuple):
    """What a rate becomes as time goes on: c t^-r.

    Attributes:
        scale: c; 0 for a rate that vanishes.
        exponent: r.
    """

    scale: float
    exponent: float


def combined(*weighted: tuple[float, Terms]) -> Terms:
    """A weighted sum of sums of power laws.

    Args:
        weighted: Weights, and the power laws of each summand.

    Returns:
        The power laws of the sum.
    """
    return tuple((weight * scale, exponent) for weight, terms in weighted for scale, exponent in terms)


def tail(terms: Terms) -> Tail:
    """The power law that is left of a sum of them.

    Args:
        terms: Scales and exponents.

    Returns:
        The one that falls slowest, of those that do not cancel.

    Example:
        >>> tail(((1.0, 0.5), (2.0, 0.8), (-1.0, 0.5)))
        Tail(scale=2.0, exponent=0.8)
    """
    by_exponent: dict[float, list[float]] = defaultdict(list)
    for scale, exponent in terms:
        by_exponent[exponent].append(scale)
    left = {}
    for exponent, scales in by_exponent.items():
        total = math.fsum(scales)
        if abs(total) > 1e-14 * math.fsum(map(abs, scales)):  # what rounding leaves of scales that cancel
            left[exponent] = total
    slowest = min(left, default=math.inf)
    return Tail(left.get(slowest, 0.0), slowest)


def smallest(sums: Sequence[Terms]) -> Terms:
    """The sum of power laws that lies below the others in the end.

    Args:
        sums: At least one.

    Returns:
        One of them.
    """
    lowest = sums[0]
    for other in sums[1:]:
        if tail(combined((1.0, other), (-1.0, lowest))).scale < 0:
            lowest = other
    return lowest


def outgrows(rate: Tail, noise: Tail) -> bool:
    r"""Whether $e^{\int\lambda}$ leaves every multiple of $\sqrt{\int\sigma^2}$ behind.

    Noise of constant rate grows like $t^{1/2}$, so that $\lambda=c/t$ wins for $c>1/2$.

    Args:
        rate: $\lambda$, of the growth of the distance between class means.
        noise: $\sigma^2$, variance per time.

    Returns:
        Whether the distance wins.

    Raises:
        NotKnown: If there is no noise.
    """
    if noise.scale <= 0:
        raise NotKnown("without noise all samples of a class move alike, and nothing has to be outgrown")
    power = max(1.0 - noise.exponent, 0.0) / 2
    if rate.scale <= 0 or rate.exponent > 1:
        return False
    return rate.exponent < 1 or rate.scale > power


def pushed_outgrows(push: Tail, rate: Tail, noise: Tail) -> bool:
    r"""Whether $\int\mu e^{\int\lambda}$ leaves every multiple of $\sqrt{\int\sigma^2}$ behind.

    Args:
        push: $\mu$, how much of what grows parts the class means.
        rate: $\lambda$, of the growth of what pushes them.
        noise: $\sigma^2$, variance per time.

    Returns:
        Whether the distance wins.
    """
    if push.scale == 0 or (rate.scale < 0 and rate.exponent < 1):
        return False
    if rate.scale > 0 and rate.exponent < 1:
        return True
    # Powers of time are left; the power 0 is a logarithm, which a noise of power 0 does not keep up with.
    won = (rate.scale if rate.exponent == 1 else 0.0) + 1.0 - push.exponent
    power = max(1.0 - noise.exponent, 0.0) / 2
    return won > power or won == power == 0


def phase(gamma: Tail) -> Phase:
    """What the theorem says of features that noise of constant rate moves.

    Args:
        gamma: Smallest eigenvalue of the matrix of local elasticity.

    Returns:
        ``undecided`` for gamma = c / t, where the theorem is silent.
    """
    if gamma.scale < 0:
        return "undecided"  # the theorem wants a positive definite matrix
    if gamma.scale == 0 or gamma.exponent > 1:
        return "does not separate"
    return "separates" if gamma.exponent < 1 else "undecided"
