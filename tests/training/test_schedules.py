"""Schedules beside torch's schedulers, which count steps, and beside the formulas."""

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from collapselab.core.cite import references
from collapselab.core.errors import InputError
from collapselab.training._choice import chosen_from, settings_of
from collapselab.training.schedules import (
    SCHEDULES,
    Constant,
    CosineSchedule,
    Exponential,
    Polynomial,
    Schedule,
    StepSchedule,
    Triangle,
)
from tolerances import IDENTITY

EPOCHS, STEPS = 10, 4
TOTAL = EPOCHS * STEPS

TWINS: list[tuple[Schedule, Callable[[torch.optim.Optimizer], Any]]] = [
    (Constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    (StepSchedule((0.5, 0.8), 0.2), lambda o: lr_scheduler.MultiStepLR(o, [5 * STEPS, 8 * STEPS], gamma=0.2)),
    (CosineSchedule(), lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL)),
    (CosineSchedule(final=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL, eta_min=0.1)),
    (Polynomial(), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, TOTAL)),
    (Polynomial(final=0.25), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.25, TOTAL)),
    (Polynomial(power=0.9), lambda o: lr_scheduler.PolynomialLR(o, TOTAL, power=0.9)),
    (Exponential(final=0.02), lambda o: lr_scheduler.ExponentialLR(o, 0.02 ** (1 / TOTAL))),
    (
        Triangle(peak=0.3, start=0.1, final=0.1),
        lambda o: lr_scheduler.CyclicLR(o, 0.1, 1.0, step_size_up=12, step_size_down=28, cycle_momentum=False),
    ),
    (Triangle(peak=0.5), lambda o: lr_scheduler.CyclicLR(o, 0.0, 1.0, step_size_up=20, cycle_momentum=False)),
]


def rates(make: Callable[[torch.optim.Optimizer], Any]) -> list[float]:
    """The rate of every step of a training at rate 1 under one of torch's schedulers."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimiser)
    found = []
    for _ in range(TOTAL):
        found.append(float(optimiser.param_groups[0]["lr"]))
        optimiser.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(("ours", "theirs"), TWINS, ids=lambda x: repr(x) if isinstance(x, Schedule) else "")
def test_against_torch(ours: Schedule, theirs: Callable[[torch.optim.Optimizer], Any]) -> None:
    IDENTITY.floor(1.0).check([ours.scale(step / STEPS, epochs=EPOCHS) for step in range(TOTAL)], rates(theirs))


def test_every_schedule_has_a_twin() -> None:
    assert {type(ours) for ours, _ in TWINS} == {choice.make for choice in SCHEDULES.values()}


@pytest.mark.parametrize("name", SCHEDULES)
def test_contract(name: str) -> None:
    """A source that exists, settings that survive JSON, factors from 0 to 1 that depend on the time alone."""
    choice = SCHEDULES[name]
    assert choice.source in references()
    made = choice.make()
    assert chosen_from(SCHEDULES, json.loads(json.dumps(settings_of(SCHEDULES, made)))) == made
    once = [made.scale(step / STEPS, epochs=EPOCHS) for step in range(TOTAL + 1)]
    assert all(isinstance(scale, float) and 0 <= scale <= 1 for scale in once)
    assert max(once) == pytest.approx(1.0)
    assert once[::-1] == [made.scale(step / STEPS, epochs=EPOCHS) for step in range(TOTAL, -1, -1)]


@given(part=st.floats(0, 1), epochs=st.integers(1, 1000))
def test_the_shape_does_not_depend_on_the_length(part: float, epochs: int) -> None:
    for made in (CosineSchedule(final=0.1), Polynomial(power=2), Exponential(), Triangle(start=0.2)):
        assert made.scale(part * epochs, epochs=epochs) == pytest.approx(made.scale(part, epochs=1), abs=1e-12)


@given(times=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_what_falls_only_falls(times: tuple[float, float]) -> None:
    early, late = sorted(times)
    for made in (CosineSchedule(), Polynomial(power=0.5), Polynomial(power=3), Exponential(), StepSchedule()):
        assert made.scale(early, epochs=1) >= made.scale(late, epochs=1)


@pytest.mark.parametrize(
    ("made", "end"),
    [
        (CosineSchedule(0.2), 0.2),
        (Polynomial(2.0, 0.3), 0.3),
        (Exponential(0.01), 0.01),
        (Triangle(final=0.4), 0.4),
        (Constant(), 1.0),
    ],
)
def test_ends(made: Schedule, end: float) -> None:
    assert made.scale(7, epochs=7) == pytest.approx(end, abs=1e-15)
    assert made.scale(7.5, epochs=7) == made.scale(7, epochs=7)


def test_peak_of_a_triangle() -> None:
    triangle = Triangle(peak=0.25, start=0.5, final=0.1)
    assert triangle.scale(0, epochs=8) == 0.5
    assert triangle.scale(1, epochs=8) == pytest.approx(0.75)
    assert triangle.scale(2, epochs=8) == 1.0
    assert triangle.scale(5, epochs=8) == pytest.approx(0.55)
    around = [triangle.scale(2 + shift, epochs=8) for shift in (-1e-9, 0, 1e-9)]
    assert all(math.isclose(a, b, abs_tol=1e-8) for a, b in itertools.pairwise(around))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CosineSchedule(final=-0.1), "final must be a finite number of at least 0 and at most 1, got -0.1"),
        (lambda: CosineSchedule(final=1.5), "final must be a finite number of at least 0 and at most 1, got 1.5"),
        (lambda: Exponential(final=0), "final must be a finite number above 0 and at most 1, got 0"),
        (lambda: Polynomial(power=0), "power must be a finite number above 0, got 0"),
        (lambda: Polynomial(final="0"), "final must be a finite number"),  # pyright: ignore[reportArgumentType]
        (lambda: Triangle(peak=0), "peak must be a finite number above 0 and below 1, got 0"),
        (lambda: Triangle(peak=1), "peak must be a finite number above 0 and below 1, got 1"),
        (lambda: Triangle(peak=1.5), "peak must be a finite number above 0 and below 1, got 1.5"),
        (lambda: Triangle(start=2), "start must be a finite number of at least 0 and at most 1, got 2"),
        (lambda: Triangle(final=math.nan), "final must be a finite number"),
        (lambda: StepSchedule((0.5, 0.2)), "milestones must ascend"),
        (lambda: StepSchedule((0.5, 1.0)), "must be a finite number above 0 and below 1, got 1.0"),
    ],
)
def test_refusals(make: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
