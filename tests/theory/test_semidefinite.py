"""The semidefinite program: recovery of factors, both solvers, and how it says that it stopped early."""

import pytest
import torch

from collapselab.core.errors import InputError, NotConverged
from collapselab.theory import LayerPeeled, semidefinite_relaxation

COUNTS = (20, 20, 20, 2, 2, 2)


def test_factors_have_the_inner_products_and_use_up_both_budgets() -> None:
    found = semidefinite_relaxation(COUNTS, 3.0, 0.5).require()
    factors = found.factors()
    both = torch.cat([factors["means"], factors["weight"]])
    torch.testing.assert_close(both @ both.T, found.gram, rtol=0, atol=1e-6)
    assert float(factors["means"].square().sum()) == pytest.approx(6 * 3.0, rel=1e-6)
    assert float(factors["weight"].square().sum()) == pytest.approx(6 * 0.5, rel=1e-6)
    shares = torch.tensor(COUNTS).double() / sum(COUNTS)
    logits = factors["means"] @ factors["weight"].T
    value = float(shares @ (logits.logsumexp(1) - logits.diagonal()))
    assert value == pytest.approx(LayerPeeled(COUNTS, 6, 0.5, 3.0).minimum, abs=1e-6)


def test_scs_is_good_to_three_digits_in_cosines() -> None:
    for imbalance in (10, 13):  # on both sides of the threshold
        counts = (imbalance,) * 5 + (1,) * 5
        found = semidefinite_relaxation(counts, 5.0, solver="SCS", tolerance=1e-5)
        weights = found.weights
        cosine = float(weights[8, 9] / (weights[8, 8] * weights[9, 9]).sqrt())
        expected = LayerPeeled(counts, 10, 1.0, 5.0).geometry().weights.cosines().between[1][1]
        assert cosine == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(("solver", "steps"), [("CLARABEL", 4), ("SCS", 30)])
def test_an_early_stop_is_no_optimum(solver: str, steps: int) -> None:
    found = semidefinite_relaxation(COUNTS, solver=solver, max_steps=steps)  # pyright: ignore[reportArgumentType]
    assert found.status == "stopped"
    with pytest.raises(NotConverged, match="the semidefinite program ended as"):
        found.require()


def test_a_failure_of_the_solver_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import cvxpy

    def fails(*_: object, **__: object) -> None:
        raise cvxpy.error.SolverError("no luck")

    monkeypatch.setattr(cvxpy.Problem, "solve", fails)
    with pytest.raises(NotConverged, match="the semidefinite program failed: no luck"):
        semidefinite_relaxation(COUNTS)
    monkeypatch.setattr(cvxpy.Problem, "solve", lambda *_, **__: None)
    with pytest.raises(NotConverged, match="without a point"):
        semidefinite_relaxation(COUNTS)


@pytest.mark.parametrize(
    ("counts", "settings", "message"),
    [
        ((5,), {}, "counts must be those of two classes or more"),
        ((5, 0), {}, r"counts\[1\] must be a finite number above 0, got 0"),
        ((5, -1), {}, r"counts\[1\] must be a finite number above 0"),
        ((5, 5), {"budget_features": 0.0}, "budget_features must be a finite number above 0"),
        ((5, 5), {"budget_head": -2.0}, "budget_head must be a finite number above 0"),
        ((5, 5), {"solver": "MOSEK"}, "solver must be one of"),
        ((5, 5), {"max_steps": 0}, "max_steps must be an integer of at least 1"),
    ],
)
def test_refuses(counts: tuple[int, ...], settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        semidefinite_relaxation(counts, **settings)  # pyright: ignore[reportArgumentType]
