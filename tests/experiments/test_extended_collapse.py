"""The recipe on one more layer before the head: settings, verdicts on made rows, and a small run."""

import re
from pathlib import Path
from typing import Any

import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.extended_collapse import (
    AFTER,
    APART,
    BEFORE,
    DIRECTIONS,
    KINDS,
    OBJECTIVE,
    STATED,
    ExtendedCollapse,
)
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from experiments.made_rows import made_row

RECIPE = ExtendedCollapse(strengths=(0.02, 0.06, 0.08, 0.12), starts=2)


def row(arm: str, fitted: int, objective: float, *, before: float = 1e-6, after: float = 1e-6) -> Observation:
    values: dict[str, float | None] = {DIRECTIONS.name: fitted, OBJECTIVE.name: objective, STATED.name: None}
    values |= {APART.name: 1e-9, BEFORE.name: before if fitted else None, AFTER.name: after if fitted else None}
    return made_row(values, arm=arm)


def rows(change: dict[str, list[Observation]] | None = None) -> list[Observation]:
    """As the claim has it: full collapse and a part of it, then parts above zero, then zero."""
    made: dict[str, list[Observation]] = {}
    for kind in KINDS:
        made[f"{kind}-0.02"] = [row(f"{kind}-0.02", 3, 0.4, after=0.5), row(f"{kind}-0.02", 4, 0.3)]
        made[f"{kind}-0.06"] = [row(f"{kind}-0.06", 4, 0.49), row(f"{kind}-0.06", 4, 0.49)]
        made[f"{kind}-0.08"] = [row(f"{kind}-0.08", 0, 0.5), row(f"{kind}-0.08", 2, 0.51)]
        made[f"{kind}-0.12"] = [row(f"{kind}-0.12", 0, 0.5)] * 2
    return [one for arm in (made | (change or {})).values() for one in arm]


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        ({}, "holds", "found up to 0.06, solutions above zero alone up to 0.08"),
        (
            {"linear-0.06": [row("linear-0.06", 4, 0.51)]},
            "fails",
            "linear-0.06: full collapse lies above zero, at 0.51",
        ),
        ({"relu-0.08": [row("relu-0.08", 1, 0.49)]}, "fails", "relu-0.08: a solution lies below zero, at 0.49"),
        ({"linear-0.12": [row("linear-0.12", 4, 0.6)]}, "fails", "linear-0.12: 1 starts ended at something other"),
        ({"linear-0.02": [row("linear-0.02", 4, 0.3, before=0.1)]}, "fails", "cosine before the layer is 0.1"),
        ({"relu-0.02": [row("relu-0.02", 4, 0.3, after=0.1)]}, "fails", "cosine after the layer is 0.1"),
        ({"relu-0.02": [row("relu-0.02", 4, 0.3, before=0.7)]}, "holds", "found up to 0.06"),
        ({"linear-0.06": [row("linear-0.06", 3, 0.495)]}, "inconclusive", "No start found .*: linear-0.06."),
        ({"relu-0.08": [row("relu-0.08", 0, 0.5)]}, "inconclusive", "No start found .*: relu-0.08."),
    ],
)
def test_verdict(change: dict[str, list[Observation]], state: str, words: str) -> None:
    verdict = RECIPE.verdict(rows(change))
    assert verdict.state == state
    assert re.search(words, verdict.statement)


def test_figures() -> None:
    figures = RECIPE.verdict(rows()).figures
    for kind in KINDS:
        assert figures[f"full_collapse_up_to_{kind}"] == 0.06
        assert figures[f"solutions_beside_zero_up_to_{kind}"] == 0.08
        assert figures[f"lowest_solution_from_one_sixteenth_{kind}"] == 0.51
        assert figures[f"share_of_full_collapse_to_one_sixteenth_{kind}"] == 0.75


def test_rows_of_a_small_run(tmp_path: Path) -> None:
    recipe = ExtendedCollapse.smoke()
    run = run_experiment(recipe, tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds"
    assert float(run.verdict.figures["largest_distance_linear"] or 0) < 1e-9
    found = RunFolder(tmp_path / "run").observations()
    assert len(found) == recipe.epochs * recipe.starts
    for arm in ("linear-0.02", "relu-0.02"):
        own = [one for one in found if one.arm == arm]
        directions = [one.result[DIRECTIONS.name] for one in own]
        assert directions == sorted(directions)
        assert own[-1].result[OBJECTIVE.name] == pytest.approx(own[-1].result[STATED.name], abs=1e-9)
    beyond = next(one for one in found if one.arm == "linear-0.12").result.measurements
    assert beyond[STATED.name].undefined == "there is no collapse under so strong a decay"
    assert beyond[AFTER.name].undefined == "the mean of a class is zero"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strengths": (0.02, 0.12)}, "strengths must lie below 1/16, beyond it and beyond 27/256"),
        ({"strengths": (0.08, 0.02, 0.12)}, "strengths must be different numbers in ascending order"),
        ({"strengths": (0.0, 0.08, 0.12)}, "every entry of strengths must be a finite number above 0"),
        ({"num_features": 3}, "num_features must be at least 4"),
        ({"starts": 0}, "starts must be an integer of at least 1"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ExtendedCollapse(**settings)
