"""A classifier fixed at the configuration that a collapsed one reaches."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.geometry import orthogonal_frame, simplex_etf
from collapselab.training.heads._fixed import FixedHead
from collapselab.training.heads._spec import head

Orientation = Literal["axes", "blocks", "random"]


@head("simplex_etf", label="fixed simplex ETF", source="zhu2021")
@dataclass(frozen=True)
class SimplexETF(FixedHead):
    """K fixed class vectors with pairwise cosine -1/(K-1), in d >= K-1 dimensions.

    Features that are not negative (behind a ReLU) can only match a simplex up to a shift if it fits into the orthant:
    that along the axes, and that in blocks, do; one turned at random in general does not, and then the class means
    stay away from it. There, put a linear layer between (the neck's `linear`). Accuracy hardly depends on it.

    Attributes:
        scale: Length of each class vector.
        bias: Whether logits have a bias, which is trained and starts at zero.
        reserve: Number of class vectors, at least K; None for K. Those beyond the K classes of the data wait for
            classes to come: they give logits like the others, and until such classes come they are only pushed away.
        orientation: ``axes`` for the centred axes, sqrt(K/(K-1)) (I - 11'/K), with zeros for features beyond the K-th,
            which then get no signal; ``blocks`` for the same with each axis spread over an equal share of all features;
            ``random`` for a uniformly random rotation or reflection. At d = K-1, where no orthant holds it, the first
            two give one and the same fixed position.
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
            (K, d) unit rows in float64.

        Raises:
            InputError: If d is below K-1.

        Example:
            >>> SimplexETF().rows(4, 2).tolist() == [[0.5**0.5, -(0.5**0.5), 0, 0], [-(0.5**0.5), 0.5**0.5, 0, 0]]
            True
        """
        k = checks.whole(num_vectors, "num_classes", at_least=2)
        if self.orientation == "random":
            return simplex_etf(k, num_features, generator=torch.default_generator)
        if num_features < k:
            return simplex_etf(k, num_features)
        frame = orthogonal_frame(k, num_features) if self.orientation == "axes" else _blocks(k, num_features)
        return (frame - frame.mean(0)) * math.sqrt(k / (k - 1))


def _blocks(k: int, d: int) -> Tensor:
    """Orthonormal rows (k, d) without negative entries, each constant on its share of the columns and 0 elsewhere."""
    owner = torch.arange(d) * k // d
    members = torch.nn.functional.one_hot(owner, k).T.double()
    return members / members.sum(1, keepdim=True).sqrt()
