"""Gradient flow beside the exact solution of linear equations, and the orders of its two pairs."""

import math

import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError, NotConverged
from collapselab.training import LOSSES
from collapselab.training.optimisers._runge_kutta import PAIRS, Flow
from collapselab.training.optimisers.gradient_flow import GradientFlow
from lent_work import Lent, built, least_squares, matrices, run, squared
from tolerances import EXACT, ORDER, REFERENCE, Relative

METHODS = list(PAIRS)
START = torch.tensor([0.5, -1.0, 2.0, 1.0], dtype=torch.float64)


def exact(time: float, *, decay: torch.Tensor) -> torch.Tensor:
    """w' = -(A'A/n + D) w + A'b/n: the fixed point, and a matrix exponential for the way there."""
    a, b = matrices()
    field = a.T @ a / len(b) + torch.diag(decay)
    rest = torch.linalg.solve(field, a.T @ b / len(b))
    return rest + torch.linalg.matrix_exp(-time * field) @ (START - rest)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("exempt", [False, True])
def test_matrix_exponential(method: str, exempt: bool) -> None:
    """Ten steps of time 0.3, the last parameter with and without decay."""
    work = least_squares(*matrices(), start=START)
    optimiser = GradientFlow(
        learning_rate=0.3, weight_decay=0.2, method=method, relative_tolerance=1e-7, absolute_tolerance=1e-8
    )
    run(optimiser, work, built(optimiser, work, **({"weight_decay": 0.0} if exempt else {})), steps=10)
    decay = torch.tensor([0.2, 0.2, 0.2, 0.0 if exempt else 0.2], dtype=torch.float64)
    Relative("tolerance of the flow", 1e-6).floor(1.0).check(work.point, exact(3.0, decay=decay))


def pendulum() -> Lent:
    """A loss that is no quadratic: sum of w^4/4 + sin(w)."""
    w = nn.Parameter(torch.tensor([1.0, -0.5], dtype=torch.float64))
    return Lent(
        [w],
        lambda rows: (w**4 / 4 + torch.sin(w)).sum().expand(len(rows), 1),
        torch.zeros(1, dtype=torch.float64),
        lambda outputs, _y: outputs.logits[:, 0],
    )


def fixed(work: Lent, method: str, *, substeps: int) -> torch.Tensor:
    """The flow over a time of 1 in equal substeps, whatever the error."""
    flow = Flow(
        [{"params": work.parameters}], PAIRS[method], lr=1 / substeps, weight_decay=0.0, relative=1e9, absolute=1e9
    )
    optimiser = GradientFlow(method=method)
    optimiser.step(work, flow)
    flow.state[work.parameters[0]]["size"] = math.inf
    for _ in range(substeps - 1):
        optimiser.step(work, flow)
    return work.point


def classical(w: float, *, substeps: int) -> float:
    """w' = -(w^3 + cos w) over a time of 1 by the classical fourth-order method, in plain Python."""

    def field(at: float) -> float:
        return -(at**3 + math.cos(at))

    h = 1 / substeps
    for _ in range(substeps):
        k1 = field(w)
        k2 = field(w + h / 2 * k1)
        k3 = field(w + h / 2 * k2)
        k4 = field(w + h * k3)
        w += h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return w


@pytest.mark.parametrize("method", METHODS)
def test_order_of_convergence(method: str) -> None:
    """Error after a time of 1 on a loss that is no quadratic."""
    truth = torch.tensor([classical(w, substeps=5000) for w in (1.0, -0.5)], dtype=torch.float64)
    counts = [10, 20, 40]
    errors = [float((fixed(pendulum(), method, substeps=count) - truth).abs().max()) for count in counts]
    ORDER.check([1 / count for count in counts], errors, order=PAIRS[method].order)


@pytest.mark.parametrize("method", METHODS)
def test_the_tables_are_consistent(method: str) -> None:
    """Weights of the solution add up to 1, those of the error to 0; each stage but the last has its own row."""
    pair = PAIRS[method]
    assert sum(pair.stages[-1]) == pytest.approx(1, abs=1e-15)
    assert sum(pair.error) == pytest.approx(0, abs=1e-15)
    assert [len(row) for row in pair.stages] == list(range(1, len(pair.error)))


@pytest.mark.parametrize("method", METHODS)
def test_error_follows_the_tolerance(method: str) -> None:
    """A hundred times smaller tolerances give an error at least ten times smaller."""
    errors = []
    for tolerance in (1e-4, 1e-6, 1e-8):
        work = least_squares(*matrices(), start=START)
        optimiser = GradientFlow(
            learning_rate=2.0, method=method, relative_tolerance=tolerance, absolute_tolerance=tolerance
        )
        run(optimiser, work, built(optimiser, work), steps=1)
        errors.append(float((work.point - exact(2.0, decay=torch.zeros(4, dtype=torch.float64))).abs().max()))
    assert errors[1] < errors[0] / 10
    assert errors[2] < errors[1] / 10


