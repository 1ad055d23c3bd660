"""Regression of one inner product: pull without push."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from collapselab.core import checks
from collapselab.training.losses._spec import Loss, Outputs, loss


@loss("dot_regression", label="dot regression", source="yang2022")
@dataclass(frozen=True)
class DotRegression(Loss):
    r"""Squared distance of the inner product with the class vector of the true class from its largest possible value.

    For a fixed head whose rows have squared norm $E_W$, and a neck that bounds the squared norm of features by $E_H$.
    There the gradient at full norm is $-(1-\cos(w_y,h))\,w_y$: it pulls towards the own class vector and never pushes
    away from others, so classes do not compete and imbalance moves no minimiser. At least 0, at
    $h=\sqrt{E_H/E_W}\,w_y$ within the bound. The bias plays no part. A head that learns beside it can collapse to
    equal rows.

    Attributes:
        energy_head: E_W, squared norm of each row of the head.
        energy_features: E_H, largest squared norm of a feature.
    """

    unit: ClassVar[str] = "1"

    energy_head: float = 1.0
    energy_features: float = 1.0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.energy_head, "energy_head", above=0)
        checks.real(self.energy_features, "energy_features", above=0)

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        r"""$\frac1{2\sqrt{E_WE_H}}\bigl(w_y\cdot h-\sqrt{E_WE_H}\bigr)^2$ of each sample.

        Args:
            outputs: Features h (n, d) and the weight of the head, rows w (k, d), are what is looked at.
            y: Labels (n,).

        Returns:
            One number a sample.
        """
        largest = math.sqrt(self.energy_head * self.energy_features)
        products = (outputs.weight[y] * outputs.features).sum(1)
        return (products - largest).square() / (2 * largest)
