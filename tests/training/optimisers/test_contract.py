"""What holds for every optimiser: its declaration, a quadratic with known answer, states that go on."""

import dataclasses
import json

import pytest
import torch

from collapselab.core.cite import references
from collapselab.core.errors import InputError
from collapselab.training import DATA, LOSSES, NETWORKS, Training
from collapselab.training._choice import chosen_from, settings_of
from collapselab.training.checkpoint import read_checkpoint, write_checkpoint
from collapselab.training.optimisers import OPTIMISERS, Optimiser
from collapselab.training.plan import Plan
from collapselab.training.schedules import StepSchedule
from lent_work import Lent, built, bytes_of, matrices, read, run, separable, some_squares
from tolerances import EXACT, Relative

# Settings that bring each to the minimum of the small least-squares problem, and in how many steps.
QUADRATIC = {
    "sgd": ({"learning_rate": 0.2, "momentum": 0.5, "weight_decay": 0.0}, 400),
    "adam": ({"learning_rate": 0.1}, 600),
    "adamw": ({"learning_rate": 0.1, "weight_decay": 0.0}, 600),
    "gradient_descent": ({"learning_rate": 0.4}, 400),
    "gradient_flow": ({"learning_rate": 5.0}, 20),
    "lbfgs": ({}, 15),
    "log_loss_descent": ({"learning_rate": 0.2}, 60),
    "loss_based": ({"learning_rate": 0.05}, 60),
    "noisy_gradient_descent": ({"learning_rate": 0.2, "noise_batch_size": 12, "weight_decay": 0.0}, 800),
    "parameter_noise": ({"learning_rate": 0.4, "temperature": 0.0, "weight_decay": 0.0}, 400),
    "svag": ({"learning_rate": 0.4, "factor": 2, "weight_decay": 0.0}, 800),
}
OF_LOGARITHMS = ("log_loss_descent", "loss_based")
WHOLE = [name for name in QUADRATIC if name not in OF_LOGARITHMS]


def problem(name: str, dtype: torch.dtype = torch.float64) -> Lent:
    """What the optimiser can minimise; two minibatches where it asks for two."""
    work = separable(dtype=dtype) if name in OF_LOGARITHMS else some_squares(exact=True, dtype=dtype)
    if OPTIMISERS[name].make().draws == 2:
        work.rows = (torch.arange(12), torch.arange(12))
    return work


def chosen(name: str) -> Optimiser:
    return OPTIMISERS[name].make(**QUADRATIC[name][0])


def test_all_are_here() -> None:
    assert set(OPTIMISERS) == set(QUADRATIC)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_declaration(name: str) -> None:
    """A source, documented plain settings that survive JSON, a rate."""
    choice = OPTIMISERS[name]
    assert choice.source in references()
    assert choice.summary.endswith(".")
    for field in dataclasses.fields(choice.make):
        assert f"        {field.name}: " in (choice.make.__doc__ or "")
    settings = settings_of(OPTIMISERS, choice.make())
    assert chosen_from(OPTIMISERS, json.loads(json.dumps(settings))) == choice.make()
    assert choice.make().learning_rate > 0
    assert choice.make().draws in (1, 2)


@pytest.mark.parametrize("name", WHOLE)
def test_minimum_of_a_quadratic(name: str) -> None:
    """Least squares that can be solved exactly, so that even noisy optimisers come to rest."""
    work, (settings, steps) = problem(name), QUADRATIC[name]
    optimiser = OPTIMISERS[name].make(**settings)
    reported = run(optimiser, work, built(optimiser, work), steps=steps)
    bound = 1e-5 if name == "gradient_flow" else 1e-10  # the flow has tolerances
    Relative("at the minimum", bound).floor(1.0).check(work.point, torch.linspace(-1, 2, 4, dtype=torch.float64))
    assert reported[0] == pytest.approx(float(problem(name).evaluate().sum()) * optimiser.draws)
    assert reported[-1] < 1e-8


