r"""Modes of a deep linear network with decayed layers: $\tfrac12(u-r)^2+\tfrac{\lambda L}2u^{2/L}$ over $u\ge0$.

A mode of strength u has the singular value $\sigma=u^{1/L}$ in each of L balanced layers; every critical point has
u = 0 or $\sigma^{L-2}(r-\sigma^L)=\lambda$.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.theory._balanced_squares.roots import last_that_holds


class ModeThresholds(NamedTuple):
    """Where the answer of a mode changes its nature.

    Attributes:
        exists: Decay above which zero is the only critical point.
        best: Decay above which zero is the global minimiser.
    """

    exists: float
    best: float


def mode_thresholds(target: float, *, layers: int) -> ModeThresholds:
    r"""Decays at which a mode loses its non-zero minimiser, and at which zero becomes as good as it.

    With two layers both are r. With more the non-zero minimiser exists up to the decay with
    $u=\frac{L-2}{2(L-1)}r$, and is global up to the one with $u=\frac{L-2}{L-1}r$.

    Args:
        target: r > 0.
        layers: L >= 2.

    Returns:
        The decays.

    Example:
        >>> found = mode_thresholds(1.0, layers=3)
        >>> round(found.exists, 6), round(found.best, 6)
        (0.47247, 0.39685)
    """
    r = checks.real(target, "target", above=0)
    depth = checks.whole(layers, "layers", at_least=2)
    weakest = r * (depth - 2) / (2 * (depth - 1))
    return ModeThresholds(_pull(weakest, r, depth), _pull(2 * weakest, r, depth))


def regularised_roots(target: float, decay: float, *, layers: int) -> tuple[float, ...]:
    r"""Strengths u > 0 with $u^{1-2/L}(r-u)=\lambda$: non-zero critical points of a decayed mode.

    Args:
        target: r >= 0, singular value of what is to be learnt.
        decay: lambda > 0, of one half of the squared norm of each layer.
        layers: L.

    Returns:
        In ascending order: none or one for one or two layers; for more none or two, a saddle and a minimiser.

    Example:
        >>> [round(u, 5) for u in regularised_roots(1.0, 0.1, layers=3)]
        [0.001, 0.89628]
    """
    r = checks.real(target, "target", at_least=0)
    weight = checks.real(decay, "decay", above=0)
    depth = checks.whole(layers, "layers", at_least=1)
    if r == 0:
        return ()
    if depth == 1:
        return (r / (1 + weight),)
    if depth == 2:
        return (r - weight,) if r > weight else ()
    if weight >= mode_thresholds(r, layers=depth).exists:
        return ()
    top = r * (depth - 2) / (2 * (depth - 1))
    saddle = last_that_holds(lambda u: _pull(u, r, depth) <= weight, 0.0, top)
    return (saddle, last_that_holds(lambda u: _pull(u, r, depth) >= weight, top, r))


def regularised_singular_values(targets: Sequence[float] | Tensor, decay: float, *, layers: int) -> Tensor:
    r"""Singular values of the product of decayed layers at the global minimum.

    Of $\tfrac12\|W_L\cdots W_1-R\|^2+\tfrac\lambda2\sum_l\|W_l\|^2$: every mode of R is shrunk by itself, and for three
    layers and more it is cut where its non-zero minimiser is worse than zero, or only as good.

    Args:
        targets: (m,) singular values of R.
        decay: lambda > 0.
        layers: L.

    Returns:
        (m,) strengths; the singular values of each layer are their L-th roots.

    Example:
        >>> regularised_singular_values([1.0, 0.2], 0.3, layers=2).tolist()
        [0.7, 0.0]
    """
    goals = torch.as_tensor(targets, dtype=torch.float64).tolist()
    return torch.tensor([global_strength(r, decay, layers=layers) for r in goals], dtype=torch.float64)


def global_strength(target: float, decay: float, *, layers: int) -> float:
    """Strength of a mode at the global minimum.

    Args:
        target: r >= 0.
        decay: lambda > 0.
        layers: L.

    Returns:
        u, at least 0.
    """
    roots = regularised_roots(target, decay, layers=layers)
    kept = roots and (layers < 3 or decay < mode_thresholds(target, layers=layers).best)
    return roots[-1] if kept else 0.0


def mode_value(strength: float, target: float, decay: float, *, layers: int) -> float:
    r"""What a mode adds to the objective, $\tfrac12(u-r)^2+\tfrac{\lambda L}2u^{2/L}$.

    Args:
        strength: u >= 0.
        target: r.
        decay: lambda.
        layers: L.

    Returns:
        At least 0.
    """
    return (strength - target) ** 2 / 2 + decay * layers / 2 * strength ** (2 / layers)


def _pull(strength: float, target: float, layers: int) -> float:
    """The decay that a strength balances."""
    return strength ** (1 - 2 / layers) * (target - strength)
