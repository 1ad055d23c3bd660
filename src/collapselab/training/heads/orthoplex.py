"""A classifier fixed at axes and their opposites."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from collapselab.core import checks
from collapselab.geometry import orthoplex
from collapselab.training.heads._fixed import FixedHead, turned_by
from collapselab.training.heads._spec import head

Orientation = Literal["axes", "random"]


@head("orthoplex", label="fixed orthoplex", source="pernici2022")
@dataclass(frozen=True)
class Orthoplex(FixedHead):
    """K fixed class vectors, orthogonal or opposite to each other, in d >= K/2 dimensions.

    Half of them are negative: features behind a ReLU cannot reach those, so put a linear layer between (the neck's
    `linear`). For an odd K the last of the opposites is left out.

    Attributes:
        scale: Length of each class vector.
        bias: Whether logits have a bias, which is trained and starts at zero.
        reserve: Number of class vectors, at least K; None for K. Those beyond the K classes of the data wait for
            classes to come: they give logits like the others, and until such classes come they are only pushed away.
        orientation: ``axes``, with zeros for features beyond the K/2-th, which then get no signal; ``random`` for a
            uniformly random rotation or reflection.
    """

    orientation: Orientation = "axes"

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        checks.one_of(self.orientation, "orientation", get_args(Orientation))

    def rows(self, num_features: int, num_vectors: int) -> Tensor:
        """The class vectors before they are scaled.

        Args:
            num_features: d.
            num_vectors: K, with those for classes to come.

        Returns:
            (K, d) unit rows in float64; row k + ceil(K/2) is opposite to row k.

        Raises:
            InputError: If d is below K/2.

        Example:
            >>> Orthoplex().rows(2, 3).tolist()
            [[1.0, 0.0], [0.0, 1.0], [-1.0, -0.0]]
        """
        k = checks.whole(num_vectors, "num_classes", at_least=2)
        return orthoplex(k + k % 2, num_features, generator=turned_by(self.orientation))[:k]
