"""The layer-peeled model with equal classes: row 6 of the acceptance table and the other values of the review."""

import math
from typing import Any

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import CrossEntropyFeatures, LayerPeeledBalanced, Problem

VALUES = {
    4: (0.58265765, 0.14163989, 0.04330494),
    10: (1.37693492, 0.55978152, 0.23751506),
    100: (3.61237731, 2.42874248, 1.62113943),
}


@pytest.mark.parametrize("classes", VALUES)
def test_minimum_depends_on_the_product_of_budgets(classes: int) -> None:
    for product, expected in zip((1.0, 5.0, 10.0), VALUES[classes], strict=True):
        for energy in (0.5, 1.0, 4.0):
            landscape = LayerPeeledBalanced(classes, 3, classes, energy, product / energy)
            assert landscape.minimum == pytest.approx(expected, abs=1e-8)
    assert LayerPeeledBalanced(10, 2, 9, 1.0, 5.0).minimum == pytest.approx(0.5597815240, abs=1e-10)


def test_budgets_are_multipliers_of_decay() -> None:
    """The optimum with decay is that of its own norms as budgets."""
    problem = Problem.balanced(4, 10, 8, decay_head=5e-3, decay_features=2e-3)
    decayed = CrossEntropyFeatures(problem)
    state = decayed.minimiser()
    head, features = (float(state[name].square().sum(1).mean()) for name in ("weight", "h"))
    budget = LayerPeeledBalanced(4, 10, 8, head, features)
    assert budget.minimum == pytest.approx(decayed.minimum - float(problem.penalty(state)), rel=1e-12)
    other = budget.minimiser(torch.Generator().manual_seed(0))
    torch.testing.assert_close(other["h"] @ other["weight"].T, state["h"] @ state["weight"].T)


def test_chart_rescales_what_is_over_budget() -> None:
    landscape = LayerPeeledBalanced(3, 2, 4, 1.0, 2.0)
    state = {"h": torch.ones(6, 4, dtype=torch.float64), "weight": 0.1 * torch.ones(3, 4, dtype=torch.float64)}
    charted = landscape.chart(state)
    assert float(charted["h"].square().sum(1).mean()) == pytest.approx(2.0)
    assert charted["weight"].equal(state["weight"])
    assert math.isclose(float(charted["h"].std()), 0.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_features": 1}, "num_features must be at least 2, got 1"),
        ({"energy_head": 0.0}, "energy_head must be a finite number above 0, got 0"),
        ({"energy_features": -1.0}, "energy_features must be"),
        ({"per_class": 0}, "per_class must be an integer of at least 1, got 0"),
    ],
)
def test_bad_settings(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LayerPeeledBalanced(**({"num_classes": 3, "per_class": 2, "num_features": 4} | fields))
