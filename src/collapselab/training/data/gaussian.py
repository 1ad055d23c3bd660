"""Gaussian clusters: the data whose best possible classifier is known."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.random import child_seed
from collapselab.geometry import orthogonal_frame, simplex_etf
from collapselab.training.data._made import shuffled, standardised, streams
from collapselab.training.data._samples import Splits
from collapselab.training.data._spec import DataSet, dataset


@dataset("gaussian", label="Gaussian clusters", source="papyan2020")
@dataclass(frozen=True)
class Gaussian(DataSet):
    r"""Points around one mean a class, all with the same Gaussian noise; standardised.

    Means have length 1 and are turned at random, noise is independent along the axes, so that the best classifier takes
    the mean that is nearest in units of the noise. For simplex and orthogonal means without anisotropy it is right with
    probability $\int \varphi(z) \Phi(z + a / \sigma)^{K-1} dz$, with $a = \sqrt{K/(K-1)}$ and $a = 1$.

    Attributes:
        means: Vertices of a regular simplex, orthonormal, or independent and uniform on the sphere.
        num_classes: Number of classes, K.
        num_features: Dimension d, at least K-1 for a simplex and K for orthogonal means.
        samples_per_class: Training points of each class.
        test_per_class: Test points of each class.
        spread: Root mean square of the standard deviations along the axes.
        anisotropy: Largest over smallest standard deviation; between them they fall geometrically from axis to axis.
        means_seed: What the position of the means comes from.
    """

    means: Literal["simplex", "orthogonal", "random"] = "simplex"
    num_classes: int = 10
    num_features: int = 32
    samples_per_class: int = 400
    test_per_class: int = 100
    spread: float = 0.2
    anisotropy: float = 1.0
    means_seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.one_of(self.means, "means", ("simplex", "orthogonal", "random"))
        checks.whole(self.num_classes, "num_classes", at_least=2)
        least = {"simplex": self.num_classes - 1, "orthogonal": self.num_classes, "random": 1}[self.means]
        checks.whole(self.num_features, f"num_features of {self.means} means", at_least=least)
        checks.whole(self.samples_per_class, "samples_per_class", at_least=1)
        checks.whole(self.test_per_class, "test_per_class", at_least=1)
        checks.real(self.spread, "spread", at_least=0)
        checks.real(self.anisotropy, "anisotropy", at_least=1)
        checks.whole(self.means_seed, "means_seed", at_least=0)

    def centres(self) -> Tensor:
        """The means before standardisation.

        Returns:
            (k, d) unit rows, float64.
        """
        generator = torch.Generator().manual_seed(child_seed(self.means_seed, "means"))
        if self.means == "simplex":
            return simplex_etf(self.num_classes, self.num_features, generator=generator)
        if self.means == "orthogonal":
            return orthogonal_frame(self.num_classes, self.num_features, generator=generator)
        rows = torch.randn(self.num_classes, self.num_features, generator=generator, dtype=torch.float64)
        return rows / rows.norm(dim=1, keepdim=True)

    def deviations(self) -> Tensor:
        """Standard deviation along each axis before standardisation.

        Returns:
            (d,) numbers, largest first, float64.
        """
        share = torch.linspace(0, -1, self.num_features, dtype=torch.float64)
        falling = torch.tensor(self.anisotropy, dtype=torch.float64) ** share
        return self.spread * falling / falling.square().mean().sqrt()

    def load(self, generator: torch.Generator) -> Splits:
        """The points as (n, d).

        Args:
            generator: Makes the points; the means do not depend on it.

        Returns:
            Both splits on the CPU, each in random order; the test points do not depend on how many there are for
            training, except for their standardisation.
        """
        train, test = streams(generator)
        return standardised(
            self._split(self.samples_per_class, train),
            self._split(self.test_per_class, test),
            num_classes=self.num_classes,
        )

    def _split(self, per_class: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        y = torch.arange(self.num_classes).repeat_interleave(per_class)
        noise = torch.randn(len(y), self.num_features, generator=generator, dtype=torch.float64)
        return shuffled(self.centres()[y] + self.deviations() * noise, y, generator)
