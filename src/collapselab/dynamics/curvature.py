r"""Class structure of the curvature: the Hessian's outliers, and what the Gauss-Newton matrix is made of.

The Hessian of the mean cross-entropy is $H = G + \frac1N\sum_{i,c}(p_{ic} - y_{ic})\nabla^2 f_c(x_i)$. Its Gauss-Newton
part G is a sum of outer products of gradients, which falls apart by class and pair of classes: see `class_structure`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, NotConverged, UndefinedMetric
from collapselab.dynamics._curvature.operators import (
    gauss_newton_operator,
    hessian_operator,
    knocked_out,
    operator_norm,
    top_eigenpairs,
)
from collapselab.dynamics._curvature.prepared import minimises_cross_entropy
from collapselab.dynamics._curvature.structure import (
    PARTS,
    ClassStructure,
    class_structure,
    gauss_newton_parts,
)
from collapselab.dynamics._spec import Found, Quantity, Sight, quantity
from collapselab.records.numbers import declared
from collapselab.records.schema import Declaration

__all__ = [
    "ClassStructure",
    "Curvature",
    "class_structure",
    "gauss_newton_operator",
    "gauss_newton_parts",
    "hessian_operator",
    "knocked_out",
    "operator_norm",
    "top_eigenpairs",
]

_number = partial(declared, source="papyan2020traces", family="curvature", at_collapse=None)
_share = partial(_number, upper=1.0, unit="fraction")
TOP = _number(
    "hessian_top",
    "largest eigenvalue",
    "Largest eigenvalue of the Hessian of the mean cross-entropy.",
    symbol=r"\lambda_1(H)",
    unit="nat",
    lower=None,
)
GAP = _number(
    "hessian_gap",
    "eigenvalue K over K+1",
    "The Hessian's eigenvalue of the number of classes over the next one.",
    symbol=r"\lambda_K/\lambda_{K+1}",
    lower=1.0,
)
OVERLAP = _share(
    "hessian_class_overlap",
    "overlap with class gradients",
    "Mean squared cosine between the Hessian's top eigenvectors, one a class, and the span of the class gradients.",
    symbol=r"\lVert P_{\bar g}V_K\rVert_F^2/K",
)
KNOCKED = _number(
    "hessian_without_class",
    "largest eigenvalue without the class part",
    "Largest eigenvalue of the Hessian less the class part of its Gauss-Newton matrix, over that of the Hessian.",
    symbol=r"\lambda_1(H-G_{\mathrm{class}})/\lambda_1(H)",
    lower=None,
)
REST = _number(
    "hessian_rest",
    "Hessian beyond Gauss-Newton",
    "Spectral norm of the Hessian less its Gauss-Newton part, over that of the Hessian.",
    symbol=r"\lVert H-G\rVert_2/\lVert H\rVert_2",
)
SHARES: dict[str, Declaration] = {
    part: _share(
        f"gauss_newton_{part}",
        f"share of {words}",
        f"Trace of the {what} of the Gauss-Newton matrix over the whole trace.",
        symbol=rf"\operatorname{{tr}}G_{{\mathrm{{{part}}}}}/\operatorname{{tr}}G",
    )
    for part, words, what in (
        ("class", "classes", "class part"),
        ("cross", "pairs of classes", "cross-class part"),
        ("within", "variation within classes", "within-class part"),
        ("own", "own labels", "part of own labels"),
    )
}
_ALL = (TOP, GAP, OVERLAP, KNOCKED, REST, *SHARES.values())


@quantity("curvature", label="curvature of the loss", source="papyan2020traces")
@dataclass(frozen=True)
class Curvature(Quantity):
    """Top eigenvalues of the Hessian, their overlap with class gradients, and the parts of the Gauss-Newton matrix.

    All in float64 on a copy of the network, and of the cross-entropy of its logits alone: where a training minimises
    something else, the numbers have no value. A look takes a few hundred passes forward and back over the samples:
    seconds for a network of a hundred thousand parameters. It needs the extra ``curvature``.

    Attributes:
        per_class: Samples of each class that are looked at, the same at every moment.
    """

    per_class: int = 10

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.per_class, "per_class", at_least=1)

    def look(self, sight: Sight) -> Found:
        """Measure.

        Args:
            sight: The network and the samples.

        Returns:
            Nine numbers.
        """
        rows = sight.few_of_each(self.per_class, "curvature")
        try:
            if not minimises_cross_entropy(sight, rows):
                return _nothing("what is minimised is not the cross-entropy of the logits alone")
            structure = class_structure(sight, rows)
        except (InputError, UndefinedMetric) as refused:
            return _nothing(str(refused))
        values = _spectrum(sight, rows, structure) | _shares(structure)
        return Found(tuple((entry, values[entry.name]) for entry in _ALL))


def _nothing(reason: str) -> Found:
    return Found(tuple((entry, reason) for entry in _ALL))


def _shares(structure: ClassStructure) -> dict[str, float | str]:
    try:
        shares = structure.shares()
    except UndefinedMetric as undefined:
        return {SHARES[part].name: str(undefined) for part in PARTS}
    return {SHARES[part].name: shares[part] for part in PARTS}


def _spectrum(sight: Sight, rows: Tensor, structure: ClassStructure) -> dict[str, float | str]:
    """What the ends of the Hessian's spectrum say."""
    hessian, k = hessian_operator(sight, rows), sight.num_classes
    draw = sight.generator("first vector of Lanczos")
    try:
        values, vectors = top_eigenpairs(hessian, k + 1, generator=draw)
    except (NotConverged, UndefinedMetric) as failed:
        return dict.fromkeys((one.name for one in (TOP, GAP, OVERLAP, KNOCKED, REST)), str(failed))

    def knocked() -> float:
        _positive(values[0], "the largest eigenvalue")
        less = top_eigenpairs(knocked_out(hessian, structure.directions), 1, generator=draw)[0]
        return float(less[0] / values[0])

    def rest() -> float:
        gauss_newton = gauss_newton_operator(sight, rows)
        return operator_norm(hessian - gauss_newton, generator=draw) / operator_norm(hessian, generator=draw)

    return {
        TOP.name: float(values[0]),
        GAP.name: _or_reason(lambda: float(values[k - 1] / _positive(values[k], "the eigenvalue after it"))),
        OVERLAP.name: _or_reason(lambda: structure.overlap(vectors[:, :k])),
        KNOCKED.name: _or_reason(knocked),
        REST.name: _or_reason(rest),
    }


def _positive(value: Tensor, name: str) -> Tensor:
    if not value > 0:
        raise UndefinedMetric(f"{name} is not positive")
    return value


def _or_reason(number: Callable[[], float]) -> float | str:
    try:
        return number()
    except (UndefinedMetric, NotConverged) as failed:
        return str(failed)
