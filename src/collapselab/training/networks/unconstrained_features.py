"""No network at all: features that can be anything."""

import math
from dataclasses import dataclass

from torch import nn

from collapselab.core import checks
from collapselab.training.networks._layers import stages
from collapselab.training.networks._spec import Network, network


@network("unconstrained_features", label="unconstrained features", source="mixon2020")
@dataclass(frozen=True)
class UnconstrainedFeatures(Network):
    r"""One linear layer without bias: on one-hot inputs each sample has features of its own.

    Only with the data set ``one_hot`` is this the unconstrained-features model: there weight decay on everything is
    $\lambda_W=\lambda_H=\lambda$; decay of the head alone beside the penalty ``feature_decay`` gives each a decay of
    its own. Features start normal with standard deviation `size` over the root of their number.

    Attributes:
        num_features: Number of features, d.
        size: Root mean square length of the initial features.
    """

    num_features: int = 16
    size: float = 1.0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.num_features, "num_features", at_least=1)
        checks.real(self.size, "size", at_least=0)

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """Features of every sample; draws from torch's global generator.

        Args:
            shape: Shape of one input; flattened. One-hot inputs have as many numbers as there are samples.

        Returns:
            Inputs to features (n, d), on the CPU; and d.
        """
        free = nn.Linear(math.prod(shape), self.num_features, bias=False)
        nn.init.normal_(free.weight, std=self.size / math.sqrt(self.num_features))
        return stages({"features": nn.Sequential(nn.Flatten(), free)}), self.num_features
