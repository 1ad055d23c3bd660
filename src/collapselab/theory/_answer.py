"""The answer of a squared-error model: what is least, and two factors that attain it."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from collapselab.geometry import orthogonal_frame
from collapselab.theory._balanced_squares.orthogonal import nonnegative_frame
from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._geometry import Geometry
from collapselab.theory._problem import Problem, State


class Factors(NamedTuple):
    """Head and class means in the coordinates of the directions that are kept, with equal decay on both.

    Attributes:
        left: (k, r), rows of the head.
        right: (k, r), class means.
    """

    left: Tensor
    right: Tensor


@dataclass(frozen=True, eq=False)
class Answer:
    r"""A minimum and where it is attained.

    Attributes:
        minimum: The value.
        geometry: Inner products at every minimiser; None where minimisers differ in them.
        factors: Gives the factors of one minimiser.
        bias: Gives its (k,) bias.
        reach: Largest squared singular value of what the features can express of the labels; all is zero unless its
            root is above $N\sqrt{\lambda_W\lambda_H}$.
    """

    minimum: float
    geometry: Geometry | None
    factors: Callable[[], Factors]
    bias: Callable[[], Tensor]
    reach: float

    def state(self, problem: Problem, generator: torch.Generator | None) -> State:
        """The minimiser as features and head.

        Args:
            problem: The problem that was answered.
            generator: Turns it at random, or chooses among non-negative positions.

        Returns:
            Features and head.
        """
        return placed(problem, self.factors(), self.bias(), generator)


def placed(problem: Problem, factors: Factors, bias: Tensor, generator: torch.Generator | None) -> State:
    """Factors as features and head: balanced between the two, and turned into d features.

    Args:
        problem: Sizes and decay.
        factors: Head and class means in r <= d coordinates.
        bias: (k,), used where there is one.
        generator: Turns them at random; where features are not negative, chooses which take which coordinate.

    Returns:
        Features and head.
    """
    r, d = factors.left.shape[1], problem.num_features
    frame_of = nonnegative_frame if problem.nonnegative else orthogonal_frame
    frame = frame_of(r, d, generator=generator) if r else torch.zeros(0, d, dtype=torch.float64)
    ratio = (problem.decay_head / problem.decay_features) ** 0.25
    state = {"h": problem.spread(ratio * factors.right @ frame), "weight": factors.left @ frame / ratio}
    if problem.bias != "none":
        state["bias"] = bias
    return state


def equal_sizes(problem: Problem) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Groups of classes of one size, the largest classes first.

    Args:
        problem: Sizes of classes.

    Returns:
        Classes in each group, and samples of each of them.
    """
    found = [(len(list(same)), count) for count, same in groupby(sorted(problem.counts, reverse=True))]
    return tuple(many for many, _ in found), tuple(count for _, count in found)


def diagonal(sizes: tuple[int, ...], own: tuple[float, ...]) -> BlockMatrix:
    """A diagonal matrix over groups of classes.

    Args:
        sizes: Classes in each group.
        own: Diagonal entry of each.

    Returns:
        The matrix.
    """
    return BlockMatrix(sizes, own, ((0.0,) * len(sizes),) * len(sizes))
