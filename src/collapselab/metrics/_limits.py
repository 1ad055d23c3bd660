"""What NC2 and NC3 declare alike: when collapse fixes a value, and what leaves it unchanged."""

from collections.abc import Callable

from collapselab.metrics._spec import Invariance

OF_MEANS: tuple[Invariance, ...] = ("rotation", "scale", "translation", "relabelling", "duplication")
"""What leaves the geometry of the centred class means unchanged."""

OF_WEIGHTS: tuple[Invariance, ...] = (*OF_MEANS, "linear", "head_scale")
"""What leaves the geometry of the classifier's rows unchanged: whatever is done to features alone, too."""


def on_a_simplex(value: Callable[[int], float]) -> Callable[[int, int], float | None]:
    """A limit that collapse fixes only where K points fit on a simplex in d dimensions.

    Args:
        value: The limit as a function of K.

    Returns:
        The limit as a function of K and d; None for K > d + 1.
    """
    return lambda num_classes, num_features: value(num_classes) if 2 <= num_classes <= num_features + 1 else None


ZERO = on_a_simplex(lambda num_classes: 0.0)
"""0 where K points fit on a simplex."""
