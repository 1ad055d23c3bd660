"""A classifier fixed at a softmax code: for more classes than a simplex has room for."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from collapselab.core import checks
from collapselab.geometry import softmax_code
from collapselab.training.heads._fixed import FixedHead, turned_by
from collapselab.training.heads._spec import head

Orientation = Literal["fixed", "random"]


@head("softmax_code", label="fixed softmax code", source="jiang2023")
@dataclass(frozen=True)
class SoftmaxCode(FixedHead):
    """K fixed class vectors in d dimensions, each as far as possible from the convex hull of all others.

    For K <= d+1 a simplex; for d+2 <= K <= 2d axes and opposites; in two dimensions a regular polygon. Otherwise it is
    searched for when the head is built, which takes a quarter of a minute for a hundred classes and grows with K^2 d.
    Features behind a ReLU cannot reach vectors with negative entries: put a linear layer between (the neck's `linear`).

    Attributes:
        scale: Length of each class vector.
        bias: Whether logits have a bias, which is trained and starts at zero.
        reserve: Number of class vectors, at least K; None for K. Those beyond the K classes of the data wait for
            classes to come: they give logits like the others, and until such classes come they are only pushed away.
        orientation: ``fixed`` for the same vectors every time; ``random`` for a uniformly random rotation or
            reflection, and other starts of the search.
        starts: How many random starts the search has, of which the best is taken.
        rounds: How many attempts at a better code follow.
    """

    orientation: Orientation = "fixed"
    starts: int = 4
    rounds: int = 40

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        checks.one_of(self.orientation, "orientation", get_args(Orientation))
        checks.whole(self.starts, "starts", at_least=1)
        checks.whole(self.rounds, "rounds", at_least=0)

    def rows(self, num_features: int, num_vectors: int) -> Tensor:
        """The class vectors before they are scaled.

        Args:
            num_features: d.
            num_vectors: K, with those for classes to come.

        Returns:
            (K, d) unit rows in float64.
        """
        generator = turned_by(self.orientation)
        return softmax_code(num_vectors, num_features, generator=generator, starts=self.starts, rounds=self.rounds)
