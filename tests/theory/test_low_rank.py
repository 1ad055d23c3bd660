"""Two thin factors for any convex loss: the exact model, a convex program, and honest early stops."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from collapselab.core.errors import InputError, NotConverged
from collapselab.theory import LayerPeeled, solve_low_rank

COUNTS = (12, 6, 6, 2, 1)


def squared_hinge(z: Tensor, y: Tensor) -> Tensor:
    return (1 - z.gather(1, y[:, None]) + z).clamp_min(0).square().sum(1) - 1


def convex_program(counts: tuple[int, ...], budget: float, loss: str) -> float:
    import cvxpy

    k, shares = len(counts), np.array(counts) / sum(counts)
    z: Any = cvxpy.Variable((k, k))
    if loss == "mse":
        losses = cvxpy.sum(cvxpy.square(z - np.eye(k)), axis=1) / 2
    else:
        own: Any = cvxpy.reshape(cvxpy.diag(z), (k, 1), order="C")
        losses = cvxpy.sum(cvxpy.square(cvxpy.pos(1 - own @ np.ones((1, k)) + z)), axis=1) - 1
    program = cvxpy.Problem(cvxpy.Minimize(shares @ losses), [cvxpy.normNuc(z) <= budget])
    program.solve(solver="CLARABEL")
    return float(program.value)


@pytest.mark.parametrize(("loss", "name"), [("mse", "mse"), (squared_hinge, "hinge")])
def test_any_convex_loss_has_the_value_of_its_convex_program(loss: Any, name: str) -> None:
    found = solve_low_rank(loss, COUNTS, 0.5, 0.4).require()
    assert found.gap <= 1e-6
    assert found.value == pytest.approx(convex_program(COUNTS, 5 * 0.2**0.5, name), abs=2e-6)
    assert float(found.means.square().sum()) <= 5 * 0.5 * (1 + 1e-12)
    assert float(found.weight.square().sum()) <= 5 * 0.4 * (1 + 1e-12)


def test_columns_are_added_until_nothing_is_left_to_gain() -> None:
    found = solve_low_rank("cross_entropy", COUNTS, 2.0, columns=1).require()
    assert found.means.shape[1] > 1
    assert found.value == pytest.approx(LayerPeeled(COUNTS, 5, 1.0, 2.0).minimum, abs=1e-6)


def test_an_early_stop_is_no_optimum() -> None:
    found = solve_low_rank("cross_entropy", COUNTS, 2.0, max_steps=2)
    assert (found.status, found.steps) == ("stopped", 2)
    assert found.value - LayerPeeled(COUNTS, 5, 1.0, 2.0).minimum <= found.gap
    with pytest.raises(NotConverged, match=r"stopped after 2 steps, at most .* above the minimum: not an optimum"):
        found.require()


@pytest.mark.slow
def test_sixty_unequal_classes() -> None:
    counts = [1000 * 0.01 ** (k / 59) for k in range(60)]
    found = solve_low_rank("cross_entropy", counts, 5.0).require()
    assert found.gap <= 1e-6


@pytest.mark.parametrize(
    ("counts", "settings", "message"),
    [
        ((5,), {}, "counts must be those of two classes or more"),
        ((5, 0), {}, r"counts\[1\] must be a finite number above 0, got 0"),
        ((5, 5), {"budget_features": 0.0}, "budget_features must be a finite number above 0"),
        ((5, 5), {"budget_head": 0.0}, "budget_head must be a finite number above 0"),
        ((5, 5), {"columns": 0}, "columns must be an integer of at least 1"),
        ((5, 5), {"max_steps": 0}, "max_steps must be an integer of at least 1"),
        ((5, 5), {"loss": "hinge"}, "loss must be 'cross_entropy', 'mse' or a function"),
    ],
)
def test_refuses(counts: tuple[int, ...], settings: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"loss": "mse", **settings}
    with pytest.raises(InputError, match=message):
        solve_low_rank(counts=counts, **given)


def test_refuses_a_loss_that_is_not_finite() -> None:
    with pytest.raises(InputError, match="loss must be finite"):
        solve_low_rank(lambda z, y: z.sum(1) * torch.inf, (3, 2))
