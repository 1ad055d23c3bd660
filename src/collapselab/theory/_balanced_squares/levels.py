"""Balanced squared error in three numbers: margin, common part and bias."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from collapselab.theory._balanced_squares.roots import last_that_holds
from collapselab.theory._blocks import BlockMatrix


@dataclass(frozen=True)
class Levels:
    r"""Logits of balanced classes: $a\,\Pi+\tfrac mKJ$, class by class, plus one bias for all.

    Attributes:
        num_classes: K.
        margin: a, the logit of a sample's own class minus that of another.
        common: m, the sum over classes of the logits of a sample, without bias.
        bias: b.
    """

    num_classes: int
    margin: float
    common: float
    bias: float = 0.0

    @property
    def other(self) -> float:
        """Logit of another class, with bias."""
        return (self.common - self.margin) / self.num_classes + self.bias

    @property
    def own(self) -> float:
        """Logit of the own class, with bias."""
        return self.other + self.margin

    def squares(self, kappa: float = 1.0, target: float = 1.0) -> float:
        r"""Half of $\kappa(z_y-M)^2+\sum_{j\ne y}z_j^2$.

        Args:
            kappa: Weight of the true class.
            target: M.

        Returns:
            The loss of every sample.
        """
        return 0.5 * (kappa * (self.own - target) ** 2 + (self.num_classes - 1) * self.other**2)

    def blocks(self) -> BlockMatrix:
        """The logits without bias, K x K.

        Returns:
            The matrix.
        """
        return two_levels(self.num_classes, self.margin, self.common)


def two_levels(num_classes: int, apart: float, common: float) -> BlockMatrix:
    r"""$a\,\Pi+\tfrac mKJ$.

    Args:
        num_classes: K.
        apart: a.
        common: m.

    Returns:
        The matrix.
    """
    k = num_classes
    return BlockMatrix.uniform(k, apart * (1 - 1 / k) + common / k, (common - apart) / k)


def shrunken(
    num_classes: int,
    strength: float,
    pull: float,
    *,
    kappa: float = 1.0,
    target: float = 1.0,
    room: bool = True,
) -> Levels:
    r"""What minimises $\tfrac12\bigl(\kappa(z_y-M)^2+\sum_{j\ne y}z_j^2\bigr)+\tfrac cK\|A\|_*+\tfrac p2b^2$.

    A are the logits without bias and b the bias of every class. The bias is as large as its decay allows; a part that
    all logits have in common is left to the features where that decay is above a transition.

    Args:
        num_classes: K.
        strength: c.
        pull: p, K times the decay of the bias; 0 for a free one.
        kappa: Weight of the true class.
        target: M.
        room: Whether there are K features; with fewer the common part is not worth the room that it takes.

    Returns:
        Logits and bias.
    """
    k, c, shift = num_classes, strength, kappa + num_classes - 1
    on = target - c / kappa
    if room and pull > 0 and on - k * c / pull > 0:
        return Levels(k, on, on - k * c / pull, c / pull)
    own_share, other_share = 1 / (kappa * k * k), (k - 1) / (k * k)
    bias = (target / k + c * other_share * (1 - 1 / kappa)) / (1 + pull * (own_share + other_share))
    margin = target - ((k - 1) * c + pull * bias) / (k * kappa) - (c - pull * bias) / k
    return Levels(k, margin, 0.0, bias) if margin > 0 else Levels(k, 0.0, 0.0, kappa * target / (shift + pull))


def nonnegative(num_classes: int, strength: float, weight: float) -> Levels:
    r"""What minimises the squared error where features are not negative and there is a bias.

    A bias that is at its best leaves $\tfrac12(a-1)^2(K-1)+\tfrac t2(m-1)^2$ of K times the error, with
    $t=\lambda_b/(1+\lambda_b)$. Decay of features that are not negative adds $c\sqrt K\sqrt{(K-1)a^2+m^2}$ to it, so
    that $a=1/(1+\gamma)$ and $m=t/(t+\gamma)$ with the $\gamma$ of one equation.

    Args:
        num_classes: K.
        strength: c.
        weight: t; 0 for a free bias, below 1.

    Returns:
        Logits and bias.
    """
    k, c, t = num_classes, strength, weight

    def parts(gamma: float) -> tuple[float, float]:
        return 1 / (1 + gamma), t / (t + gamma) if t > 0 else 0.0

    def weak(gamma: float) -> bool:
        a, m = parts(gamma)
        return gamma**2 * ((k - 1) * a * a + m * m) <= c * c * k

    if c * c * k >= k - 1 + t * t:
        return Levels(k, 0.0, 0.0, (1 - t) / k)
    a, m = parts(last_that_holds(weak, 0.0, _beyond(weak)))
    return Levels(k, a, m, (1 - t) * (1 - m) / k)


def _beyond(weak: Callable[[float], bool]) -> float:
    high = 1.0
    while weak(high):
        high *= 2
    return high


def root_of(levels: Levels) -> Tensor:
    r"""The symmetric root of the logits without bias.

    Args:
        levels: Logits with margin and common part of at least 0.

    Returns:
        (k, k) $\sqrt a\,\Pi+\sqrt m\,J/K$.
    """
    return two_levels(levels.num_classes, math.sqrt(levels.margin), math.sqrt(levels.common)).dense()
