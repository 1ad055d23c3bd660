"""L-BFGS: minima to the last digits, the strong Wolfe conditions, and steps where nothing is left to gain."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError
from collapselab.training import LOSSES
from collapselab.training.optimisers._line_search import Probe, StrongWolfe, search
from collapselab.training.optimisers.lbfgs import LBFGS, quasi_newton
from lent_work import Lent, built, least_squares, matrices, run, separable
from tolerances import EXACT, OPTIMUM, REFERENCE, Relative


def rosenbrock(size: int = 6) -> Lent:
    """Sum of 100 (w_2i - w_2i-1^2)^2 + (1 - w_2i-1)^2, minimum 0 at ones; a valley that bends."""
    w = nn.Parameter(torch.tensor([-1.2, 1.0] * (size // 2), dtype=torch.float64))

    def look(rows: torch.Tensor) -> torch.Tensor:
        u, v = w[0::2], w[1::2]
        return (100 * (v - u**2) ** 2 + (1 - u) ** 2).sum().expand(len(rows), 1)

    return Lent([w], look, torch.zeros(2, dtype=torch.float64), lambda outputs, _y: outputs.logits[:, 0])


def test_ill_conditioned_least_squares() -> None:
    """Curvatures from 1 to 1e6: the parameters to 1e-10 of the closed form."""
    generator = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(20, 8, generator=generator, dtype=torch.float64))
    a = q * torch.logspace(0, 3, 8, dtype=torch.float64)
    b = a @ torch.ones(8, dtype=torch.float64) + 0.1 * torch.randn(20, generator=generator, dtype=torch.float64)
    work, optimiser = least_squares(a, b), LBFGS()
    run(optimiser, work, built(optimiser, work), steps=80)
    Relative("L-BFGS", 1e-10).check(work.point, torch.linalg.lstsq(a, b[:, None]).solution[:, 0])


def test_rosenbrock() -> None:
    work, optimiser = rosenbrock(), LBFGS()
    run(optimiser, work, built(optimiser, work), steps=60)
    work.parameters[0].grad = None
    work.accumulate(work.rows[0])
    assert work.parameters[0].grad is not None
    OPTIMUM.check(float(work.evaluate()[0]), 0.0, gradient_norm=float(work.parameters[0].grad.norm()))
    Relative("L-BFGS", 1e-8).check(work.point, torch.ones(6))


def test_weight_decay_is_in_value_and_gradient() -> None:
    """Regularised softmax regression: the gradient of the whole objective vanishes at the end."""
    work, optimiser = separable(), LBFGS(weight_decay=0.01)
    run(optimiser, work, built(optimiser, work), steps=40)
    (weight,) = work.parameters
    weight.grad = None
    work.accumulate(work.rows[0])
    assert weight.grad is not None
    assert float((weight.grad + 0.01 * weight.detach()).norm()) < 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_converged_is_no_error_and_costs_nothing(dtype: torch.dtype) -> None:
    a, b = matrices()
    work, optimiser = least_squares(a.to(dtype), b.to(dtype)), LBFGS(weight_decay=0.1)
    stepper = built(optimiser, work)
    run(optimiser, work, stepper, steps=60)
    before, evaluations = work.point, work.evaluations
    reported = run(optimiser, work, stepper, steps=5)
    assert work.evaluations == evaluations
    assert len(set(reported)) == 1
    EXACT.check(work.point, before)


def test_starts_at_the_minimum() -> None:
    work, optimiser = least_squares(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)), LBFGS()
    assert run(optimiser, work, built(optimiser, work), steps=3) == [0.0, 0.0, 0.0]
    EXACT.check(work.point, torch.zeros(3, dtype=torch.float64))


def test_a_good_step_costs_one_evaluation() -> None:
    """Loss and gradient of the accepted place are those of the next start."""
    work, optimiser = separable(), LBFGS(weight_decay=0.01)
    stepper = built(optimiser, work)
    run(optimiser, work, stepper, steps=3)
    before = work.evaluations
    run(optimiser, work, stepper, steps=5)
    assert work.evaluations - before < 10


def test_reports_the_loss_without_decay_before_the_step() -> None:
    work, optimiser = separable(), LBFGS(weight_decay=0.5)
    stepper = built(optimiser, work)
    for _ in range(4):
        expected = float(work.evaluate().sum())
        assert float(optimiser.step(work, stepper)) == pytest.approx(expected, rel=1e-6)


def test_a_loss_that_is_no_number_is_reported_and_nothing_moves() -> None:
    a, b = matrices()
    work, optimiser = least_squares(a, b * math.nan), LBFGS()
    assert math.isnan(run(optimiser, work, built(optimiser, work), steps=1)[0])
    EXACT.check(work.point, torch.zeros(4, dtype=torch.float64))


def test_two_loop_recursion_is_the_bfgs_matrix() -> None:
    """H <- (1 - s y'/y's) H (1 - y s'/y's) + s s'/y's from the scaled identity, written out as matrices."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    hessian = root @ root.T + torch.eye(5, dtype=torch.float64)
    moves = [torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(3)]
    changes = [hessian @ s for s in moves]
    s, y = moves[-1].numpy(), changes[-1].numpy()
    inverse = (s @ y) / (y @ y) * np.eye(5)
    for move, change in zip(moves, changes, strict=True):
        s, y = move.numpy(), change.numpy()
        left = np.eye(5) - np.outer(s, y) / (y @ s)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (y @ s)
    gradient = torch.randn(5, generator=generator, dtype=torch.float64)
    REFERENCE.check(quasi_newton(gradient, moves, changes), -inverse @ gradient.numpy())


