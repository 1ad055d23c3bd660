"""From which imbalance on the class vectors of rare classes coincide, in the layer-peeled model (Fang et al. 2021)."""

import math
from collections.abc import Callable

import numpy as np

from collapselab.core import checks
from collapselab.core.errors import NotKnown
from collapselab.theory._imbalance.grouped import Grouped
from collapselab.theory._imbalance.grouped_solve import Solved, solve

# Relative accuracy of the threshold.
_ACCURACY = 1e-12

# Logarithm of an imbalance beyond which float64 has no numbers.
_LARGEST = 700.0

# Most solutions of the collapsed problem; about ten are needed.
_MOST_STEPS = 200


def minority_collapse_threshold(
    num_majority: int, num_minority: int, budget_features: float = 1.0, budget_head: float = 1.0
) -> float:
    r"""The imbalance from which on all minority classifiers of two groups of classes are one vector, exactly.

    Let $\nu(R)$ be the multiplier of the nuclear norm in the layer-peeled model of cross-entropy whose minority classes
    may not differ, with weight 1 for a majority class and 1/R for a minority class. Letting them differ by f lowers the
    loss at the rate $(K_B-1)f/R$ and takes $(K_B-1)f$ of the budget, so that the collapsed solution is optimal if and
    only if $1/R\le\nu(R)$: $R_0=1/\nu(R_0)$. It depends on the budgets by their product alone, grows with it, and tends
    to 1 as it vanishes.

    Args:
        num_majority: K_A, at least 1.
        num_minority: K_B, at least 2.
        budget_features: E_H, largest mean squared norm of the features.
        budget_head: E_W, largest mean squared norm of the class vectors.

    Returns:
        R_0, above 1.

    Raises:
        NotKnown: If it is too large for float64, as with budgets of several hundred.

    Example:
        >>> round(minority_collapse_threshold(5, 5, 5.0), 3)
        12.192
    """
    checks.whole(num_majority, "num_majority", at_least=1)
    checks.whole(num_minority, "num_minority", at_least=2)

    def excess(log_imbalance: float) -> float:
        found = collapsed(num_majority, num_minority, math.exp(log_imbalance), budget_features, budget_head)
        return log_imbalance + math.log(found.price)

    high = 1.0
    while excess(high) < 0:
        high *= 2
        if high > _LARGEST:
            raise NotKnown("the threshold of minority collapse is too large for float64 with budgets as large as these")
    return math.exp(_root(excess, 0.0, high))


def collapsed(
    num_majority: int,
    num_minority: int,
    imbalance: float,
    budget_features: float = 1.0,
    budget_head: float = 1.0,
) -> Solved:
    r"""The layer-peeled model of two groups of classes whose minority classes may not differ.

    Args:
        num_majority: K_A, at least 1.
        num_minority: K_B, at least 1.
        imbalance: R, samples of a majority class for one of a minority class.
        budget_features: E_H.
        budget_head: E_W.

    Returns:
        The solution; its `price` is $\nu(R)$, its value the sum of the losses of a class of each kind times
        $K_A$ and $K_B/R$.
    """
    k_a, k_b = float(num_majority), float(num_minority)
    scale = math.sqrt(
        checks.real(budget_features, "budget_features", above=0) * checks.real(budget_head, "budget_head", above=0)
    )
    program = Grouped(
        sizes=np.array([k_a, k_b]),
        masses=np.array([k_a, k_b / checks.real(imbalance, "imbalance", above=0)]),
        scales=np.ones(2),
        budget=(k_a + k_b) * scale,
        apart=np.array([True, False]),
    )
    return solve(program).require()


def _root(rising: Callable[[float], float], first: float, second: float) -> float:
    """The zero of a function between two points of different sign, by false position that never gets stuck."""
    at_first, at_second = rising(first), rising(second)
    for _ in range(_MOST_STEPS):
        between = second - at_second * (second - first) / (at_second - at_first)
        here = rising(between)
        if here == 0 or abs(between - second) <= _ACCURACY:
            return between
        if (here > 0) == (at_second > 0):
            at_first /= 2  # the same end was replaced twice: pull the next point over (Illinois)
        else:
            first, at_first = second, at_second
        second, at_second = between, here
    return second
