"""The layer-peeled model as a semidefinite program (Fang et al. 2021): slow, and right without any derivation."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from collapselab.core import checks, extras
from collapselab.core.errors import InputError, NotConverged

Solver = Literal["CLARABEL", "SCS"]
"""An interior-point method of about eight digits, or a first-order method of about three."""

# Part of the largest eigenvalue below which another one is rounding.
_ROUNDING = 1e-12

_TOLERANCES = {"CLARABEL": ("tol_gap_abs", "tol_gap_rel", "tol_feas"), "SCS": ("eps_abs", "eps_rel")}
_STEPS = {"CLARABEL": "max_iter", "SCS": "max_iters"}

Status = Literal["optimal", "stopped"]


@dataclass(frozen=True, eq=False)
class Relaxed:
    """Where a solver of the semidefinite program ended.

    Attributes:
        value: The loss there; the minimum if the status is ``optimal``.
        status: ``optimal``, or ``stopped`` where the solver ran out of steps or precision.
        message: What the solver says of its end.
        gram: (2k, 2k) inner products of class means and class vectors, means first.
    """

    value: float
    status: Status
    message: str
    gram: Tensor

    @property
    def weights(self) -> Tensor:
        """(k, k) inner products of the class vectors."""
        k = len(self.gram) // 2
        return self.gram[k:, k:]

    @property
    def logits(self) -> Tensor:
        """(k, k) logits of a sample of each class; rows are classes of samples."""
        k = len(self.gram) // 2
        return self.gram[:k, k:]

    def require(self) -> "Relaxed":
        """Insist on an optimum.

        Returns:
            Itself.

        Raises:
            NotConverged: If the solver stopped early.
        """
        if self.status != "optimal":
            raise NotConverged(f"the semidefinite program ended as {self.message}")
        return self

    def factors(self) -> dict[str, Tensor]:
        """Class means and class vectors with these inner products, from the eigenvectors.

        Returns:
            ``means`` and ``weight``, (k, r) each, up to a rotation.
        """
        values, vectors = torch.linalg.eigh(self.gram)
        kept = values > _ROUNDING * values[-1]
        rows = vectors[:, kept] * values[kept].sqrt()
        k = len(rows) // 2
        return {"means": rows[:k], "weight": rows[k:]}


def semidefinite_relaxation(
    counts: Sequence[float],
    budget_features: float = 1.0,
    budget_head: float = 1.0,
    *,
    solver: Solver = "CLARABEL",
    tolerance: float = 1e-9,
    max_steps: int | None = None,
) -> Relaxed:
    r"""Minimise the cross-entropy of class means and class vectors over their inner products.

    Over positive semidefinite X of size 2K, with class means first: $\min\sum_k\tfrac{n_k}N\ell(X_{k,K+1..2K},k)$ with
    $\sum_{k\le K}X_{kk}\le KE_H$ and $\sum_{k>K}X_{kk}\le KE_W$ (review, eq. 34). Any X is a matrix of inner products
    in 2K dimensions, and its best logits have rank K-1 at most, so that this is no relaxation for d >= K-1.

    Args:
        counts: Weight of each class, positive: samples, also after weighting or oversampling.
        budget_features: E_H, largest mean squared norm of the class means.
        budget_head: E_W, largest mean squared norm of the class vectors.
        solver: Of cvxpy.
        tolerance: Of the solver, absolute and relative.
        max_steps: Most iterations; None for what the solver takes by itself.

    Returns:
        The end, with a status.

    Raises:
        InputError: If a count or a budget is not positive.
        NotConverged: If the solver failed and gave nothing.
    """
    shares = class_shares(counts)
    checks.real(budget_features, "budget_features", above=0)
    checks.real(budget_head, "budget_head", above=0)
    checks.one_of(solver, "solver", tuple(_TOLERANCES))
    cvxpy: Any = extras.require("cvxpy", extra="theory", purpose="solving the semidefinite program")
    k = len(shares)
    gram = cvxpy.Variable((2 * k, 2 * k), PSD=True)
    logits = gram[:k, k:]
    losses = cvxpy.log_sum_exp(logits, axis=1) - cvxpy.diag(logits)
    within = [
        cvxpy.trace(gram[:k, :k]) <= k * budget_features,
        cvxpy.trace(gram[k:, k:]) <= k * budget_head,
    ]
    program = cvxpy.Problem(cvxpy.Minimize(shares @ losses), within)
    settings: dict[str, Any] = dict.fromkeys(_TOLERANCES[solver], tolerance)
    if max_steps is not None:
        settings[_STEPS[solver]] = checks.whole(max_steps, "max_steps", at_least=1)
    _solve(program, cvxpy, solver, settings)
    if gram.value is None:
        raise NotConverged(f"the semidefinite program ended as {program.status}, without a point")
    found = torch.from_numpy(np.array(gram.value, dtype=np.float64))
    status: Status = "optimal" if program.status == "optimal" else "stopped"
    return Relaxed(float(program.value), status, str(program.status), (found + found.T) / 2)


def class_shares(counts: Sequence[float]) -> np.ndarray:
    """Weights of classes in the mean loss.

    Args:
        counts: Positive weights of two classes or more.

    Returns:
        (k,) of sum 1.

    Raises:
        InputError: If there is one class, or a weight is not positive.
    """
    if isinstance(counts, (int, float, str)) or len(counts) < 2:
        raise InputError(f"counts must be those of two classes or more, got {counts!r}")
    given = np.array([checks.real(n, f"counts[{k}]", above=0) for k, n in enumerate(counts)])
    return given / math.fsum(given)


def _solve(program: Any, cvxpy: Any, solver: str, settings: dict[str, Any]) -> None:
    """Run the solver; that it stopped early is a status here, and neither a warning nor an exception."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        try:
            program.solve(solver=solver, **settings)
        except cvxpy.error.SolverError as error:
            raise NotConverged(f"the semidefinite program failed: {error}") from error
