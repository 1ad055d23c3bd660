"""What follows from classes of different sizes: threshold, what each remedy does, and the answer at other ratios."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from collapselab.core.errors import InputError, NotConverged
from collapselab.records.prediction import Imbalance, ImbalanceSweep, Remedy
from collapselab.theory._geometry import Geometry
from collapselab.theory._imbalance.uneven import Kinds, Uneven
from collapselab.theory._problem import Problem
from collapselab.theory.fixed_classifier import FixedClassifierFeatures
from collapselab.theory.fixed_classifier_on_sphere import FixedClassifierOnSphere
from collapselab.theory.imbalanced_cross_entropy import ImbalancedCrossEntropy
from collapselab.theory.layer_peeled import LayerPeeled
from collapselab.theory.remedies import balancing_weights, oversampled, peeled_remedies
from collapselab.theory.weighted_cross_entropy import WeightedCrossEntropy

Solved = LayerPeeled | ImbalancedCrossEntropy
"""Models that are solved for classes of any sizes."""

Fixed = FixedClassifierFeatures | FixedClassifierOnSphere

# Sizes up to which the answer is followed over ratios, points of that, and how far it goes beyond what is marked.
_FEW_SIZES, _POINTS, _BEYOND = 20, 41, 3.0

# Beyond this many sizes of classes each solution takes a minute or more, and remedies are not worked out.
_MANY_SIZES = 150

# Samples of the smallest class where sizes need not be whole numbers.
_FINE = 10**6

# By how much the last remedy loosens budgets or decay.
_LOOSER = 10.0


def under_imbalance(landscape: Solved, *, follow: bool) -> Imbalance | None:
    """What follows from classes of different sizes.

    Args:
        landscape: The model of training as it is.
        follow: Whether the answer is worked out at other ratios as well.

    Returns:
        The record; None where classes have one size.
    """
    counts = counts_of(landscape)
    if len(set(counts)) < 2:
        return None
    sizes = sorted(set(counts), reverse=True)
    kinds = Kinds.of(landscape.groups.group, counts)
    threshold = _threshold(landscape, sizes)
    return Imbalance(
        ratio=sizes[0] / sizes[-1],
        minority=int(kinds.many[kinds.small].sum()),
        threshold=threshold,
        weight_needed=None if threshold is None else _weight_needed(landscape, threshold),
        merged=tuple((counts[landscape.groups.group.index(g)], landscape.groups.sizes[g]) for g in _merged(landscape)),
        remedies=() if isinstance(landscape, WeightedCrossEntropy) else tuple(_remedies(landscape)),
        sweep=_followed(landscape, threshold) if follow and len(sizes) <= _FEW_SIZES else None,
    )


def counts_of(landscape: Solved) -> tuple[int, ...]:
    """Samples of each class.

    Args:
        landscape: The model.

    Returns:
        One number a class.
    """
    return landscape.counts if isinstance(landscape, LayerPeeled) else landscape.problem.counts


def _merged(landscape: Solved) -> tuple[int, ...]:
    """Groups of two classes at least that have one class vector; others come near, but not exactly."""
    solution = landscape.solution
    pairs = zip(solution.groups.sizes, solution.solved.require().logits.differences, strict=True)
    return tuple(g for g, (size, apart) in enumerate(pairs) if size > 1 and apart == 0)


# ------------------------------------------------------------------------------------------------ thresholds


def _threshold(landscape: Solved, sizes: Sequence[int]) -> float | None:
    """The ratio of two sizes from which on the classes of the smaller one have one class vector."""
    if len(sizes) != 2 or counts_of(landscape).count(sizes[1]) < 2 or isinstance(landscape, WeightedCrossEntropy):
        return None
    if isinstance(landscape, LayerPeeled):
        return landscape.thresholds().get("minority_collapse_threshold")
    return _threshold_of_decays(landscape.problem, sizes[0])


def _threshold_of_decays(p: Problem, most: int) -> float | None:
    """Where n_B = N^2 lambda_W lambda_H while the larger classes keep their size: R from a quadratic equation."""
    many = p.counts.count(most)
    few, price = p.num_classes - many, p.decay_head * p.decay_features * most
    # With n_B = n_A / R:  price (K_A R + K_B)^2 = R.
    a, b, c = price * many**2, 2 * price * many * few - 1, price * few**2
    inside = b * b - 4 * a * c
    found = (-b + math.sqrt(inside)) / (2 * a) if inside > 0 and b < 0 else 0.0
    return found if found > 1 else None


def _weight_needed(landscape: Solved, threshold: float) -> float | None:
    counts = counts_of(landscape)
    if isinstance(landscape, LayerPeeled):
        return max(counts) / min(counts) / threshold
    p, most, least = landscape.problem, max(counts), min(counts)
    strength = math.sqrt(p.decay_head * p.decay_features)
    # u sqrt(n_B) / (K_A n_A + u K_B n_B) = strength, u being the weight before all have the mean 1.
    room = math.sqrt(least) - strength * counts.count(least) * least
    return strength * counts.count(most) * most / room if room > 0 else None


# ------------------------------------------------------------------------------------------------ remedies


def _remedies(landscape: Solved) -> Iterator[Remedy]:
    """Training as it is, and with each remedy; one without a known or reached answer says why."""
    counts = counts_of(landscape)
    sizes = len(set(counts))
    for name, (title, make) in _ways(landscape).items():
        if sizes > _MANY_SIZES and name not in ("none", "fixed_simplex"):
            many = f"not worked out beyond {_MANY_SIZES} sizes of classes, got {sizes}"
            yield Remedy(name=name, title=title, unknown=many)
            continue
        try:
            model = make()
            yield _remedy(name, title, model, counts)
        except (InputError, NotConverged) as error:
            yield Remedy(name=name, title=title, unknown=str(error))


Way = tuple[str, Callable[[], Solved | Fixed]]

_TITLES = {
    "none": "as it is",
    "oversampling": "oversampled",
    "class_weights": "class weights 1/n",
    "root_weights": "class weights 1/√n",
    "fixed_simplex": "fixed simplex head",
}


def _ways(landscape: Solved) -> dict[str, Way]:
    counts = counts_of(landscape)
    if isinstance(landscape, LayerPeeled):
        d, e_w, e_h = landscape.num_features, landscape.budget_head, landscape.budget_features
        made = peeled_remedies(counts, d, budget_features=e_h, budget_head=e_w) | {"none": lambda: landscape}
        return {
            **{name: (_TITLES[name], make) for name, make in made.items()},
            "looser": (f"budgets × {_LOOSER:g}", lambda: LayerPeeled(counts, d, e_w, _LOOSER * e_h)),
        }
    p, inverse, root = landscape.problem, balancing_weights(counts), balancing_weights(counts, 0.5)

    def weighted(weights: tuple[float, ...]) -> Callable[[], Solved]:
        return lambda: WeightedCrossEntropy(p, weights)

    return {
        "none": (_TITLES["none"], lambda: landscape),
        "oversampling": (_TITLES["oversampling"], lambda: ImbalancedCrossEntropy(_shown(p, oversampled(counts)))),
        "class_weights": (_TITLES["class_weights"], weighted(inverse)),
        "root_weights": (_TITLES["root_weights"], weighted(root)),
        "fixed_simplex": (_TITLES["fixed_simplex"], lambda: FixedClassifierFeatures(_of_fixed_head(p))),
        "looser": (f"decays ÷ {_LOOSER:g}", lambda: ImbalancedCrossEntropy(_weaker(p))),
    }


def _shown(p: Problem, counts: tuple[int, ...]) -> Problem:
    """A problem with other sizes and the same decay of the mean squared norm of the samples that are shown."""
    return _changed(p, counts=counts, decay_features=p.decay_features * p.num_samples / sum(counts))


def _of_fixed_head(p: Problem) -> Problem:
    return _changed(p, decay_head=0.0, bias="none", decay_bias=0.0)


def _weaker(p: Problem) -> Problem:
    return _changed(p, decay_head=p.decay_head / _LOOSER, decay_features=p.decay_features / _LOOSER)


def _changed(p: Problem, **changes: object) -> Problem:
    names = ("counts", "num_features", "decay_head", "decay_features", "bias", "decay_bias", "nonnegative")
    return Problem(**({name: getattr(p, name) for name in names} | changes))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, eq=False)
class _Seen:
    """A solved model, looked at with sizes that may be others than its own."""

    geometry: Geometry
    group: tuple[int, ...]
    merged: int


def _seen(model: Solved | Fixed, num_classes: int) -> _Seen:
    geometry = model.geometry()
    assert geometry is not None
    if isinstance(model, (FixedClassifierFeatures, FixedClassifierOnSphere)):
        return _Seen(geometry, (0,) * num_classes, 0)
    sizes = geometry.weights.sizes
    return _Seen(geometry, model.groups.group, sum(sizes[g] for g in _merged(model)))


def _remedy(name: str, title: str, model: Solved | Fixed, counts: Sequence[int]) -> Remedy:
    seen = _seen(model, len(counts))
    kinds = Kinds.of(seen.group, counts)
    uneven, weights = Uneven(seen.geometry, kinds), seen.geometry.weights
    return Remedy(
        name=name,
        title=title,
        minority_cosine=uneven.mean_cosine(weights, kinds.small),
        norm_ratio=uneven.norm_ratio(weights, ~kinds.small, kinds.small),
        margin=uneven.smallest_margin,
        merged=seen.merged,
        near=uneven.near(),
    )


# ------------------------------------------------------------------------------------------------ other ratios


def _followed(landscape: Solved, threshold: float | None) -> ImbalanceSweep | None:
    """The answer at ratios from 1 to beyond that of the counts and the threshold."""
    counts = counts_of(landscape)
    small = np.array(counts) * len(counts) <= sum(counts)
    if small.sum() < 2 or isinstance(landscape, WeightedCrossEntropy):
        return None
    marked = [max(counts) / min(counts), *([] if threshold is None else [threshold])]
    ratios = sorted({*np.geomspace(1.0, _BEYOND * max(marked), _POINTS).tolist(), *marked})
    found = [(ratio, *at) for ratio in ratios if (at := _at(landscape, ratio, small)) is not None]
    if not found:
        return None
    known, cosines, merged = zip(*found, strict=True)
    return ImbalanceSweep(imbalance=known, minority_cosine=cosines, merged=merged)


def _at(landscape: Solved, ratio: float, small: np.ndarray) -> tuple[float | None, int] | None:
    """Cosine and merged classes at a ratio, None with too few features; the true sizes settle which are small."""
    counts = np.array(counts_of(landscape), dtype=np.float64)
    power = math.log(ratio) / math.log(counts.max() / counts.min())
    parts = (counts / counts.max()) ** power
    try:
        model = _of_parts(landscape, parts)
    except InputError:
        return None
    seen = _seen(model, len(counts))
    # 1 for small classes and 3 for others: means lie between.
    kinds = Kinds.of(seen.group, np.where(small, 1, 3).tolist())
    return Uneven(seen.geometry, kinds).mean_cosine(seen.geometry.weights, kinds.count == 1), seen.merged


def _of_parts(landscape: Solved, parts: np.ndarray) -> Solved:
    """The model with other sizes, given as parts of the largest."""
    if isinstance(landscape, LayerPeeled):
        alike = (1,) * len(parts)
        weights = tuple(parts.tolist())
        return LayerPeeled(alike, landscape.num_features, landscape.budget_head, landscape.budget_features, weights)
    p = landscape.problem
    # All sizes times a number and the decay of features divided by it are the same model.
    most = _FINE / float(parts.min())
    counts = tuple(round(most * part) for part in parts.tolist())
    return ImbalancedCrossEntropy(_changed(p, counts=counts, decay_features=p.decay_features * max(p.counts) / most))
