"""Integrals over time of what may grow or fall by any number of orders of magnitude."""

from collections.abc import Callable, Sequence

import numpy as np

# Panels halve towards both ends this many times, so that any exponential peak at an end meets panels of its width.
_HALVINGS = 40

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


def nodes_and_weights(t: float, breaks: Sequence[float] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre quadrature from 0 to t on panels that halve towards both ends.

    Args:
        t: Upper end, above 0.
        breaks: Times at which the integrand is not smooth.

    Returns:
        Times and weights.
    """
    halves = 0.5 ** np.arange(1, _HALVINGS)
    inside = [x for x in breaks if 0 < x < t]
    edges = np.unique(np.concatenate([[0.0, t], t * halves, t * (1 - halves), inside]))
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + _NODES)).ravel(), (half * _WEIGHTS).ravel()


def log_integral(
    log_of: Callable[[np.ndarray], np.ndarray],
    t: float,
    *,
    factor: Callable[[np.ndarray], np.ndarray],
    breaks: Sequence[float] = (),
) -> tuple[float, float]:
    """The integral of factor times exp(log) from 0 to t, as a number times exp(scale).

    Args:
        log_of: Logarithm of the large part of the integrand.
        t: Upper end, at least 0.
        factor: The other part, of any sign.
        breaks: Times at which the integrand is not smooth.

    Returns:
        The number and the scale.
    """
    if t == 0:
        return 0.0, 0.0
    nodes, weights = nodes_and_weights(t, breaks)
    logs = np.asarray(log_of(nodes)) + np.zeros_like(nodes)
    scale = float(logs.max())
    return float((weights * factor(nodes) * np.exp(logs - scale)).sum()), scale
