"""SGD beside its equation: the verdict on made rows, equal times of all arms, and a smoke run."""

import math
from pathlib import Path
from typing import Any

import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.svag_converges import SIZE, One, SvagConverges
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from experiments.made_rows import made_row

RECIPE = SvagConverges(seeds=3)

# By rate and factor: mean training loss, and squared norm.
ALIKE = {(rate, factor): (0.02, 100.0) for rate in (0.1, 1.0) for factor in (0, 1, 2, 4)}
USUAL = ALIKE | {(1.0, 1): (0.5, 500.0), (1.0, 0): (0.6, 400.0)}


def rows_of(numbers: dict[tuple[float, int], tuple[float, float]], *, spread: float = 0.05) -> list[Observation]:
    """An early row that does not count, and one at the end; seeds differ by the spread, those of SGD most."""
    rows = []
    for one in RECIPE._all():
        loss, size = numbers[one.rate, one.factor]
        times = 1 + spread * one.seed * (1 if one.factor == 1 else 0.5)
        plan = RECIPE._plan(one)
        last = plan.epochs * plan.batches(1000)
        for step, part in ((last // 2, 100.0), (last, 1.0)):
            values = {SIZE: size * times * part, "noise_to_signal": 3.0 + one.seed}
            for split in ("train", "test"):
                row = made_row(values, arm=one.name, split=split, error=0.1)
                rows.append(row.model_copy(update={"step": step, "loss": loss * times * part}))
    return rows


@pytest.mark.parametrize(
    ("change", "spread", "state", "words"),
    [
        ({}, 0.05, "holds", "At η = 0.1 SGD follows its equation: loss 0.0210 ± 0.0025 beside 0.0205 ± 0.0012"),
        ({(1.0, 1): (0.02, 500.0)}, 0.05, "holds", "At η = 1 SGD does not follow its equation"),
        ({(1.0, 1): (0.02, 100.0)}, 0.05, "fails", "At η = 1 SGD follows its equation"),
        ({(0.1, 1): (0.02, 20.0)}, 0.05, "fails", "At η = 0.1 SGD does not follow its equation"),
        ({}, 1.0, "inconclusive", "At η = 0.1 SGD is not shown to follow its equation, nor to leave it"),
    ],
)
def test_verdict(change: dict[Any, tuple[float, float]], spread: float, state: str, words: str) -> None:
    verdict = RECIPE.verdict(rows_of(USUAL | change, spread=spread))
    assert verdict.state == state, verdict.statement
    assert words in verdict.statement


def test_figures() -> None:
    """Ratios of seeds that belong together, over the last quarter of the time alone."""
    figures = RECIPE.verdict(rows_of(USUAL)).figures
    assert figures["size_svag1_1"] == pytest.approx(500 * 1.05)
    assert figures["half_width_size_svag4_1"] == pytest.approx(4.302652729911275 * 2.5 / math.sqrt(3))
    logs = [math.log((1 + 0.05 * s) / (1 + 0.025 * s)) for s in range(3)]
    assert figures["log_ratio_loss_sgd_0.1"] == pytest.approx(sum(logs) / 3)
    assert figures["log_ratio_size_svag_1"] == pytest.approx(0, abs=1e-12)
    assert figures["noise_to_signal_ngd_1"] == 4.0
    assert figures["test_accuracy_ngd_0.1"] == pytest.approx(0.9)
    assert figures["half_width_at_end_eta0.1_1"] == pytest.approx(4.302652729911275 * 5 / math.sqrt(3))
    assert {"half_width_at_end_eta1_4", "half_width_at_end_ngd1_1"} <= set(figures)


def test_factors_that_do_not_agree_yet_are_told() -> None:
    """Then the equation itself may lie elsewhere."""
    words = "SVAG(2) is not shown to be like SVAG(4)."
    assert words not in RECIPE.verdict(rows_of(USUAL)).statement
    statement = RECIPE.verdict(rows_of(USUAL | {(1.0, 2): (0.01, 100.0)})).statement
    assert statement.count(words) == 1
    assert statement.index(words) > statement.index("At η = 1 ")


def test_a_loss_that_underflows_decides_nothing() -> None:
    verdict = RECIPE.verdict(rows_of(USUAL | {(1.0, 4): (0.0, 100.0)}))
    assert verdict.state == "inconclusive"
    assert "A loss or a norm is 0 in floating point" in verdict.statement


def test_the_noise_to_signal_of_a_rate_is_the_median_of_an_even_number_of_seeds() -> None:
    few = SvagConverges(seeds=2)
    assert few.verdict(rows_of(USUAL)).figures["noise_to_signal_ngd_1"] == 3.5


def test_one_seed_decides_nothing() -> None:
    assert SvagConverges(seeds=1).verdict([]).state == "inconclusive"


def test_arms_take_equal_times() -> None:
    """In steps of SGD, with the measurements in the last quarter."""
    recipe = SvagConverges()
    for one in recipe._all():
        plan, moments = recipe._plan(one), recipe._moments(one)
        assert plan.epochs * plan.batches(1000) == 1488 * one.times
        assert len(moments) == 6
        assert [m / one.times for m in moments] == [m / 1 for m in recipe._moments(One(0.1, 1, 0))]
        assert 0.75 * 1488 < moments[0] / one.times < moments[-1] / one.times < 1488


def test_smoke_run(tmp_path: Path) -> None:
    run = run_experiment(SvagConverges.smoke(), tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.statement.startswith("At η = 0.1 SGD ")
    assert {(arm.settings["factor"], arm.settings["line"]) for arm in run.arms} == {
        *((factor, f"eta{rate}") for factor in (1, 2) for rate in ("0.1", "1")),
        *((1, f"ngd{rate}") for rate in ("0.1", "1")),
    }
    rows = [row for row in RunFolder(tmp_path / "run").observations() if row.split == "train"]
    assert all(row.result[SIZE] > 0 and row.result["noise_to_signal"] > 0 for row in rows)
    assert [row.step for row in rows if row.arm == "svag2-eta1-0"] == [36, 40]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learning_rates": (1.0,)}, "learning_rates must be different numbers in ascending order, at least 2"),
        ({"learning_rates": (1.0, 0.1)}, "learning_rates must be different numbers in ascending order"),
        ({"factors": ()}, "factors must be different numbers in ascending order, at least 1"),
        ({"factors": (1, 2)}, "every entry of factors must be an integer of at least 2, got 1"),
        ({"seeds": 0}, "seeds must be an integer of at least 1, got 0"),
        ({"batch_size": 2000}, "batch_size must be at most 1000"),
        ({"learning_rates": (-0.1, 1.0)}, "learning_rate must be a finite number above 0"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SvagConverges(**fields)
