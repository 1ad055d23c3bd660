r"""How near a network is to a point from which no direction leads to a larger margin (Lyu and Li).

The problem is to minimise $\tfrac12\lVert\theta\rVert^2$ where every $s_{nj} = z_{y_n}(x_n) - z_j(x_n)$, j another
class, is at least 1. Scaled so that the smallest is 1, $\tilde\theta = \theta / q_{\min}^{1/L}$ is feasible, and the
weights that the loss gives the pairs make multipliers of it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import UndefinedMetric
from collapselab.dynamics._margin.doubled import Doubled, dot, norm_of
from collapselab.dynamics._spec import Sight
from collapselab.dynamics.log_loss import logits_and_labels

_ROWS = 2048
"""Samples that go forward and back at once."""

Weights = Callable[[Tensor, Tensor], Tensor]
"""Logits (n, k) and labels (n,) to the logarithms, up to a common summand, of the weights of pairs (n, k)."""


@dataclass(frozen=True)
class Certificate:
    r"""What is left of the conditions of Karush, Kuhn and Tucker at $\tilde\theta$.

    Attributes:
        alignment: Cosine $\beta$ of the parameters and the gradient of minus the loss; 1 where the conditions hold.
        stationarity: $\lVert\tilde\theta - \sum\lambda_{nj}\nabla s_{nj}(\tilde\theta)\rVert$, computed as it stands.
        complementarity: $\sum\lambda_{nj}(s_{nj}(\tilde\theta) - 1)$, not negative.
        normalised_margin: $\bar\gamma = q_{\min}/\rho^L$.
        order: L.
    """

    alignment: float
    stationarity: float
    complementarity: float
    normalised_margin: float
    order: float

    @property
    def stationarity_by_alignment(self) -> float:
        r"""The same number by an identity, $\bar\gamma^{-1/L}\sqrt{2(1-\beta)}$."""
        return self.normalised_margin ** (-1 / self.order) * math.sqrt(2 * max(0.0, 1 - self.alignment))


def kkt_cross_entropy(sight: Sight, *, order: float) -> Certificate:
    r"""The certificate with the multipliers of the cross-entropy, proportional to the probabilities $p_{nj}$.

    For two classes they are the derivatives of the logistic loss. All is computed from logarithms, in float64: losses
    of $10^{-300}$ and below do no harm.

    Args:
        sight: A network, homogeneous of that order, and samples that it classifies correctly.
        order: L, see `order_of_homogeneity`.

    Returns:
        The certificate.

    Raises:
        InputError: If logits are not finite, or there are fewer than two of them.
        UndefinedMetric: If a sample is classified wrongly.
    """
    return _certificate(sight, order, _probabilities)


def kkt_exponential(sight: Sight, *, order: float) -> Certificate:
    r"""The certificate with the multipliers of the exponential loss of the margins, proportional to $e^{-q_n}$.

    Args:
        sight: A network, homogeneous of that order, and samples that it classifies correctly.
        order: L, see `order_of_homogeneity`.

    Returns:
        The certificate.

    Raises:
        InputError: If logits are not finite, or there are fewer than two of them.
        UndefinedMetric: If a sample is classified wrongly.
    """
    return _certificate(sight, order, _runners_up)


def _probabilities(z: Tensor, y: Tensor) -> Tensor:
    return functional.log_softmax(z, 1).scatter(1, y[:, None], -math.inf)


def _runners_up(z: Tensor, y: Tensor) -> Tensor:
    q, nearest = _pairs(z, y).min(1, keepdim=True)
    return torch.full_like(z, -math.inf).scatter(1, nearest, -q)


def _pairs(z: Tensor, y: Tensor) -> Tensor:
    """The differences s (n, k), infinite for the own class."""
    return (z.gather(1, y[:, None]) - z).scatter(1, y[:, None], math.inf)


def _certificate(sight: Sight, order: float, weights: Weights) -> Certificate:
    order = checks.real(order, "order", above=0)
    here, y = Doubled.of(sight.network), sight.y
    with torch.no_grad():
        z = torch.cat([here.logits(sight.take(rows)[0]) for rows in _split(sight)])
    z, y = logits_and_labels(z, y)
    log_weights, s = weights(z, y), _pairs(z, y)
    smallest, norm = float(s.min()), here.norm
    if not smallest > 0:
        raise UndefinedMetric(f"a sample is classified wrongly: the smallest margin is {smallest:.3g}")
    rough = (log_weights - log_weights.max()).exp()
    push = _gradient(sight, here, rough)  # minus the gradient of the loss, but for a factor
    size = float(norm_of(push))
    multipliers = rough * (norm * smallest ** (1 - 2 / order) / size)
    at = here.scaled(smallest ** (-1 / order))
    pull = _gradient(sight, at, multipliers)
    left = {name: one - pull[name] for name, one in at.weights.items()}
    return Certificate(
        alignment=float(dot(here.weights, push)) / (norm * size),
        stationarity=float(norm_of(left)),
        complementarity=float((multipliers * (s / smallest - 1).where(multipliers > 0, 0.0)).sum()),
        normalised_margin=smallest / norm**order,
        order=order,
    )


def _split(sight: Sight) -> tuple[Tensor, ...]:
    return torch.arange(len(sight.y), device=sight.y.device).split(_ROWS)


def _gradient(sight: Sight, at: Doubled, weights: Tensor) -> dict[str, Tensor]:
    """Gradient by the trained parameters of the weighted sum of all differences."""
    leaves = {name: one.clone().requires_grad_() for name, one in at.weights.items()}
    total = {name: torch.zeros_like(one) for name, one in at.weights.items()}
    for rows in _split(sight):
        x, y = sight.take(rows)
        z = at.logits(x, leaves)
        differences = (z.gather(1, y[:, None]) - z) * weights[rows]
        parts = torch.autograd.grad(differences.sum(), list(leaves.values()), materialize_grads=True, allow_unused=True)
        for name, part in zip(leaves, parts, strict=True):
            total[name] += part
    return total
