"""Where the linear scaling rule ends: the verdict on made rows, a loss without a scale, and a smoke run."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.dynamics import Sight
from collapselab.dynamics._noise.gradients import loss_gradients
from collapselab.experiments import Probe, run_experiment
from collapselab.experiments.assembly import data_of
from collapselab.experiments.recipes.linear_scaling_rule import (
    NOISE,
    SIGNAL,
    SIZE,
    LinearScalingRule,
    scale_invariant_training,
)
from collapselab.records.schema import Observation
from collapselab.training.data.digits import Digits
from experiments.made_rows import made_row
from tolerances import IDENTITY, Relative

RECIPE = LinearScalingRule(scalings=(1, 2, 4, 8), seeds=3)


def rows_of(sizes: tuple[float, ...], *, noise: float = 6.0, spread: float = 0.01) -> list[Observation]:
    """Squared norms, and losses twice as far away, by factor; signal is 1, and seeds differ a little."""
    rows = []
    for scaling, size in zip(RECIPE.scalings, sizes, strict=True):
        for seed in range(3):
            own = size * (1 + spread * seed * scaling)
            values = {SIGNAL: 1.0, NOISE: noise / scaling, SIZE: 10.0 * own}
            arm = f"kappa{scaling}-{seed}"
            both = (made_row(values, arm=arm, split=split, error=0.25) for split in ("train", "test"))
            rows += [row.model_copy(update={"loss": own**2}) for row in both]
    return rows


@pytest.mark.parametrize(
    ("sizes", "noise", "state", "words"),
    [
        ((1.0, 1.0, 1.1, 2.0), 6.0, "holds", "Foretold by N/G = 6 ± 0 at batch size 4"),
        ((1.0, 1.0, 1.1, 2.0), 60.0, "fails", "the rule cannot hold beyond 122"),
        ((1.0, 1.0, 1.1, 2.0), 1.1, "fails", "the rule cannot hold beyond 4.2"),
        (
            (1.0, 1.0, 1.0, 1.1),
            6.0,
            "inconclusive",
            "the rule still held at κ = 8 for 3 of 3 seeds, within C²(1 + N/G)",
        ),
        ((1.0, 1.0, 1.0, 1.1), 1.0, "fails", "the rule still held at κ = 8 for 3 of 3 seeds, beyond C²(1 + N/G) = 4."),
        ((1.0, 1.0, 1.0, 1.3), 1.0, "inconclusive", "the rule still held at κ = 8 for 2 of 3 seeds, within"),
    ],
)
def test_verdict(sizes: tuple[float, ...], noise: float, state: str, words: str) -> None:
    verdict = RECIPE.verdict(rows_of(sizes, noise=noise))
    assert verdict.state == state, verdict.statement
    assert words in verdict.statement


def test_figures() -> None:
    figures = RECIPE.verdict(rows_of((1.0, 1.0, 1.1, 2.0), spread=0.0)).figures
    part = (math.log(2) / 2 - math.log(1.1)) / (math.log(2) - math.log(1.1))
    assert figures["log_end"] == pytest.approx(math.log(4 * 2**part))
    part = (math.log(2) / 4 - math.log(1.1)) / (math.log(2) - math.log(1.1))
    assert figures["end_by_loss"] == pytest.approx(4 * 2**part)
    part = (math.log(2) / 2 - math.log(1.1)) / (math.log(2) - math.log(1.1))
    assert figures["log_end_by_prediction"] == pytest.approx(math.log(4 * 2**part / 6))
    assert figures["largest_scaling"] == pytest.approx(14.0)
    assert figures["critical_batch_size"] == pytest.approx(24.0)
    assert figures["noise_to_signal_4"] == pytest.approx(1.5)
    assert figures["test_accuracy_8"] == pytest.approx(0.75)
    eta, decay = 0.2, 1e-2
    assert figures["size_by_balance_2"] == pytest.approx(10 * (2 - eta * decay) * decay / (eta * (1 + 3)))


def test_a_number_without_a_value() -> None:
    rows = [made_row({SIGNAL: None}, arm=f"kappa{k}-{seed}") for k in RECIPE.scalings for seed in range(3)]
    verdict = RECIPE.verdict(rows)
    assert verdict.state == "inconclusive"
    assert "A number has no value" in verdict.statement
    rows = [made_row({SIGNAL: 0.0, NOISE: 0.0, SIZE: 1.0}, arm=row.arm) for row in rows]
    assert "A number has no value: the mean gradient is zero" in RECIPE.verdict(rows).statement
    assert LinearScalingRule(seeds=1).verdict([]).state == "inconclusive"


def test_the_loss_has_no_scale() -> None:
    """Weights of any length give the same loss, and its gradient is orthogonal to those of each layer."""
    recipe = LinearScalingRule.smoke()
    data = data_of(Digits(samples_per_class=10), seed=0)
    training = scale_invariant_training((16,), recipe._plan(1), data=data, seed=0, probe=Probe.on("cpu"))
    network = training.network.double().eval()
    sight = Sight.of(network, data.train.x.double(), data.train.y)
    x, y = sight.take(torch.arange(100))
    loss = sight.loss_of(x, y).mean().detach()
    gradient = torch.cat(list(loss_gradients(sight, torch.arange(100)[:, None]))).mean(0)
    at = 0
    for weight in (p for p in network.parameters() if p.requires_grad):
        own = gradient[at : at + weight.numel()]
        at += weight.numel()
        assert abs(own @ weight.detach().flatten()) < 1e-12 * own.norm() * weight.detach().norm()
        with torch.no_grad():
            weight *= 7
    IDENTITY.check(sight.loss_of(x, y).mean(), loss)
    assert at == len(gradient) == 64 * 16 + 16 * 10


def test_arms_are_measured_at_equal_times() -> None:
    recipe = LinearScalingRule()
    for scaling in recipe.scalings:
        moments = recipe._moments(scaling)
        last = 24 * (1000 // (4 * scaling))
        assert moments[-1] == last
        assert len(moments) == (64 if scaling == 1 else 16)
        Relative("whole steps", 0.02).check(moments[0] / last, 0.4 + 0.6 / len(moments))


def test_smoke_run(tmp_path: Path) -> None:
    run = run_experiment(LinearScalingRule.smoke(), tmp_path / "run")
    assert {arm.settings["scaling"] for arm in run.arms} == {1, 4, 16}
    assert run.verdict is not None
    assert {"noise_to_signal", "largest_scaling", "size_by_balance_16"} <= set(run.verdict.figures)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scalings": (2, 4)}, "scalings must be different whole numbers in ascending order from 1, at least two"),
        ({"scalings": (1,)}, "scalings must be different whole numbers"),
        ({"scalings": (1, 2.5)}, "every entry of scalings must be an integer of at least 1, got 2.5"),
        ({"scalings": (1, 512)}, "batch_size must be at most 1000"),
        ({"weight_decay": 0.0}, "weight_decay must be a finite number above 0"),
        ({"passes": 0}, "passes must be an integer of at least 1"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LinearScalingRule(**fields)