@pytest.mark.parametrize("name", [name for name in WHOLE if name not in ("adam", "adamw")])
def test_weight_decay_is_ridge_and_a_group_can_be_exempt(name: str) -> None:
    """The minimum of the loss and one half of 0.3 times the squared norm of all parameters but the last."""
    settings = {**QUADRATIC[name][0], "weight_decay": 0.3}
    work = problem(name)
    optimiser = OPTIMISERS[name].make(**settings)
    if name == "noisy_gradient_descent":
        optimiser = dataclasses.replace(optimiser, noise_batch_size=10**12)  # no noise: the fit is not exact any more
    run(optimiser, work, built(optimiser, work, weight_decay=0.0), steps=QUADRATIC[name][1])
    a, b = matrices(exact=True)
    ridge = 0.3 * torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64))
    expected = torch.linalg.solve(a.T @ a / 12 + ridge, a.T @ b / 12)
    bound = {"noisy_gradient_descent": 1e-4, "gradient_flow": 1e-4}.get(name, 1e-9)
    Relative("ridge", bound).floor(1.0).check(work.point, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cut", [1, 4])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_state_goes_on_to_the_same_bits(name: str, cut: int, dtype: torch.dtype) -> None:
    """Through bytes, into a new optimiser on copied parameters; in the middle and after the first epoch."""
    optimiser = chosen(name)
    whole = problem(name, dtype)
    stepper = built(optimiser, whole, weight_decay=0.0)
    run(optimiser, whole, stepper, steps=cut)
    content = bytes_of([stepper.state_dict(), whole.parameters, whole.generator.get_state()])

    second = problem(name, dtype)
    state, parameters, noise = read(content)
    with torch.no_grad():
        for mine, stored in zip(second.parameters, parameters, strict=True):
            mine.copy_(stored)
    second.generator.set_state(noise)
    resumed = built(optimiser, second, weight_decay=0.0)
    resumed.load_state_dict(state)
    first = [float(optimiser.step(whole, stepper)) for _ in range(2)]
    assert [float(optimiser.step(second, resumed)) for _ in range(2)] == first
    for work, with_state in ((whole, stepper), (second, resumed)):
        optimiser.end_epoch(work, with_state)
        run(optimiser, work, with_state, steps=3)
    EXACT.check(second.point, whole.point)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_rate_of_zero_moves_nothing(name: str) -> None:
    """Schedules may come down to it."""
    optimiser, work = chosen(name), problem(name)
    stepper = built(optimiser, work)
    run(optimiser, work, stepper, steps=2, epoch=10)
    before = work.point
    for group in stepper.param_groups:
        group["lr"] = 0.0
    optimiser.step(work, stepper)
    EXACT.check(work.point, before)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_first_rate_of_zero_does_no_harm(name: str) -> None:
    """Schedules may start from it: afterwards the loss falls as ever."""
    optimiser, work = chosen(name), problem(name)
    stepper, start, before = built(optimiser, work), work.point, float(work.evaluate().sum())
    for group in stepper.param_groups:
        group["lr"] = 0.0
    run(optimiser, work, stepper, steps=2, epoch=1)
    EXACT.check(work.point, start)
    for group in stepper.param_groups:
        group["lr"] = optimiser.learning_rate
    run(optimiser, work, stepper, steps=10)
    assert float(work.evaluate().sum()) < 0.5 * before


def training(name: str, *, epochs: int = 6) -> Training:
    data = DATA["digits"].make(samples_per_class=8).load(torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    network = NETWORKS["mlp"].make(widths=(16,), batch_norm=False).build(data.shape, 10)
    plan = Plan(
        epochs=epochs,
        batch_size=30,
        drop_last=False,
        loss=LOSSES["cross_entropy"].make(),
        optimiser=OPTIMISERS[name].make(),
        schedule=StepSchedule(()),
        decay_on="weights",
    )
    return Training(network, data, plan, order=torch.Generator().manual_seed(1), device=torch.device("cpu"))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_training_lowers_the_loss_and_a_cut_changes_no_bit(name: str, tmp_path) -> None:
    """The real loop, with two parameter groups; stopped in an epoch and taken up by another training."""
    whole = training(name)
    before = float(whole.evaluate().mean())
    expected = list(whole.steps())
    assert float(whole.evaluate().mean()) < before
    first = training(name)
    steps = first.steps()
    for _ in range(len(expected) // 2 + 1):
        next(steps)
    write_checkpoint(tmp_path / "state", first.state(), digest="x")
    second = training(name)
    second.restore(read_checkpoint(tmp_path / "state", digest="x"))
    assert list(second.steps()) == expected[len(expected) // 2 + 1 :]
    for a, b in zip(second.network.parameters(), whole.network.parameters(), strict=True):
        EXACT.check(a.detach(), b.detach())


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        *[(name, {"learning_rate": 0}, "learning_rate must be a finite number above 0, got 0") for name in QUADRATIC],
        *[
            (name, {"weight_decay": -1.0}, "weight_decay must be a finite number of at least 0, got -1.0")
            for name in WHOLE
        ],
        ("sgd", {"momentum": 1.0}, "momentum must be a finite number of at least 0 and below 1, got 1.0"),
        ("sgd", {"nesterov": 1}, "nesterov must be true or false, got 1"),
        ("sgd", {"nesterov": True, "momentum": 0.0}, "momentum must be above 0 where nesterov is on, got 0.0"),
        (
            "gradient_descent",
            {"momentum": -0.5},
            "momentum must be a finite number of at least 0 and below 1, got -0.5",
        ),
        ("adam", {"beta1": 1.0}, "beta1 must be a finite number of at least 0 and below 1, got 1.0"),
        ("adamw", {"beta2": 1.5}, "beta2 must be a finite number of at least 0 and below 1, got 1.5"),
        ("adam", {"epsilon": 0.0}, "epsilon must be a finite number above 0, got 0.0"),
        ("lbfgs", {"memory": 0}, "memory must be an integer of at least 1, got 0"),
        ("lbfgs", {"evaluations": 2.5}, "evaluations must be an integer of at least 1, got 2.5"),
        ("gradient_flow", {"method": "euler"}, "method must be one of bogacki_shampine, dormand_prince, got 'euler'"),
        ("gradient_flow", {"relative_tolerance": 0.0}, "relative_tolerance must be a finite number above 0, got 0.0"),
        ("gradient_flow", {"absolute_tolerance": -1}, "absolute_tolerance must be a finite number above 0, got -1"),
        ("svag", {"factor": 0}, "factor must be an integer of at least 1, got 0"),
        ("svag", {"factor": 2.0}, "factor must be an integer of at least 1, got 2.0"),
        ("noisy_gradient_descent", {"noise_batch_size": 0}, "noise_batch_size must be an integer of at least 1, got 0"),
        ("parameter_noise", {"temperature": -1.0}, "temperature must be a finite number of at least 0, got -1.0"),
        ("loss_based", {"increase": 0.9}, "increase must be a finite number of at least 1, got 0.9"),
        ("loss_based", {"decrease": 1.0}, "decrease must be a finite number above 0 and below 1, got 1.0"),
        ("loss_based", {"largest_ratio": 1}, "largest_ratio must be a finite number above 1, got 1"),
    ],
)
def test_bad_settings(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        OPTIMISERS[name].make(**settings)
