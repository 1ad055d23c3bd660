"""A classifier fixed at corners of a cube."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from collapselab.core import checks
from collapselab.geometry import cube
from collapselab.training.heads._fixed import FixedHead, turned_by
from collapselab.training.heads._spec import head

Orientation = Literal["axes", "random"]


@head("cube", label="fixed cube", source="pernici2022")
@dataclass(frozen=True)
class Cube(FixedHead):
    """K fixed class vectors at corners of a cube, in d >= log2 K dimensions: the fewest features, and the nearest rows.

    Corners have negative entries, which features behind a ReLU cannot reach, so put a linear layer between (the neck's
    `linear`). For a K that is no power of two the first K corners are taken, and their centre is not the origin.

    Attributes:
        scale: Length of each class vector.
        bias: Whether logits have a bias, which is trained and starts at zero.
        reserve: Number of class vectors, at least K; None for K. Those beyond the K classes of the data wait for
            classes to come: they give logits like the others, and until such classes come they are only pushed away.
        orientation: ``axes``, with zeros for features beyond the log2 K-th, which then get no signal; ``random`` for a
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
            (K, d) unit rows in float64; the signs of row k are the binary digits of k, most significant first.

        Raises:
            InputError: If d is below log2 K.

        Example:
            >>> (Cube().rows(2, 3) * 2**0.5).round().tolist()
            [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]]
        """
        k = checks.whole(num_vectors, "num_classes", at_least=2)
        return cube(1 << (k - 1).bit_length(), num_features, generator=turned_by(self.orientation))[:k]
