"""The convex program behind an unconstrained-features model, solved as such: slow, and right without any derivation."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from collapselab.core import checks, extras
from collapselab.core.errors import InputError, NotConverged
from collapselab.theory._problem import Problem


@dataclass(frozen=True, eq=False)
class ConvexOptimum:
    """The solution of the convex program.

    Attributes:
        value: Its minimum, which is the one of the unconstrained model if there are as many features as `logits` have
            rank, and otherwise a lower bound.
        logits: (k, k) logits of a sample of each class, without bias; rows are classes of samples.
        bias: (k,) zero where there is none.
    """

    value: float
    logits: Tensor
    bias: Tensor


def solve_convex_program(
    problem: Problem, loss: Literal["cross_entropy", "mse"] = "cross_entropy", *, tolerance: float = 1e-10
) -> ConvexOptimum:
    r"""Minimise mean loss plus $\sqrt{\lambda_W\lambda_H}\,\|Z\|_*$ plus decay of the bias, for any class sizes.

    Samples of a class have the same logits: averaging within classes raises neither a convex loss nor the nuclear
    norm. With one row of logits a class in M, $\|Z\|_*$ is the nuclear norm of the rows of M times $\sqrt{n_k}$. Meant
    for up to about twenty classes, as an oracle for closed forms.

    Args:
        problem: Sizes and decay; features of either sign.
        loss: ``cross_entropy`` in nats, or ``mse``, half of the squared distance from the one-hot label.
        tolerance: Of the interior-point method, absolute and relative.

    Returns:
        Minimum and where it is.

    Raises:
        InputError: If features cannot be negative.
        NotConverged: If the solver fails.
    """
    if problem.nonnegative:
        raise InputError("nonnegative must be false: that is no convex program in the logits, got true")
    checks.one_of(loss, "loss", ("cross_entropy", "mse"))
    cvxpy: Any = extras.require("cvxpy", extra="theory", purpose="solving the convex program")
    k, counts = problem.num_classes, np.array(problem.counts, dtype=np.float64)
    matrix, bias = cvxpy.Variable((k, k)), cvxpy.Variable(k)
    logits = matrix + np.ones((k, 1)) @ cvxpy.reshape(bias, (1, k), order="C")
    if loss == "cross_entropy":
        losses = cvxpy.log_sum_exp(logits, axis=1) - cvxpy.diag(logits)
    else:
        losses = cvxpy.sum(cvxpy.square(logits - np.eye(k)), axis=1) / 2
    weight = math.sqrt(problem.decay_head * problem.decay_features)
    decay = weight * cvxpy.normNuc(np.diag(np.sqrt(counts)) @ matrix)
    objective = counts / problem.num_samples @ losses + decay + problem.decay_bias / 2 * cvxpy.sum_squares(bias)
    program = cvxpy.Problem(cvxpy.Minimize(objective), [bias == 0] if problem.bias == "none" else [])
    settings = {name: tolerance for name in ("tol_gap_abs", "tol_gap_rel", "tol_feas")}
    program.solve(solver=cvxpy.CLARABEL, **settings)
    if program.status not in ("optimal", "optimal_inaccurate"):
        raise NotConverged(f"the convex program ended as {program.status}")
    found = (torch.from_numpy(np.array(x.value, dtype=np.float64)) for x in (matrix, bias))
    return ConvexOptimum(float(program.value), *found)
