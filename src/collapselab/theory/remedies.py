"""What is done against minority collapse, as changes of how much each class counts in the layer-peeled model."""

from collections.abc import Callable, Sequence

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._problem import Problem
from collapselab.theory.fixed_classifier_on_sphere import FixedClassifierOnSphere
from collapselab.theory.layer_peeled import LayerPeeled

Remedies = dict[str, LayerPeeled | FixedClassifierOnSphere]
"""Name of a remedy to the model of what it leads to."""


def oversampled(counts: Sequence[int], factor: int | None = None) -> tuple[int, ...]:
    """How often the samples of each class are shown when those of rare classes are repeated a whole number of times.

    Args:
        counts: Samples of each class.
        factor: How often the samples of all but the largest classes are shown; None for as often as brings each class
            nearest to the largest.

    Returns:
        Samples of each class, with repetitions.

    Example:
        >>> oversampled([5000, 5000, 50, 30]), oversampled([5000, 5000, 50, 30], 10)
        ((5000, 5000, 5000, 5010), (5000, 5000, 500, 300))
    """
    sizes, most = _counts(counts), max(counts)
    if factor is None:
        return tuple(n * max(1, round(most / n)) for n in sizes)
    times = checks.whole(factor, "factor", at_least=1)
    return tuple(n if n == most else n * times for n in sizes)


def balancing_weights(counts: Sequence[int], power: float = 1.0) -> tuple[float, ...]:
    """Weights of the losses of classes that fall with a power of their size.

    Args:
        counts: Samples of each class.
        power: 0 for none, 1 for weights that give every class the same part in the loss.

    Returns:
        One weight a class, 1 for the largest.

    Example:
        >>> balancing_weights([100, 4]), balancing_weights([100, 4], 0.5)
        ((1.0, 25.0), (1.0, 5.0))
    """
    checks.real(power, "power", at_least=0, at_most=1)
    sizes, most = _counts(counts), max(counts)
    return tuple((most / n) ** power for n in sizes)


def remedies(
    counts: Sequence[int],
    budget_features: float = 1.0,
    budget_head: float = 1.0,
    *,
    num_features: int | None = None,
) -> Remedies:
    """The layer-peeled models of training as it is and with each remedy.

    Repeating samples and weighting losses do the same in this model: what a class counts is its share of the loss, and
    features of repeated samples are the same ones. A fixed simplex takes the choice away; the dot-regression loss on it
    has the same minimisers as cross-entropy.

    Args:
        counts: Samples of each class.
        budget_features: E_H; of the fixed simplex, the squared norm of every feature vector.
        budget_head: E_W.
        num_features: d; K if None.

    Returns:
        ``none``, ``oversampling`` (whole repetitions), ``class_weights`` (by inverse size), ``root_weights`` (by its
        root) and ``fixed_simplex``, in that order; without those that need more features than there are.

    Raises:
        InputError: If an argument is not what it must be, or all of them need more features.

    Example:
        >>> found = remedies([500, 500, 50, 50], 2.0)
        >>> {name: round(one.geometry().weights.cosines().between[-1][-1], 3) for name, one in found.items()}
        {'none': 1.0, 'oversampling': -0.333, 'class_weights': -0.333, 'root_weights': 0.057, 'fixed_simplex': -0.333}
    """
    sizes = _counts(counts)
    d = len(sizes) if num_features is None else num_features
    found: Remedies = {}
    refused: InputError | None = None
    for name, make in peeled_remedies(sizes, d, budget_features=budget_features, budget_head=budget_head).items():
        try:
            found[name] = make()
        except InputError as error:
            refused = refused or error
    if refused is not None and (not found or d >= len(sizes) - 1):  # K-1 features suffice: it is something else
        raise refused
    return found


def peeled_remedies(
    counts: tuple[int, ...], num_features: int, *, budget_features: float, budget_head: float
) -> dict[str, Callable[[], LayerPeeled | FixedClassifierOnSphere]]:
    """What makes each model of `remedies`, which refuses where it needs more features.

    Args:
        counts: Samples of each class.
        num_features: d.
        budget_features: E_H.
        budget_head: E_W.

    Returns:
        Name to maker.
    """
    settings = (counts, num_features, budget_head, budget_features)
    shown = tuple(many / n for many, n in zip(oversampled(counts), counts, strict=True))
    return {
        "none": lambda: LayerPeeled(*settings),
        "oversampling": lambda: LayerPeeled(*settings, shown),
        "class_weights": lambda: LayerPeeled(*settings, balancing_weights(counts)),
        "root_weights": lambda: LayerPeeled(*settings, balancing_weights(counts, 0.5)),
        "fixed_simplex": lambda: FixedClassifierOnSphere(*settings),
    }


def _counts(counts: Sequence[int]) -> tuple[int, ...]:
    if isinstance(counts, (str, int)):
        raise InputError(f"counts must be those of two classes or more, got {counts!r}")
    return Problem(tuple(counts), 1, 0.0, 0.0).counts
