"""Solving `Grouped` programs: Newton's method for a few groups, L-BFGS for many, and what is certain of the end."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from collapselab.core.errors import NotConverged
from collapselab.theory._imbalance.grouped import Array, Grouped, Logits
from collapselab.theory._imbalance.grouped_coarse import coarser, lifted
from collapselab.theory._imbalance.grouped_dual import gap
from collapselab.theory._imbalance.grouped_factors import Factored
from collapselab.theory._imbalance.grouped_newton import descend
from collapselab.theory._imbalance.grouped_products import descend_by_products

# With more groups than this, second derivatives cost more than they save.
_FEW_GROUPS = 10

# Most steps of Newton's method, which takes about ten.
_MOST_STEPS = 200

# With more groups than this, those of similar classes are first taken together.
_MANY_GROUPS = 40

# Columns of the factors beyond those that the coarser solution needs, and what part of the largest singular value is
# put on columns and differences that it leaves at zero: a start there would stay there.
_SPARE_COLUMNS, _STIRRED = 16, 1e-4

# Part of the largest singular value below which another one is zero at an optimum that says so.
_VANISHED = 1e-9

Status = Literal["optimal", "stopped"]


@dataclass(frozen=True, eq=False)
class Solved:
    """Where a solver of a program ended.

    Attributes:
        logits: The logits.
        value: The objective there; the minimum, up to `gap`, if the status is ``optimal``.
        gap: What the value is above the minimum at most.
        status: ``optimal``, or ``stopped`` where the gap is larger than was asked for.
        price: The price of the nuclear norm, or the multiplier of its budget.
        steps: Steps taken.
    """

    logits: Logits
    value: float
    gap: float
    status: Status
    price: float
    steps: int

    def require(self) -> "Solved":
        """Insist on an optimum.

        Returns:
            Itself.

        Raises:
            NotConverged: If the solver stopped early.
        """
        if self.value == 0:
            raise NotConverged("the loss underflows to zero with a budget as large as this: not an optimum")
        if self.status != "optimal":
            raise NotConverged(
                f"the solver stopped after {self.steps} steps, at most {self.gap:.3g} above the minimum: not an optimum"
            )
        return self


def solve(program: Grouped, *, tolerance: float = 1e-7, max_steps: int | None = None) -> Solved:
    """Minimise a program.

    Args:
        program: Groups, masses, budget or price.
        tolerance: Largest gap of an optimum, as a part of the value.
        max_steps: Most steps; None for as many as either method may need.

    Returns:
        The end, with a rigorous gap and a status.
    """
    nothing = without_logits(program, max_steps=max_steps) if program.budget is None else None
    if nothing is not None and program.steepest(program.slopes(nothing)) <= program.price:
        return _judged(program, nothing, 0, tolerance)
    if program.num_groups <= _FEW_GROUPS:
        return _by_newton(program, 1, tolerance, max_steps)[0]
    return _by_products(program, tolerance, max_steps or 2000)


def solve_together(program: Grouped, *, tolerance: float = 1e-7) -> list[Solved]:
    """Minimise programs of the same few groups and one budget that differ in their masses, all at once.

    Args:
        program: Groups, a budget, and masses (m, g).
        tolerance: Largest gap of an optimum, as a part of the value.

    Returns:
        The end of each.
    """
    if program.num_groups > _FEW_GROUPS:
        return [solve(replace(program, masses=masses), tolerance=tolerance) for masses in program.masses]
    return _by_newton(program, len(program.masses), tolerance, None)


def _by_newton(program: Grouped, many: int, tolerance: float, max_steps: int | None) -> list[Solved]:
    factored = Factored(program, program.num_groups - 1)
    starts = np.repeat(factored.start(_first_size(program))[None], many, 0)
    walk = descend(factored, starts, max_steps=max_steps or _MOST_STEPS)
    singles = [program] if program.masses.ndim == 1 else [replace(program, masses=row) for row in program.masses]
    return [
        _judged(single, factored.logits(v), int(steps), tolerance)
        for single, v, steps in zip(singles, walk.v, walk.steps, strict=True)
    ]


def without_logits(program: Grouped, *, max_steps: int | None = None) -> Logits:
    """Logits of zero with the best bias.

    Args:
        program: Groups and masses.
        max_steps: Most steps for the bias; None for as many as it may need.

    Returns:
        The logits.
    """
    g = program.num_groups
    bias = _bias_alone(program, max_steps or _MOST_STEPS) if program.bias else np.zeros(g)
    return Logits(np.zeros(g), np.zeros((g, g)), bias)


def _bias_alone(program: Grouped, max_steps: int) -> Array:
    """The best bias where it is all there is: logarithms of shares, or less where it is decayed."""
    many, masses = program.sizes, np.asarray(program.masses, dtype=np.float64)
    total, decay = float(masses.sum()), program.decay_bias
    shares = np.log(masses / many)
    if decay == 0:
        return shares - many @ shares / many.sum()

    def value(b: Array) -> float:
        top = float(b.max())
        spread = top + float(np.log(many @ np.exp(b - top)))
        return total * spread - float(masses @ b) + decay / 2 * float(many @ b**2)

    bias = np.zeros_like(many)
    for _ in range(max_steps):
        odds = many * np.exp(bias - bias.max())
        odds /= odds.sum()
        slope = total * odds - masses + decay * many * bias
        step = np.linalg.solve(total * (np.diag(odds) - np.outer(odds, odds)) + decay * np.diag(many), slope)
        before, length = value(bias), 1.0
        while value(bias - length * step) > before and length > 1e-10:
            length /= 2
        if length <= 1e-10 or float(np.abs(step).max()) <= 1e-15 * max(1.0, float(np.abs(bias).max())):
            break
        bias = bias - length * step
    return bias


def _first_size(program: Grouped) -> float:
    """A singular value for the start: that of equal classes of the same mean weight and scale."""
    if program.budget is not None:
        return program.budget / float(program.sizes.sum())
    k = float(program.sizes.sum())
    root = 1 / float(np.sqrt(program.sizes @ program.scales**2 / k))
    strength = min(program.price * root, 0.9 / k)
    return root * float(np.log((1 - (k - 1) * strength) / strength))


def _judged(program: Grouped, logits: Logits, steps: int, tolerance: float) -> Solved:
    """The end with its gap; what has vanished is zero if that is as good."""
    above, value = gap(program, logits), program.objective(logits)
    exact = _cleared(program, logits)
    if exact is not None and (cleared := gap(program, exact)) <= max(above, 0.1 * tolerance * value):
        logits, above, value = exact, cleared, program.objective(exact)
    slopes = program.slopes(logits)
    price = program.price if program.budget is None else -program.inner(logits, slopes) / program.budget
    # A loss that underflows to zero says nothing of how good the logits are.
    status: Status = "optimal" if value > 0 and above <= tolerance * value else "stopped"
    return Solved(logits, value, above, status, price, steps)


def _cleared(program: Grouped, logits: Logits) -> Logits | None:
    """Logits whose vanishing singular values are zero, within the budget; None if none vanishes."""
    left, sizes, right = np.linalg.svd(logits.shared)
    floor = _VANISHED * max(float(sizes[0]), float(np.abs(logits.differences).max()))
    # The last of B is always zero.
    if (np.abs(logits.differences)[program.others > 0] > floor).all() and (sizes[:-1] > floor).all():
        return None
    differences = np.where(np.abs(logits.differences) > floor, logits.differences, 0.0)
    shared = (left * np.where(sizes > floor, sizes, 0.0)) @ right
    found = Logits(differences, shared, logits.bias)
    norm = program.norm(found)
    if program.budget is None or norm == 0:
        return found
    return Logits(differences * (program.budget / norm), shared * (program.budget / norm), logits.bias)


def _by_products(program: Grouped, tolerance: float, max_steps: int) -> Solved:
    """Truncated Newton steps from the solution of a coarser program, with more columns until nothing is gained."""
    start, steps = _first_factors(program, tolerance), 0
    while True:
        left = max_steps - steps
        walk = descend_by_products(start.factored, start.v, max_steps=left, enough=tolerance / 2)
        steps += walk.steps
        end = _judged(program, walk.logits, steps, tolerance)
        if end.status == "optimal" or start.columns == program.num_groups - 1 or steps >= max_steps:
            return end
        start = _factors_of(program, walk.logits, 2 * start.columns)


class _Start(NamedTuple):
    factored: Factored
    v: Array

    @property
    def columns(self) -> int:
        return self.factored.columns


def _first_factors(program: Grouped, tolerance: float) -> _Start:
    if program.num_groups <= _MANY_GROUPS:
        factored = Factored(program, program.num_groups - 1)
        return _Start(factored, factored.start(_first_size(program)))
    coarse = coarser(program, _MANY_GROUPS)
    found = lifted(program, coarse, solve(coarse.program, tolerance=tolerance).logits)
    sizes = np.linalg.svd(found.shared, compute_uv=False)
    return _factors_of(program, found, int((sizes > _VANISHED * sizes[0]).sum()) + _SPARE_COLUMNS)


def _factors_of(program: Grouped, logits: Logits, columns: int) -> _Start:
    """Balanced factors of logits, with a little along every unused column so that none stays unused."""
    factored = Factored(program, min(columns, program.num_groups - 1))
    left, sizes, right = np.linalg.svd(logits.shared)
    r = factored.columns
    roots = np.sqrt(np.maximum(sizes[:r], _STIRRED * sizes[0]) / 2)
    spread = np.sqrt(np.maximum(logits.differences, _STIRRED * sizes[0]) * program.others)
    parts = [spread, (left[:, :r] * roots).ravel(), (right[:r].T * roots).ravel()]
    v = np.concatenate([*parts, logits.bias if program.bias else np.zeros(0)])
    return _Start(factored, factored.retracted(v))
