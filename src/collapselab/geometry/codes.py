"""Softmax codes: K directions in d dimensions, each as far as possible from the convex hull of all others.

What a classifier with more classes than a simplex has room for tends to as its temperature falls (Jiang et al.). For
K <= d+1 it is the simplex; for d+2 <= K <= 2d part of the orthoplex; in two dimensions the regular polygon. Between
those it has to be searched for.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, NotKnown
from collapselab.geometry.configurations import orthogonal_frame, orthoplex, simplex_etf
from collapselab.geometry.one_versus_rest import one_versus_rest_distances

# Sharpness of the soft maximum, in units of 1 over the distance to be expected: first a landscape with few minima, in
# the end one whose minimiser is the code to about 1e-10.
_COARSE = (5.0, 15.0, 50.0)
_SHARP = (150.0, 500.0, 1.5e3, 5e3, 5e4)
_MOVED = 0.05  # share of the rows that a round puts elsewhere; of 2, 5, 10 and 20 in 100, 5 led furthest in equal times
_REACHED = 1e-8

KNOWN_CODES: Mapping[tuple[int, int], float] = MappingProxyType(
    {
        (12, 3): 1 - 1 / math.sqrt(5),
        (10, 4): 5 / 6,
        (120, 4): (3 - math.sqrt(5)) / 4,
        (16, 5): 4 / 5,
        (27, 6): 3 / 4,
        (56, 7): 2 / 3,
    }
)
"""Smallest one-versus-rest distance of the best code known, by (K, d), for K > 2d > 4: 1 minus the largest cosine of a
symmetric code (icosahedron, Petersen's, 600-cell, Clebsch's, Schlaefli's, the 28 bitangents)."""


def softmax_code(
    num_classes: int,
    num_features: int,
    *,
    generator: torch.Generator | None = None,
    starts: int = 4,
    rounds: int = 40,
) -> Tensor:
    r"""K unit rows whose smallest one-versus-rest distance is as large as was found.

    Exact where a closed form is known. Elsewhere a soft maximum of the pairwise cosines, $\tfrac1\beta\log\sum_{i\ne
    j} e^{\beta\langle w_i,w_j\rangle}$, is minimised by L-BFGS for growing beta, from the best of several random starts
    and then in rounds, each of which puts some rows elsewhere at random and keeps the result if it is better. There may
    be better codes. It takes a few seconds for a few dozen classes, a quarter of a minute for a hundred, and grows with
    K^2 d; a value that is in `KNOWN_CODES` ends the search.

    Args:
        num_classes: K >= 2.
        num_features: d >= 1, and at least 2 for K > 2.
        generator: Draws what the search draws, or turns what is known; None for rows that are always the same.
        starts: How many random starts the search has.
        rounds: How many attempts at a better code follow.

    Returns:
        (K, d) unit rows in float64, on the CPU.

    Raises:
        InputError: If three or more directions are wanted in one dimension.

    Example:
        >>> round(float(one_versus_rest_distances(softmax_code(12, 3)).min()), 6)
        0.552786
    """
    k = checks.whole(num_classes, "num_classes", at_least=2)
    d = checks.whole(num_features, "num_features", at_least=1)
    checks.whole(starts, "starts", at_least=1)
    checks.whole(rounds, "rounds", at_least=0)
    if d == 1 and k > 2:
        raise InputError(f"num_features must be at least 2 for {k} classes in this configuration, got {d}")
    if k <= d + 1:
        return simplex_etf(k, d, generator=generator)
    if k <= 2 * d:
        return orthoplex(2 * d, d, generator=generator)[:k]  # at least two opposites: every hull holds the origin
    if d == 2:
        return _polygon(k) @ orthogonal_frame(2, 2, generator=generator)
    return _searched(k, d, torch.Generator().manual_seed(0) if generator is None else generator, (starts, rounds))


def code_distance(num_classes: int, num_features: int) -> float:
    """Smallest one-versus-rest distance of the softmax code, where it is known.

    Args:
        num_classes: K >= 2.
        num_features: d >= 1.

    Returns:
        K/(K-1) for K <= d+1; 1 for d+2 <= K <= 2d; 1 - cos(2 pi/K) for d = 2; an entry of `KNOWN_CODES`.

    Raises:
        NotKnown: If neither a formula nor the table has it.

    Example:
        >>> code_distance(4, 3), code_distance(6, 3), code_distance(27, 6)
        (1.3333333333333333, 1.0, 0.75)
    """
    k = checks.whole(num_classes, "num_classes", at_least=2)
    d = checks.whole(num_features, "num_features", at_least=1)
    if k <= d + 1:
        return k / (k - 1)
    if k <= 2 * d:
        return 1.0
    if d == 2:
        return 1 - math.cos(2 * math.pi / k)
    if (k, d) not in KNOWN_CODES:
        raise NotKnown(f"the softmax code of {k} classes in {d} dimensions is not known")
    return KNOWN_CODES[k, d]


def code_distance_bounds(num_classes: int, num_features: int) -> tuple[float, float]:
    r"""What the smallest one-versus-rest distance of a softmax code lies between (Jiang et al.).

    $\tfrac12\bigl[\tfrac{\sqrt\pi}K\tfrac{\Gamma((d+1)/2)}{\Gamma(d/2+1)}\bigr]^{2/(d-1)}$ and
    $2\bigl[\tfrac{2\sqrt\pi}K\tfrac{\Gamma((d+1)/2)}{\Gamma(d/2)}\bigr]^{1/(d-1)}$, the latter not above that of the
    simplex, K/(K-1), and for K >= d+2 not above 1.

    Args:
        num_classes: K >= 2.
        num_features: d >= 2.

    Returns:
        Lower and upper bound.
    """
    k = checks.whole(num_classes, "num_classes", at_least=2)
    d = checks.whole(num_features, "num_features", at_least=2)
    base = math.log(math.sqrt(math.pi) / k) + math.lgamma((d + 1) / 2)
    lower = math.exp(2 * (base - math.lgamma(d / 2 + 1)) / (d - 1)) / 2
    upper = 2 * math.exp((base + math.log(2) - math.lgamma(d / 2)) / (d - 1))
    return lower, min(upper, k / (k - 1) if k <= d + 1 else 1.0)


def _polygon(k: int) -> Tensor:
    angles = 2 * math.pi / k * torch.arange(k, dtype=torch.float64)
    return torch.stack([angles.cos(), angles.sin()], 1)


def _searched(k: int, d: int, generator: torch.Generator, effort: tuple[int, int]) -> Tensor:
    """The best local minimiser after so many starts and rounds."""
    starts, rounds = effort
    size = math.sqrt(math.prod(code_distance_bounds(k, d)))
    best, lowest = min((_relaxed(_drawn(k, d, generator), _COARSE, size) for _ in range(starts)), key=lambda x: x[1])
    if (k, d) in KNOWN_CODES:
        rows, _ = _relaxed(best, _SHARP, size)
        if float(one_versus_rest_distances(rows).min()) > KNOWN_CODES[k, d] - _REACHED:
            return rows
    for _ in range(rounds):
        moved = torch.randperm(k, generator=generator, device=generator.device).cpu()[: math.ceil(_MOVED * k)]
        attempt, value = _relaxed(best.index_copy(0, moved, _drawn(len(moved), d, generator)), _COARSE[1:], size)
        if value < lowest:
            best, lowest = attempt, value
    return _relaxed(best, _SHARP, size)[0]


def _drawn(k: int, d: int, generator: torch.Generator) -> Tensor:
    """Random directions."""
    return _unit(torch.randn(k, d, generator=generator, dtype=torch.float64, device=generator.device).cpu())


def _relaxed(rows: Tensor, sharpness: tuple[float, ...], size: float) -> tuple[Tensor, float]:
    """A local minimiser of the soft maximum of cosines as it grows sharper, and the last value."""
    itself = torch.zeros(len(rows), len(rows), dtype=rows.dtype).fill_diagonal_(-math.inf)
    value = math.inf
    for beta in (units / size for units in sharpness):
        x = rows.clone().requires_grad_()
        # Where it is sharp, the minimum is what is asked for; before that, the neighbourhood will do.
        steps, precision = (60, 1e-9) if sharpness is not _SHARP else (200, 1e-15)
        optimiser = torch.optim.LBFGS(
            [x],
            max_iter=steps,
            history_size=30,
            tolerance_grad=precision,
            tolerance_change=precision,
            line_search_fn="strong_wolfe",
        )

        def closure(x: Tensor = x, beta: float = beta) -> Tensor:
            unit = _unit(x)
            soft = torch.logsumexp((beta * (unit @ unit.T - 1) + itself).flatten(), 0) / beta
            (x.grad,) = torch.autograd.grad(soft, x)
            return soft.detach()

        with torch.enable_grad():
            optimiser.step(closure)
            value = float(closure())
        rows = _unit(x.detach())
    return rows, value


def _unit(x: Tensor) -> Tensor:
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True)
