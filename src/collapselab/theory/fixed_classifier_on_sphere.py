"""Features of one norm under a classifier that is fixed to a simplex ETF (Yang et al. 2022), for any class sizes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence import LinearHead
from collapselab.geometry import simplex_etf
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import AbstractLandscape, model
from collapselab.theory._problem import Problem, State
from collapselab.theory._simplex import proportional_geometry


@model("fixed_classifier_on_sphere", label="cross-entropy of normalised features, fixed classifier", source="yang2022")
@dataclass(frozen=True)
class FixedClassifierOnSphere(AbstractLandscape):
    r"""Mean cross-entropy of features of one norm under a classifier fixed to a simplex ETF, for any class sizes.

    Rows of the classifier have squared norm $E_W$ and features $E_H$. The minimiser is $h=\sqrt{E_H/E_W}\,w_y$ for
    every sample, and the minimum $\log\bigl(1+(K-1)e^{-\sqrt{E_WE_H}K/(K-1)}\bigr)$. It is the same with features of
    at most that norm, which is a convex problem.

    Attributes:
        counts: Samples of each class.
        num_features: d, at least K-1 and 2.
        energy_head: E_W.
        energy_features: E_H.
    """

    counts: tuple[int, ...]
    num_features: int
    energy_head: float = 1.0
    energy_features: float = 1.0

    def __post_init__(self) -> None:
        """Check the fields."""
        needed = max(2, self._sizes.num_classes - 1)
        if self.num_features < needed:
            raise InputError(f"num_features must be at least {needed}, got {self.num_features}")
        checks.real(self.energy_head, "energy_head", above=0)
        checks.real(self.energy_features, "energy_features", above=0)

    @cached_property
    def _sizes(self) -> Problem:
        return Problem(self.counts, self.num_features, 0.0, 0.0)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "The classifier is a simplex ETF and does not move; there is no bias.",
            "Features have one norm, or at most that norm; there are at least K - 1 of them.",
        )

    @property
    def scale(self) -> float:
        r"""$\sqrt{E_WE_H}$, the logit of the own class at the minimiser."""
        return math.sqrt(self.energy_head * self.energy_features)

    @property
    def benign(self) -> bool:
        r"""Whether d >= K. With d = K-1 it is false where $\sqrt{E_WE_H}>K-1$, and not known otherwise.

        Where the gradient points along a feature vector instead of against it, the sphere bends the loss down in all
        directions, and the loss itself is flat in those that the classifier does not see. Without such directions a
        sample exactly opposite to the row of its class stays there, if the loss is curved enough.
        """
        return self.num_features >= len(self.counts)

    @property
    def minimum(self) -> float:
        """The value at the minimiser, in nats."""
        k = len(self.counts)
        return math.log1p((k - 1) * math.exp(-self.scale * k / (k - 1)))

    @property
    def labels(self) -> Tensor:
        """(n,) label of each sample, class by class."""
        return self._sizes.labels

    @property
    def classifier(self) -> Tensor:
        """(k, d) the fixed rows."""
        return math.sqrt(self.energy_head) * simplex_etf(len(self.counts), self.num_features)

    def loss(self, state: State) -> Tensor:
        """Mean cross-entropy under the fixed classifier.

        Args:
            state: Features of the right norm.

        Returns:
            0-d float64, in nats.
        """
        return functional.cross_entropy(state["h"] @ self.classifier.T, self.labels)

    def chart(self, free: State) -> State:
        """Features brought to their norm.

        Args:
            free: Features other than zero.

        Returns:
            Features of the right norm.
        """
        return {"h": math.sqrt(self.energy_features) * functional.normalize(free["h"], dim=1)}

    def draw(self, generator: torch.Generator) -> State:
        """Features spread evenly over the sphere.

        Args:
            generator: What they are drawn from.

        Returns:
            Features.
        """
        return self.chart({"h": self._sizes.draw(generator)["h"]})

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """Every sample on the row of its class; there is no other one.

        Args:
            generator: Not used: the classifier fixes the position.

        Returns:
            Features.
        """
        del generator
        return {"h": math.sqrt(self.energy_features / self.energy_head) * self._sizes.spread(self.classifier)}

    def local_minimisers(self) -> Sequence[State]:
        """One sample opposite to the row of its class, where it stays there.

        Returns:
            One state or none.
        """
        k = len(self.counts)
        if self.benign or self.scale <= k - 1:
            return ()
        h = self.minimiser()["h"]
        h[0] *= -1
        return ({"h": h},)

    def head(self, state: State) -> LinearHead:
        """The fixed classifier.

        Args:
            state: Not used.

        Returns:
            The head.
        """
        del state
        return LinearHead(self.classifier)

    def geometry(self) -> Geometry:
        """Inner products at the minimiser.

        Returns:
            The geometry.
        """
        return proportional_geometry(
            len(self.counts), self.energy_head, math.sqrt(self.energy_features / self.energy_head)
        )

    def thresholds(self) -> dict[str, float]:
        r"""$\sqrt{E_WE_H}$, beyond which with d = K-1 a sample can stay opposite to its class.

        Returns:
            Name to number.
        """
        return {"scale": self.scale, "scale_of_local_minimisers": float(len(self.counts) - 1)}

    @classmethod
    def examples(cls) -> Sequence["FixedClassifierOnSphere"]:
        """Equal and very unequal classes, with and without local minimisers.

        Returns:
            Landscapes.
        """
        return (
            cls((5, 5, 5, 5), 6, energy_features=4.0),
            cls((20, 5, 1), 3, 1.0, 25.0),
            cls((4, 2, 1), 2, 1.0, 9.0),
            cls((3, 2, 1, 1), 3, 2.0, 2.0),
            cls((3, 2), 2, 1.0, 4.0),
        )
