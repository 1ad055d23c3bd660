"""A local minimiser of non-negative features beside a bias: a class without features, which only the bias tells."""

import math

import torch

from collapselab.theory._answer import Factors, placed
from collapselab.theory._balanced_squares.balanced import bias_weight, strength
from collapselab.theory._balanced_squares.levels import two_levels
from collapselab.theory._problem import Problem, State


def untold_class(problem: Problem) -> tuple[float, State] | None:
    r"""The state in which all features of the last class are zero and those of the others are at their best.

    If every unit is used by some other class, the loss rises as a feature of the last class grows, and below zero it
    must not go: it stays there, although there are better solutions. With $t=\lambda_b/(1+\lambda_b)$,
    $s=(1+t(K-1))/K$ and $s_2=(1+t^2(K-1))/K$ the other K-1 classes have logits with K-2 singular values $1-c$ and one
    $(\sqrt{s_2}-c)/s$; the latter must not be the smaller one, or their features would have to be negative.

    Args:
        problem: Balanced classes, features that are not negative, a bias, d >= K.

    Returns:
        Its loss, and the state; None where there is none of this form.
    """
    k, c, t = problem.num_classes, strength(problem), bias_weight(problem)
    inner, outer = (1 + t * (k - 1)) / k, (1 + t * t * (k - 1)) / k
    common = (math.sqrt(outer) - c) / inner
    if c >= 1 or common < 1 - c:
        return None
    gain = (k - 2) * (1 - c) ** 2 + inner * common**2
    told = two_levels(k - 1, 1 - c, common) if k > 2 else two_levels(1, 0.0, common)
    bias_free = torch.eye(k, dtype=torch.float64) - (1 - t) / k
    # Pi + t J/K in front of the labels of all but one class, made orthonormal.
    polar_root = two_levels(k - 1, 1.0, 1 / math.sqrt(outer)).dense()
    directions = bias_free[:, : k - 1] @ polar_root
    logits = directions @ told.dense()
    root = two_levels(k - 1, math.sqrt(1 - c), math.sqrt(common)).dense()
    size = problem.per_class**0.25
    right = torch.cat([root, torch.zeros(1, k - 1, dtype=torch.float64)]) / size
    bias = (1 - t) * (1 - logits.sum(1)) / k
    return (k - 1 + t - gain) / (2 * k), placed(problem, Factors(directions @ root * size, right), bias, None)
