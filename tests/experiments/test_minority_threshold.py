"""The threshold of minority collapse: the smoke run jumps where predicted, and the verdict says what the rows say."""

from pathlib import Path
from typing import Any

import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.minority_threshold import MinorityThreshold
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from experiments.made_rows import made_row


def test_smoke_run_jumps_at_the_fixed_point(tmp_path: Path) -> None:
    recipe = MinorityThreshold.smoke()
    run = run_experiment(recipe, tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict.statement
    rows = RunFolder(tmp_path / "run").observations()
    for arm in run.arms:
        own = [row for row in rows if row.arm == arm.name]
        threshold = arm.settings["threshold"]
        assert own[0].result["minority_cosine"] == pytest.approx(-1 / 5)
        for row in own:
            merged = row.result["imbalance_ratio"] > threshold
            assert (row.result["minority_distance"] == 0) == merged
            if row.result["imbalance_ratio"] > 1.1 * threshold:
                assert row.result["minority_cosine"] == pytest.approx(1)
                assert row.result["merged_classifiers"] == 6 - arm.settings["majority"]
        assert run.verdict.figures[f"jump_{arm.name}"] == pytest.approx(threshold, rel=1e-5)
        assert run.verdict.figures[f"vanished_{arm.name}"] is None


def test_the_merged_vector_vanishes_for_good_where_the_budget_is_small(tmp_path: Path) -> None:
    recipe = MinorityThreshold(majorities=(7,), budgets=(1.0,), points=5, largest_ratio=16.0)
    run = run_experiment(recipe, tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict.statement
    assert run.verdict.figures["vanished_majority7-budget1"] == pytest.approx(2)
    last = RunFolder(tmp_path / "run").observations()[-1]
    assert last.result.measurements["minority_cosine"].undefined == "the class vectors are zero"
    assert last.result["minority_distance"] == 0


def rows_of(recipe: MinorityThreshold, change: dict[tuple[int, float], float | None], dip: float) -> list[Observation]:
    """Curves that jump by a factor off their thresholds, or never; the first of them with a cosine that dips."""
    rows = []
    for at, (majority, budget) in enumerate(recipe._curves()):
        factor = change.get((majority, budget), 1.0)
        jump = recipe.largest_ratio * 2 if factor is None else recipe.threshold(majority, budget) * factor
        ratios = sorted({1.0, jump * (1 - 1e-7), jump * (1 + 1e-7), recipe.largest_ratio})
        for step, ratio in enumerate(one for one in ratios if one <= recipe.largest_ratio):
            cosine = (-0.2 if ratio == 1 else 0.99) - (dip if at == 0 and ratio > 1 else 0) if ratio < jump else 1.0
            values = {"imbalance_ratio": ratio, "minority_cosine": cosine, "minority_distance": float(ratio < jump)}
            rows.append(made_row(values, arm=f"majority{majority}-budget{budget:g}", epoch=step))
    return rows


@pytest.mark.parametrize(
    ("change", "dip", "largest", "state", "words"),
    [
        ({}, 0.0, 1e3, "holds", "Over 4 curves the class vectors fell together within"),
        ({(3, 3.0): 1.001}, 0.0, 1e3, "fails", "within 1.0e-03 of R0"),
        ({(3, 1.0): 10.0}, 0.0, 1e3, "fails", "It is not ordered as claimed."),
        ({(3, 3.0): None}, 0.0, 1e3, "fails", "Over 4 curves"),
        ({}, 1.5, 1e3, "fails", "the cosine did not rise throughout"),
        ({(2, 3.0): None}, 0.0, 10.0, "inconclusive", "The curves end before the threshold of 2 of 6 at budget 3."),
    ],
)
def test_verdict(change: dict[Any, float | None], dip: float, largest: float, state: str, words: str) -> None:
    recipe = MinorityThreshold(majorities=(2, 3), budgets=(1.0, 3.0), num_classes=6, largest_ratio=largest)
    verdict = recipe.verdict(rows_of(recipe, change, dip))
    assert verdict.state == state, verdict.statement
    assert words in verdict.statement


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"majorities": (5, 3)}, "majorities must be different numbers in ascending order, at least one"),
        ({"majorities": (9,)}, "every entry of majorities must be at most 8, which leaves two classes"),
        ({"budgets": ()}, "budgets must be different numbers in ascending order, at least one"),
        ({"budgets": (0.0,)}, "every entry of budgets must be"),
        ({"largest_ratio": 1.0}, "largest_ratio must be"),
        ({"points": 1}, "points must be an integer of at least 2, got 1"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MinorityThreshold(**fields)
