"""Decay of the features, in place of the weights that make them."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from collapselab.core import checks
from collapselab.training.losses import Outputs
from collapselab.training.penalties._spec import Penalty, penalty


@penalty("feature_decay", label="feature decay", source="zhu2021")
@dataclass(frozen=True)
class FeatureDecay(Penalty):
    r"""Half the squared norm of the features, times a strength: the peeled network, trained.

    With weight decay on the head alone this is the objective of unconstrained features, in which the sum over the N
    samples has the coefficient $\lambda_H=\lambda/N$, since here it is averaged. At least 0, at $h=0$. The features
    are those that the head sees: behind a neck that fixes their norms the penalty is a constant and does nothing.

    Attributes:
        decay_features: lambda, the coefficient of one half of the mean squared norm.
    """

    unit: ClassVar[str] = "1"

    decay_features: float = 5e-3

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.decay_features, "decay_features", at_least=0)

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        r"""$\tfrac\lambda2\lVert h\rVert^2$ of each sample.

        Args:
            outputs: Features h (n, d) are what is looked at.
            y: Labels (n,), which play no part.

        Returns:
            One number a sample.
        """
        return 0.5 * self.decay_features * outputs.features.square().sum(1)
