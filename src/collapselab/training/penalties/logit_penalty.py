"""Decay of the logits."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from collapselab.core import checks
from collapselab.training.losses import Outputs
from collapselab.training.penalties._spec import Penalty, penalty


@penalty("logit_penalty", label="logit penalty", source="kornblith2021")
@dataclass(frozen=True)
class LogitPenalty(Penalty):
    r"""Half the squared norm of the logits, times a strength.

    At least 0, at $z=0$. Beside cross-entropy the minimiser is finite without any decay: the true logit is
    $(K-1)a$ and every other one $-a$ with $\beta a=1/(e^{Ka}+K-1)$.

    Attributes:
        strength: beta, the coefficient of one half of the squared norm.
    """

    unit: ClassVar[str] = "1"

    strength: float = 1e-2

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.strength, "strength", at_least=0)

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        r"""$\tfrac\beta2\lVert z\rVert^2$ of each sample.

        Args:
            outputs: Logits z (n, k) are what is looked at.
            y: Labels (n,), which play no part.

        Returns:
            One number a sample.
        """
        return 0.5 * self.strength * outputs.logits.square().sum(1)
