"""What a landscape states about itself, as a record."""

import dataclasses
import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collapselab.core.errors import InputError
from collapselab.records.prediction import Blocks, Gram, Norms, PredictedGeometry, Prediction, Sweep
from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._geometry import Geometry
from collapselab.theory._imbalance.imbalanced import Groups
from collapselab.theory._imbalance.under_imbalance import under_imbalance
from collapselab.theory._imbalance.uneven import Kinds, Uneven
from collapselab.theory._model import REGISTRY, AbstractLandscape, Model, UnconstrainedLandscape
from collapselab.theory._problem import Problem
from collapselab.theory.imbalanced_cross_entropy import ImbalancedCrossEntropy
from collapselab.theory.layer_peeled import LayerPeeled

Make = Callable[[Problem], UnconstrainedLandscape]
"""A problem to its landscape."""

# Parts of the largest entry below which a Gram matrix is rounding, and what of a number of order one is.
_ROUNDING, _SMALLEST = 1e-12, 1e-14

# A picture over decay: how far it goes to either side.
_BELOW, _ABOVE = 100.0, 4.0

# Classes up to which matrices are recorded whole.
_MOST_DENSE = 60


@dataclass(frozen=True)
class Steps:
    """How finely an answer is followed over decay.

    Attributes:
        points: Factors on a logarithmic axis.
        precision: Relative, of the factor where it vanishes.
        near: Further factors just below that one, each ten times as near.
    """

    points: int = 41
    precision: float = 1e-12
    near: int = 5


COARSE = Steps(11, 1e-3, 0)
"""For answers that take a solution each."""


def stated(
    make: Make,
    problem: Problem,
    *,
    loss: str,
    follow: Steps | None = None,
    measured_counts: Sequence[int] | None = None,
) -> Prediction:
    """The record of what a model says of a problem.

    Args:
        make: Gives the landscape of a problem.
        problem: Sizes and decay.
        loss: Name of the loss that was asked about.
        follow: How finely the answer is worked out under weaker and stronger decay as well; None for not at all.
        measured_counts: Samples of each class in the data that metrics look at, where those are others.

    Returns:
        The record.
    """
    landscape = make(problem)
    geometry = landscape.geometry()
    seen = measured_counts or problem.counts
    uneven = None if geometry is None else _uneven(landscape, geometry, problem.counts, seen)
    # Where the infimum is not attained, norms have no limit and the geometry is that of a direction.
    norms = _norms(geometry, problem) if geometry is not None and landscape.attained else None
    found = _of_any(landscape, geometry, uneven, problem.counts, loss=loss)
    sizes = {} if norms is None else _sizes(norms, problem)
    if uneven is not None and norms is not None and measured_counts is not None:
        sizes["feature_norm"] = uneven.features_norm / math.sqrt(sum(seen))
    follows = follow is not None and norms is not None
    imbalance = None
    if isinstance(landscape, ImbalancedCrossEntropy) and norms is not None and norms.weight > 0:
        imbalance = under_imbalance(landscape, follow=follows)
    return found.model_copy(
        update={
            "settings": _settings(problem),
            "loss_settings": _loss_settings(landscape),
            "mean_loss": None if norms is None else landscape.minimum - _penalty(norms, problem),
            "norms": norms,
            "margin": None if geometry is None or norms is None else geometry.margin,
            "predicts": found.predicts | sizes,
            "minority_collapse_threshold": None if imbalance is None else imbalance.threshold,
            "imbalance": imbalance,
            "sweep": followed(make, problem, follow) if follow is not None and follows else None,
        }
    )


def stated_of_budgets(landscape: LayerPeeled, *, follow: bool) -> Prediction:
    """The record of what the layer-peeled model says.

    Args:
        landscape: The model.
        follow: Whether the answer is worked out at other ratios of class sizes as well.

    Returns:
        The record.
    """
    geometry, counts = landscape.geometry(), landscape.counts
    uneven = Uneven(geometry, Kinds.of(landscape.groups.group, counts))
    norms = _norms_of(geometry, uneven.features_norm)
    found = _of_any(landscape, geometry, uneven, counts, loss="cross_entropy")
    sizes = {"weight_norm": norms.weight, "feature_norm": norms.features / math.sqrt(sum(counts))}
    imbalance = under_imbalance(landscape, follow=follow)
    return found.model_copy(
        update={
            "settings": {
                "num_classes": len(counts),
                "num_samples": sum(counts),
                "num_features": landscape.num_features,
                "budget_head": landscape.budget_head,
                "budget_features": landscape.budget_features,
                "bias": "none",
                "nonnegative": False,
            }
            | ({"per_class": counts[0]} if len(set(counts)) == 1 else {}),
            "mean_loss": landscape.minimum,
            "norms": norms,
            "margin": geometry.margin,
            "predicts": found.predicts | sizes,
            "minority_collapse_threshold": None if imbalance is None else imbalance.threshold,
            "imbalance": imbalance,
        }
    )


