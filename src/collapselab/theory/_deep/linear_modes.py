"""How one mode of a deep linear network is learnt (Saxe et al. 2014): its course, and the time that it takes."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from collapselab.core import checks, extras
from collapselab.core.errors import InputError

# Of the integrator for three layers and more: a digit before what float64 holds.
_TOLERANCE = 1e-13


def mode_velocity(strength: Tensor, target: Tensor | float, layers: int) -> Tensor:
    r"""How fast modes are learnt, $\dot u=L\,u^{2-2/L}(s-u)$.

    Args:
        strength: u, products of one singular value of each layer; above 0.
        target: s.
        layers: L.

    Returns:
        Of the shape of the strength.
    """
    return layers * strength ** (2 - 2 / layers) * (target - strength)


def mode_trajectory(start: float, target: float, times: Sequence[float] | Tensor, *, layers: int = 2) -> Tensor:
    r"""Strength of a mode under the gradient flow of half the squared error, from layers of equal strength.

    The solution of $\dot u=L\,u^{2-2/L}(s-u)$, for whitened inputs. In closed form for one layer (exponential), two
    (logistic, $u=s/(1+(s/u_0-1)e^{-2st})$) and a target of zero. For more layers $r=\log(u/|s-u|)$ is integrated, which
    moves at the speed $Ls\,u^{1-2/L}$ and therefore never gets stiff; `mode_time` is the same law in closed form.

    Args:
        start: u at time 0, above 0.
        target: s, at least 0.
        times: (t,) at least 0, in any order.
        layers: L.

    Returns:
        (t,) strengths.

    Raises:
        InputError: If a time is negative.

    Example:
        >>> [round(x, 6) for x in mode_trajectory(0.1, 1.0, [0.0, 1.0, 10.0]).tolist()]
        [0.1, 0.450853, 1.0]
    """
    u = checks.real(start, "start", above=0)
    s = checks.real(target, "target", at_least=0)
    depth = checks.whole(layers, "layers", at_least=1)
    t = torch.as_tensor(times, dtype=torch.float64)
    if bool((t < 0).any()):
        raise InputError(f"times must be at least 0, got {t.min().item()}")
    if depth == 1:
        return s + (u - s) * torch.exp(-t)
    if s == 0:
        power = 2 - 2 / depth
        return (u**-power + depth * power * t) ** (-1 / power)
    if u == s:
        return torch.full_like(t, s)
    odds = math.log(u / abs(s - u))
    odds = odds + 2 * s * t if depth == 2 else _log_odds(odds, s, t, above=u > s, layers=depth)
    return s / -torch.expm1(-odds) if u > s else s * torch.sigmoid(odds)


def _log_odds(start: float, target: float, times: Tensor, *, above: bool, layers: int) -> Tensor:
    """The logarithm of u / |s - u| over time."""
    solve = extras.require("scipy.integrate", extra="theory", purpose="following a mode of three layers or more")
    order = times.unique()  # ascending

    def strength(odds: np.ndarray) -> np.ndarray:
        return target / -np.expm1(-odds) if above else target / (1 + np.exp(-odds))

    def velocity(_: float, odds: np.ndarray) -> np.ndarray:
        return layers * target * strength(odds) ** (1 - 2 / layers)

    span = (0.0, max(float(order[-1]), 1e-300))
    found = solve.solve_ivp(
        velocity, span, [start], method="DOP853", t_eval=order.numpy(), rtol=_TOLERANCE, atol=_TOLERANCE
    )
    return torch.from_numpy(found.y[0])[torch.searchsorted(order, times)]


def mode_time(start: float, end: float, target: float, *, layers: int = 2) -> float:
    r"""How long a mode takes from one strength to another below its target.

    $\int du/(L\,u^{2-2/L}(s-u))$: for two layers $\tfrac1{2s}\log\frac{u_1(s-u_0)}{u_0(s-u_1)}$, and for more with
    $a=u^{1/L}$ the difference of $-\frac1{(L-2)s\,a^{L-2}}+\frac{a^2}{2s^2}\,{}_2F_1(1,\tfrac2L;1+\tfrac2L;\tfrac us)$.

    Args:
        start: Strength before, above 0.
        end: Strength after, above 0.
        target: s, above both.
        layers: L.

    Returns:
        The time; negative if the end is below the start.

    Example:
        >>> round(mode_time(0.01, 0.99, 1.0), 6)  # both plateaus count: log(99)
        4.59512
    """
    s = checks.real(target, "target", above=0)
    depth = checks.whole(layers, "layers", at_least=1)
    strengths = [checks.real(x, name, above=0, below=s) for x, name in ((start, "start"), (end, "end"))]
    before, after = mode_clock(torch.tensor(strengths, dtype=torch.float64), s, layers=depth).tolist()
    return after - before


def mode_clock(strength: Tensor, target: Tensor | float, *, layers: int) -> Tensor:
    """What advances by one a unit of time along every course of a mode below its target.

    Args:
        strength: Strengths, above 0 and below the targets.
        target: One for all, or one each.
        layers: L.

    Returns:
        Times up to a constant.
    """
    u, s = strength, torch.as_tensor(target, dtype=torch.float64)
    if layers == 1:
        return -torch.log(s - u)
    if layers == 2:
        return torch.log(u / (s - u)) / (2 * s)
    special = extras.require("scipy.special", extra="theory", purpose="the time law of a deep linear network")
    a, b = u ** (1 / layers), 2 / layers
    series = torch.as_tensor(special.hyp2f1(1.0, b, 1 + b, (u / s).numpy()))
    return a.square() * series / (2 * s.square()) - 1 / ((layers - 2) * s * a ** (layers - 2))
