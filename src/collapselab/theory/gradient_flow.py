"""Gradient flow of the squared error on free features (Mixon et al. 2020), and what it keeps of its start."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from collapselab.core.errors import NotKnown
from collapselab.core.linalg import RANK_TOLERANCE
from collapselab.theory._flows.squared_error import SquaredErrorDynamics, class_parts
from collapselab.theory._model import model
from collapselab.theory._problem import State


class StrongCollapseErrors(NamedTuple):
    r"""Squared distances from strong collapse; 0-d float64, all 0 there.

    Attributes:
        weights: $\|WW^T-\sqrt n\,\Pi\|_F^2$; the fourth power of the size of a small start.
        features: $\sum_i\|h_i-w_{y_i}/\sqrt n\|^2$; the second power of it.
        bias: $\|b-1/K\|^2$; the second power of it.
    """

    weights: Tensor
    features: Tensor
    bias: Tensor


class Remainder(NamedTuple):
    r"""What a small start leaves in `StrongCollapseErrors.features` for good; 0-d float64.

    Attributes:
        within: Of the deviations from the class means: their squared norm off the row space of the class vectors.
        common: Of the common part of class vectors and features: its squared norm there.
    """

    within: Tensor
    common: Tensor


def strong_collapse_errors(state: State) -> StrongCollapseErrors:
    r"""How far a state is from strong collapse (review eq. 17), in three squared Frobenius norms.

    Mixon et al. report errors of this kind without a normalisation that could be sourced; none is applied here.

    Args:
        state: ``weight`` (k, d), ``h`` (n, d) class by class with classes of one size, and ``bias`` (k,).

    Returns:
        Squared distances of class vectors, features and bias.

    Example:
        >>> flow = SquaredErrorFlow(num_classes=3, per_class=4, num_features=2)
        >>> [round(float(error), 12) for error in strong_collapse_errors(flow.collapsed())]
        [0.0, 0.0, 0.0]
    """
    weight, bias = state["weight"].double(), state["bias"].double()
    parts, k = class_parts(state), weight.shape[0]
    per_class = state["h"].shape[0] // k
    centring = torch.eye(k, dtype=torch.float64) - 1 / k
    return StrongCollapseErrors(
        (weight @ weight.T - math.sqrt(per_class) * centring).square().sum(),
        parts.within.square().sum() + 4 * parts.opposed.square().sum(),
        (bias - 1 / k).square().sum(),
    )


@model("squared_error_flow", label="gradient flow of the squared error", source="mixon2020")
@dataclass(frozen=True)
class SquaredErrorFlow(SquaredErrorDynamics):
    r"""Gradient flow of the squared error: from any start it interpolates, and it collapses as far as it began small.

    $W'=-sE^TH$, $H'=-sEW$, $b'=-sE^T1$ with the residual $E=HW^T+1b^T-Y$, where s is 1 for half of the summed squares
    and 1/N for half of their mean (review appendix A.3): one and the same flow, in a time that differs by the factor N.

    $W^TW-H^TH$ never changes. From a small start the flow tends to `limit`, the state of strong collapse nearest to the
    start's part in the attracting subspace, and `remainder` is what it keeps of the rest. From a large one it ends
    without loss and without collapse: there is no saddle that holds it, but the conserved matrix, and deviations within
    classes that nothing moves once the class vectors have no part in them.
    """

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the facts to be ones."""
        return (
            "All classes have the same number of samples.",
            "There are at least K - 1 features, and they can take any value.",
            "Nothing is decayed; the head has a bias.",
        )

    def loss(self, x: State) -> Tensor:
        """Half of the squared residuals, summed; their mean over samples where `normalised`.

        Args:
            x: Features and head.

        Returns:
            0-d float64.
        """
        return self.speed / 2 * self._residual(x).square().sum()

    def drift(self, t: float, x: State) -> State:
        """Minus the gradient of the loss.

        Args:
            t: Time, of no account.
            x: Features and head.

        Returns:
            Time derivative of each entry.
        """
        del t
        push = -self.speed * self._residual(x)
        return {"weight": push.T @ x["h"], "h": push @ x["weight"], "bias": push.sum(0)}

    def _residual(self, x: State) -> Tensor:
        return x["h"] @ x["weight"].T + x["bias"] - self.targets

    def limit(self, start: State) -> State:
        r"""The state of strong collapse that the flow tends to as its start is shrunk towards zero.

        The class vectors are $\sqrt[4]n\,UV^T$ with the singular vectors of the start's attracting part
        $\tfrac12\Pi(W+\sqrt n M)$, M the class means: growth away from zero changes none of them, and the singular
        values all end at the same height. The distance is of the order of the start.

        Args:
            start: Features and head; their size does not matter here.

        Returns:
            ``weight``, ``h`` and ``bias``.
        """
        u, v = self._directions(start)
        return self.collapsed_on(self.per_class**0.25 * u @ v.T)

    def remainder(self, start: State) -> Remainder:
        r"""What `StrongCollapseErrors.features` keeps of a small start, to leading order.

        Once collapse has grown and for times far below the inverse square of the start's size,
        $e_2=\text{within}+\text{common}+K\sqrt n\,e_3$: the deviations within classes lose their part in the row space
        of the class vectors and keep all else; the common part of class vectors and means off that space shrinks by
        $e^{-1/(K\sqrt n)}$ while the bias settles, and by no more. Relative error of the second order in the size.

        Args:
            start: Features and head, with a bias of zero.

        Returns:
            Both squared norms.
        """
        _, v = self._directions(start)
        parts = class_parts(start)
        common = parts.opposed.mean(0) * math.exp(-1 / (self.num_classes * math.sqrt(self.per_class)))
        within, common = (rows - rows @ v @ v.T for rows in (parts.within, common))
        return Remainder(within.square().sum(), 4 * self.num_classes * common.square().sum())

    def _directions(self, start: State) -> tuple[Tensor, Tensor]:
        """Singular vectors (k, K-1) and (d, K-1) of the attracting part of a start."""
        agreeing = class_parts(start).agreeing
        u, s, vh = torch.linalg.svd(agreeing - agreeing.mean(0), full_matrices=False)
        rank = self.num_classes - 1
        if float(s[rank - 1]) <= RANK_TOLERANCE * float(s[0]):
            raise NotKnown("the start must have rank K - 1 in the attracting subspace to tend to a simplex, has less")
        return u[:, :rank], vh[:rank].T

    @classmethod
    def examples(cls) -> Sequence["SquaredErrorFlow"]:
        """Small and large starts, summed and mean squares, as few features as can be.

        Returns:
            Flows.
        """
        return (
            cls(4, 6, 10),
            cls(4, 6, 10, scale=10.0),
            cls(4, 6, 10, normalised=True, scale=10.0),
            cls(3, 1, 2, scale=0.1),
        )
