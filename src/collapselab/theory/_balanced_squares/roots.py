"""Roots of functions of one number, found by halving: no derivative, no failure, all digits."""

from collections.abc import Callable

# Halvings after which two floats of a bracket are neighbours, whatever they were.
_HALVINGS = 1100


def last_that_holds(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The place up to which a condition holds.

    Args:
        holds: The condition; it holds below some place of the interval and not above.
        low: Start of the interval.
        high: End of the interval.

    Returns:
        The place, to the last digit; an end of the interval if the condition changes nowhere in it.

    Example:
        >>> last_that_holds(lambda x: x * x <= 2, 0.0, 2.0)
        1.414213562373095
    """
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
