"""Saddles of unconstrained-features models: the table of the specification, and the way down by its curvature."""

import math

import pytest
import torch

from collapselab.core.errors import InputError, NotKnown
from collapselab.theory import CrossEntropyFeatures, FocalFeatures, Problem
from collapselab.theory._convex.sample_losses import sample_losses
from collapselab.theory._simplex import simplex_state
from collapselab.theory.saddles import escape_direction, saddle, widened

PROBLEM = Problem.balanced(5, 7, 8, decay_head=4e-3, decay_features=2e-3)


def value(problem: Problem, state, loss) -> float:
    return float(sample_losses(loss)(problem.logits(state), problem.labels).mean() + problem.penalty(state))


def moved(state, direction, step: float):
    return {name: x + step * direction[name] for name, x in state.items()}


def curvature_by_the_chain_rule(problem: Problem, state, direction, loss) -> float:
    """Second derivative along the direction by automatic differentiation."""
    at = torch.zeros((), dtype=torch.float64, requires_grad=True)
    there = {name: x + at * direction[name] for name, x in state.items()}
    total = sample_losses(loss)(problem.logits(there), problem.labels).mean() + problem.penalty(there)
    (slope,) = torch.autograd.grad(total, at, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, at)
    assert abs(slope.item()) < 1e-8
    return float(curvature)


def zero(problem: Problem):
    return {name: 0 * x for name, x in problem.draw(torch.Generator()).items()}


def test_at_zero_it_is_the_special_case() -> None:
    found = escape_direction(PROBLEM, zero(PROBLEM))
    assert found.curvature == pytest.approx(-2 * (1 / (5 * math.sqrt(7)) - math.sqrt(8e-6)), rel=1e-12)
    assert curvature_by_the_chain_rule(PROBLEM, zero(PROBLEM), found.direction, "cross_entropy") == pytest.approx(
        found.curvature, rel=1e-10
    )


def test_the_saddle_of_two_features_is_that_of_the_specification() -> None:
    state = saddle(PROBLEM, 2, torch.Generator().manual_seed(0))
    assert value(PROBLEM, state, "cross_entropy") == pytest.approx(0.248262, abs=1e-6)
    assert escape_direction(PROBLEM, state).curvature == pytest.approx(-0.0090498, abs=1e-7)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", lambda z, y: z.exp().sum(1) - z.gather(1, y[:, None])[:, 0]])
@pytest.mark.parametrize("bias", ["none", "free", "decay"])
def test_every_padded_saddle_has_the_stated_way_down(loss, bias) -> None:
    settings = {"bias": bias, "decay_bias": 0.05 if bias == "decay" else 0.0}
    problem = Problem((5, 3, 2, 2), 6, decay_head=4e-3, decay_features=2e-3, **settings)
    state = saddle(problem, 1, torch.Generator().manual_seed(1), loss)
    found = escape_direction(problem, state, loss)
    assert found.curvature < 0
    exact = curvature_by_the_chain_rule(problem, state, found.direction, loss)
    assert exact == pytest.approx(found.curvature, abs=1e-8)
    for step in (1e-2, -1e-2):
        gain = value(problem, moved(state, found.direction, step), loss) - value(problem, state, loss)
        assert gain == pytest.approx(step**2 / 2 * found.curvature, rel=1e-2)
        assert gain < 0


@pytest.mark.parametrize("group", [2, 3, 6])
def test_classes_of_the_focal_loss_that_coincide_in_groups_are_saddles(group: int) -> None:
    # Six classes in groups: logits of a margin between groups, and the margin at which nothing is gained by scaling.
    landscape = FocalFeatures(Problem.balanced(6, 1, 6, decay_head=0.1, decay_features=0.1), 3.0)
    groups = 6 // group
    if group == 6:
        state = zero(landscape.problem)
    else:
        few = Problem.balanced(groups, 1, 6, decay_head=0.1, decay_features=0.1)
        margins = torch.linspace(0, 12, 120_001, dtype=torch.float64)
        p = 1 / (group + (6 - group) * (-margins).exp())
        total = -((1 - p) ** 3) * p.log() + (6 - group) * 0.1 * margins
        small = simplex_state(few, float(margins[total.argmin()]), None)
        state = {name: x.repeat_interleave(group, 0) for name, x in small.items()}
    problem, loss = landscape.problem, landscape.sample_losses
    found = escape_direction(problem, state, loss)
    assert found.curvature < -1e-3
    assert curvature_by_the_chain_rule(problem, state, found.direction, loss) == pytest.approx(
        found.curvature, abs=1e-4
    )


def test_there_is_no_way_down_from_a_minimum_or_with_all_features_in_use() -> None:
    best = CrossEntropyFeatures(PROBLEM)
    smaller = {name: 1.01 * x for name, x in best.minimiser().items()}  # its gradient is smaller still
    with pytest.raises(NotKnown, match="no way down: the gradient has spectral norm"):
        escape_direction(PROBLEM, smaller)
    full = PROBLEM.draw(torch.Generator().manual_seed(0))
    with pytest.raises(NotKnown, match="all 8 features are in use"):
        escape_direction(PROBLEM, full)


def test_refuses() -> None:
    with pytest.raises(InputError, match="width must be below num_features, 8, got 8"):
        saddle(PROBLEM, 8, torch.Generator())
    with pytest.raises(InputError, match="num_features must be at least 8, got 3"):
        widened(zero(PROBLEM), 3)
    with pytest.raises(InputError, match="loss must be 'cross_entropy', 'mse' or a function"):
        escape_direction(PROBLEM, zero(PROBLEM), "hinge")
    with pytest.raises(InputError, match="loss must return one number a sample"):
        escape_direction(PROBLEM, zero(PROBLEM), lambda z, y: z.sum())
    free = Problem.balanced(3, 2, 4, decay_head=0.0, decay_features=1.0)
    with pytest.raises(InputError, match="decay_head and decay_features must be above 0"):
        escape_direction(free, zero(free))