LINES = {
    "quadratic": (lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3)),
    "quartic": (lambda t: (t - 1) ** 4 - 0.1 * t, lambda t: 4 * (t - 1) ** 3 - 0.1),
    "wave": (lambda t: math.sin(5 * t) / 5 - 2 * t + 0.1 * t**2, lambda t: math.cos(5 * t) - 2 + 0.2 * t),
    "wall": (lambda t: -t - math.log(2 - t) if t < 2 else math.nan, lambda t: -1 + 1 / (2 - t) if t < 2 else math.nan),
}


@pytest.mark.parametrize("first", [1e-4, 1.0, 1e3])
@pytest.mark.parametrize("line", LINES)
def test_strong_wolfe(line: str, first: float) -> None:
    """Far too short and far too long first steps end where decrease and slope are as Wolfe asks."""
    value, slope = LINES[line]
    none = torch.zeros(1)

    def probe(t: float) -> Probe:
        return Probe(t, value(t), slope(t), 0.0, none)

    start = probe(0.0)
    found = search(probe, StrongWolfe(start, 0.0), first=first, evaluations=40)
    assert found is not None
    assert found.value <= start.value + 1e-4 * found.length * start.slope
    assert abs(found.slope) <= 0.9 * abs(start.slope)


def test_a_line_that_only_rises_gives_nothing() -> None:
    """Its first slope lies: rounding, or a loss that changes from one evaluation to the next."""
    start = Probe(0.0, 0.0, -1.0, 0.0, torch.zeros(1))
    found = search(
        lambda t: Probe(t, 1.0 + t, 1.0, 0.0, torch.zeros(1)), StrongWolfe(start, 0.0), first=1.0, evaluations=9
    )
    assert found is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clipping": True}, "the optimiser lbfgs needs gradients that are not clipped"),
        ({"augmentation": True}, "the optimiser lbfgs needs the same inputs in each evaluation"),
    ],
)
def test_refusals(change: dict[str, bool], message: str) -> None:
    given = {"class_weights": False, "clipping": False, "augmentation": False} | change
    with pytest.raises(InputError, match=message):
        LBFGS().check(network=nn.Linear(1, 1), loss=LOSSES["cross_entropy"].make(), penalty=None, **given)
