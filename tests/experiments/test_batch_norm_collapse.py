"""The recipe on batch normalisation: rows of trained and of closed solutions, and a verdict on both."""

import math
from pathlib import Path
from typing import Any

import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.batch_norm_collapse import LITERAL, STATED, TRAINED, BatchNormCollapse
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from collapselab.theory import literal_excess
from experiments.made_rows import made_row

DECAYS = (0.4, 1.0)


def rows(recipe: BatchNormCollapse, change: dict[str, float | None] | None = None, *, off: float = 0.0) -> Any:
    """Trainings that end at the minimum, and eq. 62 where it is stated to lie, give or take."""
    values = {"excess_objective": 1e-6, "etf_error": 1e-3, "nc1_trace_ratio": 1e-4, "active_units": 9.0}
    made: list[Observation] = []
    for decay in recipe.decays:
        made += [made_row(values, arm=f"{TRAINED}-beta{decay:g}-{seed}") for seed in (3, 4)]
        landscape = recipe._landscape(decay)
        loss = landscape.minimum + literal_excess(landscape) + off
        made.append(made_row(values, arm=f"{LITERAL}-beta{decay:g}").model_copy(update={"loss": loss}))
    made[1] = made_row(values | (change or {}), arm=f"{TRAINED}-beta{recipe.decays[0]:g}-4")
    return made


@pytest.mark.parametrize(
    ("change", "off", "state", "words"),
    [
        ({}, 0.0, "holds", "Over 4 trainings the objective ended at most 1.0e-06 of the minimum above it"),
        ({}, 0.0, "holds", "eq. 62 as it stands lies up to 0.24 of the minimum above it, least at decay 1 (0.05)."),
        ({"excess_objective": 2e-3}, 0.0, "fails", "at most 2.0e-03 of the minimum"),
        ({"etf_error": 0.05}, 0.0, "fails", "5.0e-02 from a simplex ETF"),
        ({"nc1_trace_ratio": 0.05}, 0.0, "fails", "from a simplex ETF"),
        ({}, 1e-3, "fails", "eq. 62"),
        ({"etf_error": None}, 0.0, "inconclusive", "A start has not collapsed: etf_error: there is no such thing."),
    ],
)
def test_verdict(change: dict[str, float | None], off: float, state: str, words: str) -> None:
    recipe = BatchNormCollapse(decays=DECAYS, seeds=2, seed=3)
    verdict = recipe.verdict(rows(recipe, change, off=off))
    assert verdict.state == state
    assert words in verdict.statement


def test_where_eq_62_is_the_minimum_nothing_is_shown() -> None:
    recipe = BatchNormCollapse(decays=(math.sqrt(6) - 1,), seeds=2, seed=3)
    verdict = recipe.verdict(rows(recipe))
    assert verdict.state == "inconclusive"
    assert "too close to the minimum" in verdict.statement


def test_rows_of_a_small_run(tmp_path: Path) -> None:
    recipe = BatchNormCollapse.smoke()
    run = run_experiment(recipe, tmp_path / "run")
    observations = RunFolder(tmp_path / "run").observations()
    assert run.verdict is not None
    assert run.verdict.state == "holds"
    for decay in recipe.decays:
        landscape = recipe._landscape(decay)
        stated = [row for row in observations if row.arm == f"{STATED}-beta{decay:g}"]
        literal = [row for row in observations if row.arm == f"{LITERAL}-beta{decay:g}"]
        trained = [row for row in observations if row.arm == f"{TRAINED}-beta{decay:g}-0"]
        assert len(stated) == len(literal) == 1
        assert stated[0].loss == pytest.approx(landscape.minimum, rel=1e-12)
        assert literal[0].loss == pytest.approx(landscape.minimum + literal_excess(landscape), rel=1e-12)
        assert stated[0].result["active_units"] == recipe.num_classes
        assert trained[0].step == 0
        assert trained[0].loss > literal[0].loss > trained[-1].loss >= stated[0].loss
        assert trained[-1].error == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decays": (2.5,)}, "every entry of decays must be a finite number above 0 and below 2.449"),
        ({"decays": ()}, "decays must be different numbers, at least one"),
        ({"decays": (0.4, 0.4)}, "decays must be different numbers, at least one"),
        ({"num_features": 3}, "num_features must be an integer of at least 4, got 3"),
        ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
    ],
)
def test_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BatchNormCollapse(**change)
