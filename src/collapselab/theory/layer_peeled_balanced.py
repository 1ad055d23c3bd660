"""The layer-peeled model with equal classes (Fang et al. 2021): features and head with budgets in place of decay."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.geometry import simplex_etf
from collapselab.theory._charts import within_budget
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import AbstractLandscape, model
from collapselab.theory._problem import Problem, State
from collapselab.theory._simplex import proportional_geometry


@model("layer_peeled_balanced", label="layer-peeled cross-entropy, equal classes", source="fang2021")
@dataclass(frozen=True)
class LayerPeeledBalanced(AbstractLandscape):
    r"""Mean cross-entropy with at most $E_W$ and $E_H$ as mean squared norms of class vectors and of features.

    The minimisers are simplex ETFs that use up both budgets, with $h_{k,i}=\sqrt{E_H/E_W}\,w_k$; the minimum
    $\log\bigl(1+(K-1)e^{-\sqrt{E_WE_H}K/(K-1)}\bigr)$ depends on the product of the budgets alone.

    Attributes:
        num_classes: K.
        per_class: n.
        num_features: d, at least K-1.
        energy_head: E_W.
        energy_features: E_H.
    """

    num_classes: int
    per_class: int
    num_features: int
    energy_head: float = 1.0
    energy_features: float = 1.0

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.num_features < self._sizes.num_classes - 1:
            raise InputError(f"num_features must be at least {self.num_classes - 1}, got {self.num_features}")
        checks.real(self.energy_head, "energy_head", above=0)
        checks.real(self.energy_features, "energy_features", above=0)

    @cached_property
    def _sizes(self) -> Problem:
        return Problem.balanced(self.num_classes, self.per_class, self.num_features, decay_head=0.0, decay_features=0.0)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "All classes have the same number of samples.",
            "There are at least K - 1 features, and they can take any value.",
            "Mean squared norms of class vectors and of features have bounds; there is no other decay, and no bias.",
        )

    @property
    def benign(self) -> bool:
        """True: with the multipliers of the budgets as decays, a critical point is one of cross-entropy with decay.

        What is said of that in `CrossEntropyFeatures.benign` holds here: the direction of escape changes neither norm
        to first order.
        """
        return True

    @property
    def scale(self) -> float:
        r"""$\sqrt{E_WE_H}$, the logit of the own class at every minimiser."""
        return math.sqrt(self.energy_head * self.energy_features)

    @property
    def minimum(self) -> float:
        """The value at every minimiser, in nats."""
        k = self.num_classes
        return math.log1p((k - 1) * math.exp(-self.scale * k / (k - 1)))

    @property
    def labels(self) -> Tensor:
        """(n,) label of each sample, class by class."""
        return self._sizes.labels

    def loss(self, state: State) -> Tensor:
        """Mean cross-entropy.

        Args:
            state: Features and head within their budgets.

        Returns:
            0-d float64, in nats.
        """
        return functional.cross_entropy(self._sizes.logits(state), self.labels)

    def chart(self, free: State) -> State:
        """Features and head brought within their budgets.

        Args:
            free: Features and head of any size.

        Returns:
            Features and head.
        """
        return {
            "h": within_budget(free["h"], self.energy_features),
            "weight": within_budget(free["weight"], self.energy_head),
        }

    def draw(self, generator: torch.Generator) -> State:
        """Normal features and weights.

        Args:
            generator: What they are drawn from.

        Returns:
            Features and head within their budgets.
        """
        return self.chart(self._sizes.draw(generator))

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """The simplex, features at their class means.

        Args:
            generator: Turns it at random.

        Returns:
            Features and head.
        """
        rows = simplex_etf(self.num_classes, self.num_features, generator=generator)
        return {
            "h": self._sizes.spread(math.sqrt(self.energy_features) * rows),
            "weight": math.sqrt(self.energy_head) * rows,
        }

    def geometry(self) -> Geometry:
        """Inner products at every minimiser.

        Returns:
            The geometry.
        """
        return proportional_geometry(
            self.num_classes, self.energy_head, math.sqrt(self.energy_features / self.energy_head)
        )

    @classmethod
    def examples(cls) -> Sequence["LayerPeeledBalanced"]:
        """Few and many features, equal and unequal budgets, two classes in one dimension.

        Returns:
            Landscapes.
        """
        return cls(4, 5, 6, 1.0, 5.0), cls(10, 3, 9, 2.5, 2.0), cls(2, 3, 1), cls(3, 2, 3, 1.0, 30.0)