def test_one_evaluation_starts_all_and_stages_are_used_twice() -> None:
    """With room for a whole step in one substep: 3 evaluations a step and one before the first."""
    work = least_squares(*matrices(), start=START)
    optimiser = GradientFlow(learning_rate=1e-3)
    stepper = built(optimiser, work)
    run(optimiser, work, stepper, steps=2)
    before = work.evaluations
    run(optimiser, work, stepper, steps=5)
    assert work.evaluations - before == 5 * 3


def test_stiff_fields_are_followed() -> None:
    """Curvatures 1 and 900 over a time of 1: the fast one decays, the slow one is exact."""
    a = torch.diag(torch.tensor([1.0, 30.0], dtype=torch.float64)) * math.sqrt(2)
    start = torch.ones(2, dtype=torch.float64)
    work, optimiser = (
        least_squares(a, torch.zeros(2, dtype=torch.float64), start=start),
        GradientFlow(learning_rate=1.0),
    )
    run(optimiser, work, built(optimiser, work), steps=1)
    Relative("tolerance of the flow", 1e-4).floor(1.0).check(work.point, [math.exp(-1), 0.0])


def test_reports_the_loss_before_the_step() -> None:
    work, optimiser = least_squares(*matrices(), start=START), GradientFlow(learning_rate=0.5)
    stepper = built(optimiser, work)
    for _ in range(3):
        expected = float(work.evaluate().sum())
        assert float(optimiser.step(work, stepper)) == pytest.approx(expected, rel=1e-6)


def test_the_slope_that_is_kept_is_the_field() -> None:
    work, optimiser = least_squares(*matrices(), start=START), GradientFlow(weight_decay=0.5)
    stepper = built(optimiser, work)
    run(optimiser, work, stepper, steps=3)
    a, b = matrices()
    expected = -(a.T @ (a @ work.point - b) / len(b) + 0.5 * work.point)
    kept = torch.cat([stepper.state[parameter]["slope"] for parameter in work.parameters])
    REFERENCE.floor(1.0).check(kept, expected)


def test_a_field_that_ends_is_said_so_and_the_parameters_stay_where_it_was() -> None:
    """w' = -1/w from w = -1 reaches 0, where the field is infinite, at time 1/2."""
    w = nn.Parameter(torch.tensor([-1.0], dtype=torch.float64))
    work = Lent(
        [w],
        lambda rows: torch.log(-w).expand(len(rows), 1),
        torch.zeros(1, dtype=torch.float64),
        lambda o, _y: o.logits[:, 0],
    )
    optimiser = GradientFlow(learning_rate=1.0)
    with pytest.raises(NotConverged, match=r"a substep would have to be shorter than 1e-12 of the time 1 of a step"):
        run(optimiser, work, built(optimiser, work), steps=1)
    assert -0.1 < w.item() < 0


def test_at_rest_nothing_moves() -> None:
    work = least_squares(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    optimiser = GradientFlow(learning_rate=3.0)
    assert run(optimiser, work, built(optimiser, work), steps=2) == [0.0, 0.0]
    EXACT.check(work.point, torch.zeros(3, dtype=torch.float64))


def test_parameters_that_the_loss_does_not_see_only_decay() -> None:
    used, unused = (nn.Parameter(torch.ones(1, dtype=torch.float64)) for _ in range(2))
    work = Lent([used, unused], lambda rows: used.expand(len(rows), 1), torch.zeros(2, dtype=torch.float64), squared)
    optimiser = GradientFlow(learning_rate=1.0, weight_decay=0.5, relative_tolerance=1e-9, absolute_tolerance=1e-9)
    run(optimiser, work, built(optimiser, work), steps=2)
    Relative("tolerance of the flow", 1e-7).check(work.point, [math.exp(-3), math.exp(-1)])


def test_refusals() -> None:
    given = {"network": nn.Linear(1, 1), "loss": LOSSES["mse"].make(), "penalty": None, "class_weights": False}
    with pytest.raises(InputError, match="the optimiser gradient_flow needs gradients that are not clipped"):
        GradientFlow().check(clipping=True, augmentation=False, **given)
    with pytest.raises(InputError, match="the optimiser gradient_flow needs the same inputs in each evaluation"):
        GradientFlow().check(clipping=False, augmentation=True, **given)
