"""The geometry that a theory states, and the values of the metrics that follow from it at full collapse."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from collapselab.core.errors import InputError
from collapselab.theory._blocks import BlockMatrix

# Parts of the largest entry below which a Gram matrix is rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Geometry:
    """Inner products of class vectors and class means where every sample lies at the mean of its class.

    Attributes:
        weights: Inner products of the rows of the classifier, $WW^T$.
        means: Inner products of the class means, not centred, $MM^T$.
        logits: Rows of the classifier times class means, $WM^T$; without bias.
        bias: Bias of a class of each group.
    """

    weights: BlockMatrix
    means: BlockMatrix
    logits: BlockMatrix
    bias: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that all speak of the same groups."""
        sizes = {self.weights.sizes, self.means.sizes, self.logits.sizes}
        if len(sizes) > 1 or len(self.bias) != len(self.weights.sizes):
            raise InputError(f"the parts of a geometry must have the same groups, got {sorted(sizes)}")

    @property
    def num_classes(self) -> int:
        """K."""
        return self.weights.size

    @property
    def margin(self) -> float:
        """Smallest difference of the logit of a class mean's own class and another one, with bias."""
        groups = range(len(self.bias))
        return min(
            self.logits.own[g] + self.bias[g] - self.logits.between[h][g] - self.bias[h]
            for g in groups
            for h in groups
            if self.logits.pairs(h, g) > 0
        )

    def metrics(self) -> dict[str, float]:
        """What the metrics of collapse are worth here, as far as they are defined.

        Returns:
            Key of a metric to value.
        """
        found: dict[str, float] = {}
        means, weights = self.means.centred(), self.weights
        if min(means.own) > _ROUNDING * max(map(abs, self.means.own)):
            found |= {name: 0.0 for name in ("nc1_pinv", "nc1_trace_ratio", "within_fraction")}
            if self._apart():
                found |= {"cdnv": 0.0, "ncc_accuracy": 1.0}
            if self.num_classes > 2:
                found |= _angles(means, "means") | {"etf_error": _simplex_distance(means)}
            if min(weights.own) > 0:
                found |= self._duality(means)
        if min(weights.own) > 0:
            if self.num_classes > 2:
                found |= _angles(weights, "weights")
            found["etf_error_weights"] = _simplex_distance(weights)
            if self.margin > 0:
                found |= {"accuracy": 1.0} | ({"nc4_disagreement": 0.0} if "ncc_accuracy" in found else {})
        if _directions_differ(self.means):
            found["generalised_nc1"] = 0.0
        if min(weights.own) > 0 and len(weights.sizes) == 1:
            # Rows with one cosine c: the nearest point of the hull of the others is their mean.
            k, cosine = self.num_classes, weights.cosines().between[0][0]
            found["generalised_nc2"] = math.sqrt(max(0.0, (1 - cosine) * k / (k - 1)))
        found["bias_collapse"] = self._bias_collapse()
        return found

    def _apart(self) -> bool:
        """Whether no two class means coincide, as those of classes that vanish do."""
        m, groups = self.means, range(len(self.bias))
        squares = [
            m.own[g] + m.own[h] - m.between[g][h] - m.between[h][g] for g in groups for h in groups if m.pairs(g, h) > 0
        ]
        return min(squares) > _ROUNDING * max(map(abs, m.own))

    def _duality(self, means: BlockMatrix) -> dict[str, float]:
        cross = self.logits.columns_centred()
        sizes, own = cross.sizes, cross.own
        norm_weights, norm_means = math.sqrt(self.weights.trace()), math.sqrt(means.trace())
        cosines = [x / math.sqrt(w * m) for x, w, m in zip(own, self.weights.own, means.own, strict=True)]
        cosine = _mean(cosines, sizes)
        return {
            # |A - B|^2 of unit matrices; what rounding puts below zero is zero.
            "nc3_duality": max(0.0, 2 - 2 * cross.trace() / (norm_weights * norm_means)),
            "nc3_cosine": cosine,
            "generalised_nc3": max(0.0, 1 - cosine),
            "duality_error": _simplex_distance(cross),
        }

    def _bias_collapse(self) -> float:
        at_centre = [x + b for x, b in zip(self.logits.row_means(), self.bias, strict=True)]
        return math.sqrt(math.fsum(s * x * x for s, x in zip(self.logits.sizes, at_centre, strict=True)))


def _directions_differ(gram: BlockMatrix) -> bool:
    """Whether all vectors of a Gram matrix have directions, and not all the same."""
    if min(gram.own) <= _ROUNDING * max(gram.own):
        return False
    return min(cosine for cosine, _ in _pairs(gram.cosines())) < 1 - _ROUNDING


def _angles(gram: BlockMatrix, of: str) -> dict[str, float]:
    """Equal norms, equal angles and largest angles of the vectors of a Gram matrix."""
    norms, k = [math.sqrt(x) for x in gram.own], gram.size
    mean = _mean(norms, gram.sizes)
    spread = math.fsum(s * (x - mean) ** 2 for s, x in zip(gram.sizes, norms, strict=True))
    cosines, many = zip(*_pairs(gram.cosines()), strict=True)
    middle = _mean(cosines, many)
    return {
        f"nc2_equinorm_{of}": math.sqrt(spread / (k - 1)) / mean,
        f"nc2_equiangularity_{of}": math.sqrt(_mean([(x - middle) ** 2 for x in cosines], many)),
        f"nc2_max_angle_{of}": _mean([abs(x + 1 / (k - 1)) for x in cosines], many),
    }


def _simplex_distance(matrix: BlockMatrix) -> float:
    """Distance of the normalised matrix from the normalised Gram matrix of a simplex, entry by entry."""
    k, norm = matrix.size, matrix.norm()
    groups = range(len(matrix.sizes))
    own, other = (1 - 1 / k) / math.sqrt(k - 1), -1 / (k * math.sqrt(k - 1))
    squares = [s * (x / norm - own) ** 2 for s, x in zip(matrix.sizes, matrix.own, strict=True)]
    squares += [matrix.pairs(g, h) * (matrix.between[g][h] / norm - other) ** 2 for g in groups for h in groups]
    return math.sqrt(math.fsum(squares))


def _pairs(matrix: BlockMatrix) -> Iterator[tuple[float, int]]:
    """Entries off the diagonal, and how many there are of each."""
    groups = range(len(matrix.sizes))
    for g in groups:
        for h in groups:
            if matrix.pairs(g, h) > 0:
                yield matrix.between[g][h], matrix.pairs(g, h)


def _mean(values: "list[float] | tuple[float, ...]", weights: "tuple[int, ...]") -> float:
    return math.fsum(w * x for w, x in zip(weights, values, strict=True)) / sum(weights)
