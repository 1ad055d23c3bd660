"""Remedies for rare digits: the verdict on made rows, what each arm is, and a smoke run."""

import math
from pathlib import Path
from typing import Any

import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.minority_remedies import DOT, REMEDIES, MinorityRemedies
from collapselab.experiments.uneven import shown_counts
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from experiments.made_rows import made_row

RECIPE = MinorityRemedies(ratios=(50.0,), seeds=3)


def rows_of(change: dict[str, float | None]) -> list[Observation]:
    """Accuracies that differ between seeds by more than between remedies."""
    accuracies: dict[str, float | None] = dict.fromkeys(REMEDIES, 0.5) | {DOT: 0.6} | change
    rows = []
    for remedy, accuracy in accuracies.items():
        for seed in range(3):
            value = None if accuracy is None else accuracy + 0.1 * seed
            arm = f"{remedy}-R50-{seed}"
            rows.append(made_row({"minority_accuracy": value}, arm=arm, split="test"))
            rows.append(made_row({"minority_accuracy": 1.0, "minority_cosine_weights": 0.1}, arm=arm))
    return rows


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        (
            {},
            "holds",
            "is: fixed simplex, dot regression 0.700 ± 0.248. It is above no remedy 0.600",
        ),
        ({"class_weights": 0.7}, "fails", "It is below class weights 0.800 ± 0.248 (95 % over 3 seeds)."),
        (
            {"class_weights": 0.6},
            "inconclusive",
            "The intervals of the differences do not tell it from class weights 0.700",
        ),
        ({"none": None}, "inconclusive", "A number has no value"),
    ],
)
def test_verdict(change: dict[str, float | None], state: str, words: str) -> None:
    verdict = RECIPE.verdict(rows_of(change))
    assert verdict.state == state, verdict.statement
    assert words in verdict.statement
    if not change:
        assert verdict.figures[f"accuracy_{DOT}_50"] == pytest.approx(0.7)
        assert verdict.figures["better_than_none_50"] == pytest.approx(0.1)
        assert verdict.figures["half_width_better_than_none_50"] == pytest.approx(0, abs=1e-9)
        assert verdict.figures["cosine_none_50"] == pytest.approx(0.1)


def test_one_seed_decides_nothing() -> None:
    assert MinorityRemedies(seeds=1).verdict([]).state == "inconclusive"


def test_arms_take_about_the_same_steps() -> None:
    recipe = MinorityRemedies()
    for remedy, ratio, _ in recipe._arms():
        plan = recipe._plan(remedy, ratio)
        many = sum(shown_counts(ratio, samples_per_class=100, oversample=remedy == "oversampling"))
        assert math.isclose(plan.epochs * plan.batches(many), recipe.steps, rel_tol=0.05)


def test_smoke_run_tries_every_remedy(tmp_path: Path) -> None:
    run = run_experiment(MinorityRemedies.smoke(), tmp_path / "run")
    assert {arm.settings["remedy"] for arm in run.arms} == set(REMEDIES)
    assert run.verdict is not None
    for remedy in REMEDIES:
        assert f"half_width_accuracy_{remedy}_10" in run.verdict.figures
        weights = RunFolder(tmp_path / "run").read_weights(f"{remedy}-R10-0")
        assert ("neck.linear.weight" in weights) == REMEDIES[remedy].neck
        if REMEDIES[remedy].fixed:
            assert run.verdict.figures[f"cosine_{remedy}_10"] == pytest.approx(-1 / 9, abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ratios": ()}, "ratios must be different numbers in ascending order, at least one"),
        ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
        ({"samples_per_class": 5}, "batch_size must be at most 30"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MinorityRemedies(**fields)
