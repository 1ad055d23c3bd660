"""The largest margin without decay: the smoke run gets there, and the verdict says what the rows say."""

from pathlib import Path
from typing import Any

import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.recipes.max_margin_ufm import MaxMarginUfm
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from experiments.made_rows import made_row


def test_smoke_run_ends_at_the_largest_margin(tmp_path: Path) -> None:
    recipe = MaxMarginUfm.smoke()
    run = run_experiment(recipe, tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict.statement
    rows = RunFolder(tmp_path / "run").observations()
    for arm in ("size0.01-0", "size0.1-0"):
        own = [row for row in rows if row.arm == arm]
        decades = [row.result["decades_of_loss"] for row in own]
        assert [row.step for row in own] == list(log_spaced(500, recipe.measurements))
        assert all(row.step <= decade < row.step + 1 for row, decade in zip(own, decades, strict=True))
        assert own[-1].loss == 0
        assert own[0].loss == pytest.approx(10 ** -decades[0])
        gaps = [row.result["margin_gap"] for row in own]
        assert gaps == sorted(gaps, reverse=True)
        assert own[-1].result["norm_over_predicted"] == pytest.approx(1, abs=0.02)


def rows_of(recipe: MaxMarginUfm, *, gap: float, nc3: float, decades: float) -> list[Observation]:
    rows = []
    names = ("nc1_pinv", "nc2_max_angle_means", "nc3_duality")
    start = dict.fromkeys(names, 0.1) | {"margin_gap": 0.5, "decades_of_loss": 1.0, "norm_over_predicted": 0.8}
    for size in recipe.sizes:
        fine = dict.fromkeys(names, 1e-6) | {"margin_gap": 1e-6, "norm_over_predicted": 1.01}
        fine |= {"decades_of_loss": 500.2, "nc1_pinv": 0.0}
        changed = {"margin_gap": gap, "nc3_duality": nc3, "decades_of_loss": decades}
        rows.append(made_row(start, arm=f"size{size:g}-0", epoch=1))
        rows.append(made_row(fine | (changed if size == recipe.sizes[-1] else {}), arm=f"size{size:g}-0", epoch=9))
    return rows


@pytest.mark.parametrize(
    ("gap", "nc3", "decades", "state", "words"),
    [
        (1e-4, 1e-5, 500.1, "holds", "the margin is 1.0e-04 below its bound at worst, over 2 descents"),
        (1e-2, 1e-5, 500.1, "fails", "the margin is 1.0e-02 below its bound at worst"),
        (1e-4, 1e-2, 500.1, "fails", "NC1, NC2 and NC3 have fallen at least 10-fold"),
        (1e-4, 1e-5, 120.0, "inconclusive", "A descent was stopped at a loss of 1e-120"),
    ],
)
def test_verdict(gap: float, nc3: float, decades: float, state: str, words: str) -> None:
    recipe = MaxMarginUfm(sizes=(0.01, 1.0), seeds=1)
    verdict = recipe.verdict(rows_of(recipe, gap=gap, nc3=nc3, decades=decades))
    assert verdict.state == state
    assert words in verdict.statement
    assert verdict.figures["nc1_pinv_fall"] is None
    assert verdict.figures["margin_gap_from_0.01"] == 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": ()}, "sizes must be different numbers, at least one"),
        ({"sizes": (1.0, 1.0)}, "sizes must be different numbers"),
        ({"sizes": (-1.0,)}, "every entry of sizes must be a finite number above 0"),
        ({"decades": 1}, "decades must be an integer of at least 2, got 1"),
        ({"measurements": 1}, "measurements must be an integer of at least 2, got 1"),
        ({"num_features": 2}, "num_features must be at least 3, got 2"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MaxMarginUfm(**settings)


@pytest.mark.slow
def test_claim(tmp_path: Path) -> None:
    run = run_experiment(MaxMarginUfm(), tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict.statement
    assert float(run.verdict.figures["margin_gap_from_0.01"] or 0) < 1e-6