def _of_any(
    landscape: AbstractLandscape, geometry: Geometry | None, uneven: Uneven | None, counts: Sequence[int], *, loss: str
) -> Prediction:
    """What every kind of landscape says of itself."""
    model = _model_of(landscape)
    more = {} if uneven is None or len(set(uneven.kinds.count.tolist())) == 1 else uneven.metrics()
    return Prediction(
        model=model.name,
        label=model.label,
        loss=loss,
        source=model.source,
        assumptions=landscape.assumptions,
        settings={},
        counts=_runs(counts),
        minimum=landscape.minimum,
        attained=landscape.attained,
        benign=landscape.benign,
        predicts=_predicts(landscape.predicts() | more),
        thresholds=landscape.thresholds(),
        thresholds_say=inspect.cleandoc(type(landscape).thresholds.__doc__ or "").split("\n\n")[0].replace("\n", " "),
        geometry=None if geometry is None else _recorded(geometry, _groups_of(landscape, geometry, counts)),
        gram=None if geometry is None else _gram(geometry, _groups_of(landscape, geometry, counts)),
    )


def _model_of(landscape: AbstractLandscape) -> Model:
    return next(model for model in REGISTRY.values() if model.cls is type(landscape))


def _runs(values: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Values and how many of each come one after the other."""
    return tuple((value, len(list(same))) for value, same in itertools.groupby(values))


def _groups_of(landscape: AbstractLandscape, geometry: Geometry, counts: Sequence[int]) -> tuple[int, ...] | None:
    """Group of each class in a geometry; None where that is not known."""
    if isinstance(landscape, (LayerPeeled, ImbalancedCrossEntropy)):
        return landscape.groups.group
    if len(geometry.weights.sizes) == 1:
        return (0,) * len(counts)
    by_size = Groups.of(counts)
    return by_size.group if by_size.sizes == geometry.weights.sizes else None


def _uneven(
    landscape: AbstractLandscape, geometry: Geometry, counts: Sequence[int], seen: Sequence[int]
) -> Uneven | None:
    groups = _groups_of(landscape, geometry, counts)
    return None if groups is None else Uneven(geometry, Kinds.of(groups, seen))


def scaled(problem: Problem, factor: float) -> Problem:
    """The problem with all decays times a number.

    Args:
        problem: Sizes and decay.
        factor: The number.

    Returns:
        A new problem; the same one for 1.
    """
    if factor == 1:
        return problem
    changed = {name: factor * getattr(problem, name) for name in ("decay_head", "decay_features", "decay_bias")}
    return dataclasses.replace(problem, **changed)


def followed(make: Make, problem: Problem, steps: Steps) -> Sweep | None:
    """The answer as all decays are multiplied by one factor, from far weaker to beyond where it vanishes.

    Args:
        make: Gives the landscape of a problem.
        problem: The problem at factor 1.
        steps: How finely.

    Returns:
        Values at factors that are evenly spread over a logarithmic axis, 1 and where it vanishes among them, as far as
        the model knows the geometry there; None where it does not know that of the problem itself.
    """

    def at(factor: float) -> UnconstrainedLandscape | None:
        try:
            return make(scaled(problem, factor))
        except InputError:  # weaker decay may need more features than there are
            return None

    if make(problem).geometry() is None:
        return None
    vanishes = _vanishing(lambda factor: not _is_zero(at(factor)), steps.precision)
    low, high = min(1.0, vanishes or 1.0) / _BELOW, max(1.0, vanishes or 1.0) * _ABOVE
    factors = {low * (high / low) ** (i / (steps.points - 1)) for i in range(steps.points)} | {1.0}
    if vanishes is not None:  # it may fall to zero as steeply as a root or a logarithm
        factors |= {vanishes, *((1 - 10.0**-i) * vanishes for i in range(1, steps.near + 1))}
    there = [(factor, at(factor)) for factor in sorted(factors)]
    known = [
        (factor, one.minimum, found.margin)
        for factor, one in there
        if one is not None and (found := one.geometry()) is not None
    ]
    factor, minimum, margin = zip(*known, strict=True)
    return Sweep(factor=factor, minimum=minimum, margin=margin, vanishes_at=vanishes)


def _is_zero(landscape: UnconstrainedLandscape | None) -> bool:
    geometry = None if landscape is None else landscape.geometry()
    # Logits: the size of class vectors alone depends on the ratio of the decays.
    return geometry is not None and geometry.logits.norm() <= _ROUNDING


def _vanishing(there: Callable[[float], bool], precision: float) -> float | None:
    """The factor from which on the answer is zero, by bisection of its logarithm; None if it is not found."""
    low, high = 1.0, 1.0
    while there(high):
        low, high = high, 4 * high
        if high > 1e12:
            return None
    while not there(low):
        low, high = low / 4, low
        if low < 1e-12:
            return None
    while high / low > 1 + precision:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if there(middle) else (low, middle)
    return high


def _norms(geometry: Geometry, problem: Problem) -> Norms:
    return _norms_of(geometry, _feature_norm(geometry, problem))


def _norms_of(geometry: Geometry, features: float) -> Norms:
    return Norms(
        weight=math.sqrt(geometry.weights.trace()),
        features=features,
        bias=math.sqrt(math.fsum(s * b * b for s, b in zip(geometry.means.sizes, geometry.bias, strict=True))),
        # What rounding puts below zero is zero.
        class_weight=tuple(math.sqrt(max(0.0, x)) for x in geometry.weights.own),
        class_mean=tuple(math.sqrt(max(0.0, x)) for x in geometry.means.own),
    )


def _feature_norm(geometry: Geometry, problem: Problem) -> float:
    """Frobenius norm of the features of all samples."""
    if problem.is_balanced:
        return math.sqrt(problem.per_class * geometry.means.trace())
    # At every critical point lambda_W |W|^2 = lambda_H |H|^2, whatever the sizes of the groups: losses see products.
    return math.sqrt(problem.decay_head * geometry.weights.trace() / problem.decay_features)


def _penalty(norms: Norms, problem: Problem) -> float:
    """What decay adds to the mean loss."""
    parts = (
        problem.decay_head * norms.weight**2,
        problem.decay_features * norms.features**2,
        problem.decay_bias * norms.bias**2,
    )
    return math.fsum(parts) / 2


def _predicts(found: Mapping[str, float]) -> dict[str, float]:
    return {name: value if abs(value) > _SMALLEST else 0.0 for name, value in found.items()}


def _sizes(norms: Norms, problem: Problem) -> dict[str, float]:
    return {"weight_norm": norms.weight, "feature_norm": norms.features / math.sqrt(problem.num_samples)}


_OF_PROBLEM = ("num_classes", "num_samples", "num_features", "decay_head", "decay_features", "bias", "decay_bias")


def _settings(problem: Problem) -> dict[str, Any]:
    """The problem as JSON can hold it; unequal sizes of classes are told apart from it."""
    per_class = {"per_class": problem.per_class} if problem.is_balanced else {}
    return {name: getattr(problem, name) for name in (*_OF_PROBLEM, "nonnegative")} | per_class


def _loss_settings(landscape: UnconstrainedLandscape) -> dict[str, Any]:
    names = [entry.name for entry in dataclasses.fields(landscape)]  # pyright: ignore[reportArgumentType] - models are dataclasses
    found = {name: getattr(landscape, name) for name in names}
    return {name: value for name, value in found.items() if isinstance(value, (bool, int, float, str))}


def _recorded(geometry: Geometry, groups: Sequence[int] | None) -> PredictedGeometry:
    means = geometry.means.centred()
    rounding = _ROUNDING * max(map(abs, geometry.means.own), default=0.0)
    return PredictedGeometry(
        weights=_blocks(geometry.weights),
        means=_blocks(geometry.means),
        logits=_blocks(geometry.logits),
        bias=geometry.bias,
        groups=() if groups is None else _runs(groups),
        cosines_weights=_blocks(geometry.weights.cosines()) if min(geometry.weights.own) > 0 else None,
        cosines_means=_blocks(means.cosines()) if min(means.own) > rounding else None,
    )


def _gram(geometry: Geometry, groups: Sequence[int] | None) -> Gram | None:
    """Dense matrices in the order of the classes."""
    if groups is None or len(groups) > _MOST_DENSE:
        return None

    def dense(matrix: BlockMatrix) -> tuple[tuple[float, ...], ...]:
        rows = enumerate(groups)
        return tuple(
            tuple(matrix.own[g] if i == j else matrix.between[g][h] for j, h in enumerate(groups)) for i, g in rows
        )

    return Gram(weights=dense(geometry.weights), means=dense(geometry.means), logits=dense(geometry.logits))


def _blocks(matrix: BlockMatrix) -> Blocks:
    return Blocks(sizes=matrix.sizes, own=matrix.own, between=matrix.between)
