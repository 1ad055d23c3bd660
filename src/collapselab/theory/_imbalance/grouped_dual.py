"""How far a point of a `Grouped` program is from its minimum at most: by duality, from blocks alone."""

import numpy as np

from collapselab.theory._imbalance.grouped import Array, Grouped, Logits, Slopes


def gap(program: Grouped, at: Logits) -> float:
    r"""What the objective is above its minimum at most: rigorous, up to rounding.

    With a budget $\rho$ the loss g is convex, and so nowhere below
    $g(Z)-\langle\nabla g,Z\rangle-\rho\|\nabla g\|_2$; that is the gap of Frank and Wolfe. With a price the objective
    is nowhere below `dual_bound`.

    Args:
        program: Groups, masses, budget or price.
        at: Logits; within the budget where there is one.

    Returns:
        A number of at least 0.
    """
    slopes = program.slopes(at)
    if program.budget is None:
        return max(0.0, program.objective(at) - dual_bound(program, slopes))
    return max(0.0, program.inner(at, slopes) + program.budget * program.steepest(slopes))


def dual_bound(program: Grouped, slopes: Slopes) -> float:
    r"""The dual value at a multiple of the gradient, as in `certificates.certificate`, from blocks alone.

    For probabilities p of the classes, with columns of the right sum where the bias is free, and
    $U_k=m_k(p_k-e_k)$ for classes of mass m, the bound is the mean entropy of $s\,p_k+(1-s)e_k$, less
    $s^2\|U^\top1\|^2/(2\lambda_b)$ where the bias is decayed; s is at most 1 and such that the spectral norm of the
    gradient by Z is at most the price.

    Args:
        program: Groups, with a price.
        slopes: Derivatives at any logits: how good they are decides how tight the bound is, not whether it holds.

    Returns:
        The bound.
    """
    wrong = slopes.wrong
    if program.bias and program.decay_bias == 0:
        wrong = _transported(program, wrong)
    found = program.of_probabilities(slopes.value, wrong)
    size = program.steepest(found)
    s = min(1.0, program.price / size) if size > 0 else 1.0
    bound = float(program.masses @ _entropies(program, s * wrong))
    if program.decay_bias > 0:
        bound -= s * s * float((found.bias**2 / program.sizes).sum()) / (2 * program.decay_bias)
    return bound


def _entropies(program: Grouped, wrong: Array) -> Array:
    """Entropy of the probabilities of a sample of each group."""
    missed = np.minimum(wrong.sum(1), 1.0)
    own = np.zeros_like(missed)
    inside = missed < 1
    own[inside] = -(1 - missed[inside]) * np.log1p(-missed[inside])
    there = wrong > 0
    terms = np.zeros_like(wrong)
    terms[there] = wrong[there] * (program.log_many[there] - np.log(wrong[there]))
    return own + terms.sum(1)


def _transported(program: Grouped, wrong: Array) -> Array:
    """Probabilities whose mean over samples is the share of each class: too much goes where something is missing."""
    own, sizes = 1 - wrong.sum(1), program.sizes
    means = (program.masses @ wrong + program.masses * own) / sizes
    wanted = program.masses / sizes
    missing = sizes * np.maximum(wanted - means, 0.0)
    if missing.sum() == 0:
        return wrong
    part = np.maximum(means - wanted, 0.0) / np.maximum(means, np.finfo(float).tiny)
    taken = wrong @ part + own * part
    given = missing / missing.sum()
    return wrong * (1 - part) + taken[:, None] * given * (1 - np.eye(len(sizes)) / sizes)
