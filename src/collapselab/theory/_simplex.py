"""What balanced problems whose optimum is a simplex ETF have in common: one margin fixes everything."""

import math

import torch

from collapselab.geometry import simplex_etf
from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._geometry import Geometry
from collapselab.theory._problem import Problem, State


def simplex_state(problem: Problem, margin: float, generator: torch.Generator | None, *, bias: float = 0.0) -> State:
    r"""The balanced factors of logits $a\,\Pi_K\otimes 1_n^T$ with the margin a, features at their class means.

    Args:
        problem: Balanced classes; d >= K-1.
        margin: a, the logit of a sample's own class minus that of another.
        generator: Turns it at random; None for a fixed position.
        bias: Entry of the bias, where there is one.

    Returns:
        Features and head: $w_k=\sqrt{\rho/K}\,m_k$ and $h_{k,i}=s\,w_k$ with $s=\sqrt{\lambda_W/(\lambda_Hn)}$.
    """
    k, n = problem.num_classes, problem.per_class
    ratio = math.sqrt(problem.decay_head / (problem.decay_features * n))
    length = math.sqrt(margin * (k - 1) / (k * ratio))
    weight = length * simplex_etf(k, problem.num_features, generator=generator)
    state = {"h": problem.spread(ratio * weight), "weight": weight}
    if problem.bias != "none":
        state["bias"] = torch.full((k,), bias, dtype=torch.float64)
    return state


def simplex_geometry(problem: Problem, margin: float, *, bias: float = 0.0) -> Geometry:
    """Inner products in `simplex_state`.

    Args:
        problem: Balanced classes.
        margin: The logit of a sample's own class minus that of another.
        bias: Entry of the bias.

    Returns:
        The geometry.
    """
    k, n = problem.num_classes, problem.per_class
    ratio = math.sqrt(problem.decay_head / (problem.decay_features * n))
    logits = BlockMatrix.uniform(k, margin * (1 - 1 / k), -margin / k)
    return Geometry(logits.scaled(1 / ratio), logits.scaled(ratio), logits, (bias,))
