"""Margins of features and head without decay: their bound, and how far a direction is from the largest one."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._margins.log_domain import log_loss_slopes
from collapselab.theory._problem import State


def margin_bound(num_classes: int, per_class: int) -> float:
    r"""Largest smallest margin over $\|W\|^2+\|H\|^2$ that balanced classes can have, $\tfrac1{2(K-1)\sqrt n}$.

    From the duality of nuclear and spectral norm: the sum of all margins is
    $\langle WH,K\Pi_K\otimes1_n^T\rangle\le K\sqrt n\,\|WH\|_*$ and $\|WH\|_*\le\tfrac12(\|W\|^2+\|H\|^2)$. It is
    reached at collapse on a simplex alone.

    Args:
        num_classes: K >= 2.
        per_class: n >= 1.

    Returns:
        The bound, of any number of features.

    Example:
        >>> margin_bound(3, 4)
        0.125
    """
    k = checks.whole(num_classes, "num_classes", at_least=2)
    return 1 / (2 * (k - 1) * math.sqrt(checks.whole(per_class, "per_class", at_least=1)))


def logit_margins(state: State, y: Tensor) -> Tensor:
    """How far the logit of each sample's own class is above every other.

    Args:
        state: Features ``h`` and ``weight``.
        y: (n,) labels.

    Returns:
        (n, k); infinite for a sample's own class.
    """
    logits, own = state["h"] @ state["weight"].T, y[:, None]
    return (logits.gather(1, own) - logits).scatter(1, own, math.inf)


def normalised_margin(state: State, y: Tensor) -> float:
    r"""Smallest margin over $\|W\|^2+\|H\|^2$.

    Args:
        state: Features ``h`` and ``weight``, not both zero.
        y: (n,) labels.

    Returns:
        At most `margin_bound` for balanced classes; negative where a sample is misclassified.

    Raises:
        InputError: If everything is zero.
    """
    size = float(state["h"].square().sum() + state["weight"].square().sum())
    if size == 0:
        raise InputError("features and weight must not both be zero: there is no direction")
    return float(logit_margins(state, y).min()) / size


@dataclass(frozen=True)
class MarginResidual:
    r"""How far a direction is from a Karush-Kuhn-Tucker point of the largest margin.

    With $\tilde\theta$ the state scaled to the smallest margin 1 and multipliers proportional to the derivatives of the
    loss, $\|\tilde\theta-\sum\lambda\nabla q\|=\|\tilde\theta\|\sqrt{2\cdot\text{misalignment}}$ (Lyu and Li 2020).

    Attributes:
        misalignment: 1 - cosine of the state and the negative gradient.
        excess: Mean of margin / smallest margin - 1, each margin weighted by its multiplier.
    """

    misalignment: float
    excess: float


def margin_residual(state: State, y: Tensor) -> MarginResidual:
    """Distance from stationarity and from complementary slackness, at any size of the state.

    Args:
        state: Features ``h`` and ``weight``.
        y: (n,) labels, all of them met with a positive margin.

    Returns:
        Two non-negative numbers, both 0 at a point of the largest margin.

    Raises:
        InputError: If a sample is misclassified, so that no size makes every margin 1.
    """
    found = logit_margins(state, y)
    smallest = float(found.min())
    if smallest <= 0:
        raise InputError(f"margins must be positive for a residual, the smallest is {smallest:g}")
    h, weight = state["h"].double(), state["weight"].double()
    _, slopes = log_loss_slopes(h @ weight.T, y)
    multipliers = slopes.scatter(1, y[:, None], 0.0)  # that of a sample's own class is minus the sum of the others
    excess = torch.where(multipliers > 0, multipliers * (found / smallest - 1), 0.0).sum() / multipliers.sum()
    pull = (slopes @ weight, slopes.T @ h)
    there, here = (torch.cat([x.ravel() for x in parts]) for parts in (pull, (h, weight)))
    # From the difference of directions: 1 - 1e-20 would round to 1.
    gap = here / torch.linalg.vector_norm(here) + there / torch.linalg.vector_norm(there)
    return MarginResidual(float(gap.square().sum() / 2), float(excess))
