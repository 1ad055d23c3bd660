"""The layer-peeled model of frequent and rare classes as they grow apart: all imbalances at once."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._geometry import Geometry
from collapselab.theory._imbalance.grouped import Grouped
from collapselab.theory._imbalance.grouped_solve import solve_together
from collapselab.theory._imbalance.imbalanced import balanced_geometry


class AtImbalance(NamedTuple):
    """The optimum at one imbalance.

    Attributes:
        imbalance: R, samples of a majority class for one of a minority class.
        minimum: Mean loss over the samples, in nats.
        gap: What it is above the true one at most.
        merged: Whether the classes of the minority coincide.
        geometry: Inner products, majority first.
    """

    imbalance: float
    minimum: float
    gap: float
    merged: bool
    geometry: Geometry

    def cosine(self, row: int, column: int) -> float:
        """Cosine between class vectors of two different classes.

        Args:
            row: Group of one, 0 for the majority and 1 for the minority.
            column: Group of the other.

        Returns:
            The cosine; of one group with a single class, 1.
        """
        return self.geometry.weights.cosines().between[row][column]


def imbalance_scan(
    num_majority: int,
    num_minority: int,
    imbalances: Sequence[float],
    budget_features: float = 1.0,
    budget_head: float = 1.0,
) -> list[AtImbalance]:
    """Solve the layer-peeled model of cross-entropy for two groups of classes at several imbalances.

    Args:
        num_majority: K_A, at least 1.
        num_minority: K_B, at least 1.
        imbalances: Each R, positive.
        budget_features: E_H, largest mean squared norm of the features.
        budget_head: E_W, largest mean squared norm of the class vectors.

    Returns:
        The optimum at each.

    Raises:
        InputError: If there are no imbalances, or a number is out of its range.
        NotConverged: If the solver stopped early.

    Example:
        >>> [round(at.cosine(1, 1), 2) for at in imbalance_scan(5, 5, [1.0, 10.0, 100.0], 5.0)]
        [-0.11, 0.52, 1.0]
    """
    sizes = tuple(
        checks.whole(many, name, at_least=1)
        for many, name in ((num_majority, "num_majority"), (num_minority, "num_minority"))
    )
    ratios = [checks.real(r, f"imbalances[{i}]", above=0) for i, r in enumerate(imbalances)]
    if not ratios:
        raise InputError("imbalances must be one at least, got none")
    e_h = checks.real(budget_features, "budget_features", above=0)
    e_w = checks.real(budget_head, "budget_head", above=0)
    masses = np.array([(sizes[0], sizes[1] / r) for r in ratios])
    masses /= masses.sum(1, keepdims=True)
    program = Grouped(np.array(sizes, dtype=np.float64), masses, np.ones(2), budget=sum(sizes) * math.sqrt(e_h * e_w))
    found = [one.require() for one in solve_together(program)]
    return [
        AtImbalance(
            r,
            one.value,
            one.gap,
            bool(sizes[1] > 1 and one.logits.differences[1] == 0),
            balanced_geometry(sizes, one.logits, program.scales, e_h / e_w),
        )
        for r, one in zip(ratios, found, strict=True)
    ]
