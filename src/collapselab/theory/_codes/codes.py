"""Symmetric codes: unit vectors on which features and class vectors are at rest together at every temperature.

A code is at rest where the symmetries that keep a vector in its place fix nothing but the line through it: then no
force on that vector has another direction. Regular polygons and simplices are such codes, sums of them in orthogonal
spaces, and the classical codes of sphere packing.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.geometry import orthoplex, softmax_code


@dataclass(frozen=True)
class SymmetricCode:
    """A code, and where a descent that is near it stays there.

    Attributes:
        name: A few words.
        make: Gives the rows.
        stable: Temperatures between which it is a strict local minimiser of cross-entropy, up to rotations.
    """

    name: str
    make: Callable[[], Tensor]
    stable: tuple[float, float] = (0.0, math.inf)


@dataclass(frozen=True)
class KnownCodes:
    """What is known of K classes in d dimensions.

    Attributes:
        codes: Codes, one of which is the lowest point.
        window: Temperatures between which that is so.
    """

    codes: tuple[SymmetricCode, ...]
    window: tuple[float, float] = (0.0, math.inf)


def known_codes(num_classes: int, num_features: int) -> KnownCodes | None:
    """Codes that are the lowest points known of cross-entropy on the sphere.

    Lowest is what no random start went below: dozens of starts at half a dozen temperatures for each, none of them
    proven. Edges of windows are where another arrangement, which is no symmetric code, becomes lower, and edges of
    stability where the Hessian gets a negative eigenvalue; both were bisected, and rounded to the safe side.

    Args:
        num_classes: K > d + 1.
        num_features: d.

    Returns:
        The codes, or None.
    """
    if num_features == 2:
        return KnownCodes((SymmetricCode("regular polygon", lambda: softmax_code(num_classes, 2)),))
    if num_classes == 2 * num_features:
        return KnownCodes((SymmetricCode("orthoplex", lambda: orthoplex(num_classes, num_features)),))
    return _TABLE.get((num_classes, num_features))


def _sum(name: str, *parts: tuple[int, int], stable: tuple[float, float] = (0.0, math.inf)) -> SymmetricCode:
    """Polygons and simplices in orthogonal spaces; a part is its number of vectors and their dimensions."""

    def make() -> Tensor:
        return torch.block_diag(*(softmax_code(points, dimensions) for points, dimensions in parts))

    return SymmetricCode(name, make, stable)


def _of_gram(gram: Tensor, num_features: int) -> Tensor:
    """Rows with given inner products."""
    values, vectors = torch.linalg.eigh(gram)
    return vectors[:, -num_features:] * values[-num_features:].sqrt()


def _pair_gram(points: int, share: float, apart: float) -> Tensor:
    """Inner products of pairs of points, by whether they share one."""
    pairs = list(itertools.combinations(range(points), 2))
    entries = [[1.0 if p == q else share if set(p) & set(q) else apart for q in pairs] for p in pairs]
    return torch.tensor(entries, dtype=torch.float64)


def _icosahedron() -> Tensor:
    golden = (1 + math.sqrt(5)) / 2
    corners = [(0.0, a, b * golden) for a in (-1, 1) for b in (-1, 1)]
    turned = [corner[turn:] + corner[:turn] for corner in corners for turn in range(3)]
    return torch.nn.functional.normalize(torch.tensor(turned, dtype=torch.float64))


def _petersen() -> Tensor:
    return _of_gram(_pair_gram(5, 1 / 6, -2 / 3), 4)


def _clebsch() -> Tensor:
    signs = [s for s in itertools.product((-1.0, 1.0), repeat=5) if math.prod(s) > 0]
    return torch.tensor(signs, dtype=torch.float64) / math.sqrt(5)


def _schlaefli() -> Tensor:
    """The 27 lines of a cubic surface: a_i and b_j meet for i != j, either meets c_ij, c_ij and c_kl if disjoint."""
    names = [(kind, {i}) for kind in "ab" for i in range(6)]
    names += [("c", set(pair)) for pair in itertools.combinations(range(6), 2)]

    def product(one: tuple[str, set[int]], other: tuple[str, set[int]]) -> float:
        if one == other:
            return 1.0
        shared = bool(one[1] & other[1])
        kinds = {one[0], other[0]}
        meet = ((kinds == {"a", "b"} or kinds == {"c"}) and not shared) or ("c" in kinds and len(kinds) == 2 and shared)
        return -0.5 if meet else 0.25

    return _of_gram(torch.tensor([[product(p, q) for q in names] for p in names], dtype=torch.float64), 6)


def _bitangents() -> Tensor:
    """28 lines with both directions."""
    half = _of_gram(_pair_gram(8, 1 / 3, -1 / 3), 7)
    return torch.cat([half, -half])


def _only(name: str, make: Callable[[], Tensor]) -> KnownCodes:
    return KnownCodes((SymmetricCode(name, make),))


_TRIANGLE, _PAIR, _TETRAHEDRON, _PENTAGON = (3, 2), (2, 1), (4, 3), (5, 2)

_TABLE: dict[tuple[int, int], KnownCodes] = {
    (5, 3): KnownCodes((_sum("triangle and pair", _TRIANGLE, _PAIR, stable=(0.108, math.inf)),), (0.146, math.inf)),
    (7, 3): KnownCodes((_sum("pentagon and pair", _PENTAGON, _PAIR, stable=(0.208, 0.946)),), (0.208, 0.946)),
    (6, 4): KnownCodes(
        (
            _sum("tetrahedron and pair", _TETRAHEDRON, _PAIR, stable=(0.075, math.inf)),
            _sum("two triangles", _TRIANGLE, _TRIANGLE, stable=(0.128, math.inf)),
        ),
        (0.102, math.inf),
    ),
    (7, 4): KnownCodes((_sum("triangle and two pairs", _TRIANGLE, _PAIR, _PAIR, stable=(0.137, 1.67)),), (0.231, 1.67)),
    (10, 4): KnownCodes(
        (
            SymmetricCode("Petersen code", _petersen, (0.0, 0.387)),
            _sum("two pentagons", _PENTAGON, _PENTAGON, stable=(0.158, math.inf)),
        )
    ),
    (12, 3): _only("icosahedron", _icosahedron),
    (16, 5): _only("Clebsch code", _clebsch),
    (27, 6): _only("Schlaefli code", _schlaefli),
    (56, 7): _only("bitangent code", _bitangents),
}


def pairs_known() -> Sequence[tuple[int, int]]:
    """Classes and features of the table, besides polygons and orthoplexes.

    Returns:
        Pairs (K, d).
    """
    return tuple(_TABLE)
