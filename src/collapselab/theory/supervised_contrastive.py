"""Supervised contrastive loss of free features with a budget (Fang et al. 2021): the simplex without a classifier."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence import LinearHead
from collapselab.geometry import simplex_etf
from collapselab.theory._charts import within_budget
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import AbstractLandscape, model
from collapselab.theory._problem import Problem, State
from collapselab.theory._simplex import proportional_geometry

_OF_FEATURES = ("nc1_pinv", "nc1_trace_ratio", "within_fraction", "cdnv", "ncc_accuracy", "etf_error")
"""Metrics that look at features alone, besides those whose name ends in ``_means``."""


@model("supervised_contrastive", label="supervised contrastive loss", source="fang2021")
@dataclass(frozen=True)
class SupervisedContrastive(AbstractLandscape):
    r"""Supervised contrastive loss of features of mean squared norm at most E: collapse to a simplex ETF.

    Each sample i of class k has the mean over its partners j of class k of
    $-\log\frac{e^{h_i^Th_j/\tau}}{\sum_le^{h_i^Th_l/\tau}}$. The minimum is
    $\log\bigl(n+n(K-1)e^{-\frac K{K-1}E/\tau}\bigr)$ where a sample is a partner of itself and one of the l; without
    that, as the loss is mostly used, n-1 stands in place of the first n.

    Attributes:
        num_classes: K.
        per_class: n; at least 2 where a sample is no partner of itself.
        num_features: d, at least K-1.
        energy: E.
        temperature: tau.
        with_itself: Whether a sample is compared with itself.
    """

    num_classes: int
    per_class: int
    num_features: int
    energy: float = 1.0
    temperature: float = 1.0
    with_itself: bool = False

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.num_features < self._sizes.num_classes - 1:
            raise InputError(f"num_features must be at least {self.num_classes - 1}, got {self.num_features}")
        checks.real(self.energy, "energy", above=0)
        checks.real(self.temperature, "temperature", above=0)
        checks.flag(self.with_itself, "with_itself")
        if not self.with_itself and self.per_class < 2:
            raise InputError("per_class must be at least 2 where a sample is not compared with itself, got 1")

    @cached_property
    def _sizes(self) -> Problem:
        return Problem.balanced(self.num_classes, self.per_class, self.num_features, decay_head=0.0, decay_features=0.0)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "All classes have the same number of samples, and all samples are compared at once.",
            "There are at least K - 1 features, and they can take any value.",
            "The mean squared norm of features has a bound; features of one norm each have the same minimum.",
        )

    @property
    def benign(self) -> bool:
        """Whether that is known: for d >= N it follows from the loss being convex in the inner products of features.

        A local minimiser with fewer than N independent features can bend into an unused direction unless it solves the
        convex problem, and one with N solves it by stationarity alone. For d < N no local minimiser was met either.
        """
        return self.num_features >= self._sizes.num_samples

    @property
    def minimum(self) -> float:
        """The value at every minimiser, in nats."""
        k, n = self.num_classes, self.per_class
        others = n * (k - 1) * math.exp(-k / (k - 1) * self.energy / self.temperature)
        return math.log((n if self.with_itself else n - 1) + others)

    @property
    def labels(self) -> Tensor:
        """(n,) label of each sample, class by class."""
        return self._sizes.labels

    def loss(self, state: State) -> Tensor:
        """The contrastive loss, mean over samples and their partners.

        Args:
            state: Features ``h`` within their budget.

        Returns:
            0-d float64, in nats.
        """
        similarity = state["h"] @ state["h"].T / self.temperature
        itself = torch.zeros_like(similarity, requires_grad=False).fill_diagonal_(
            0.0 if self.with_itself else -math.inf
        )
        partners = (self.labels[:, None] == self.labels) & (itself == 0)
        return (torch.logsumexp(similarity + itself, 1) - (similarity * partners).sum(1) / partners.sum(1)).mean()

    def chart(self, free: State) -> State:
        """Features brought within their budget.

        Args:
            free: Features of any size.

        Returns:
            Features.
        """
        return {"h": within_budget(free["h"], self.energy)}

    def draw(self, generator: torch.Generator) -> State:
        """Normal features.

        Args:
            generator: What they are drawn from.

        Returns:
            Features within their budget.
        """
        return self.chart({"h": self._sizes.draw(generator)["h"]})

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """The simplex.

        Args:
            generator: Turns it at random.

        Returns:
            Features.
        """
        rows = simplex_etf(self.num_classes, self.num_features, generator=generator)
        return {"h": self._sizes.spread(math.sqrt(self.energy) * rows)}

    def head(self, state: State) -> LinearHead:
        """The class means as rows: there is no classifier, and this one decides as nearest class centres do.

        Args:
            state: Features.

        Returns:
            The head.
        """
        sums = state["h"].new_zeros(self.num_classes, self.num_features).index_add(0, self.labels, state["h"])
        return LinearHead(sums / self.per_class)

    def geometry(self) -> Geometry:
        """Inner products at every minimiser, with the class means as rows of the head.

        Returns:
            The geometry.
        """
        return proportional_geometry(self.num_classes, self.energy, 1.0)

    def predicts(self) -> dict[str, float]:
        """What metrics of features are worth at every minimiser; nothing is said of a classifier.

        Returns:
            Key of a metric to value.
        """
        found = self.geometry().metrics()
        return {name: value for name, value in found.items() if name in _OF_FEATURES or name.endswith("_means")}

    @classmethod
    def examples(cls) -> Sequence["SupervisedContrastive"]:
        """Both variants, with fewer features than samples and as many.

        Returns:
            Landscapes.
        """
        return (
            cls(5, 6, 8, 1.0, 0.5),
            cls(5, 6, 4, 1.0, 0.5, with_itself=True),
            cls(3, 3, 9, 3.0),
            cls(3, 2, 6, 2.0, with_itself=True),
        )
