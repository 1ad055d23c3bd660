"""Recipes about random labels, a fixed head and minority classes: settings, verdicts; with -m slow, the claims."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.fixed_head import FixedHead, trained_parameters
from collapselab.experiments.recipes.memorise_random_labels import MemoriseRandomLabels
from collapselab.experiments.recipes.minority_collapse import MinorityCollapse
from collapselab.experiments.verdicts import mean_and_half_width
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from experiments.made_rows import made_row
from tolerances import IDENTITY

# ------------------------------------------------------------------------------------------------ random labels


@pytest.mark.parametrize(
    ("error", "value", "null", "state", "words"),
    [
        (0.0, 1.0, [20.0, 40.0], "holds", "ended at 1, 0.033 of its mean 30 over 2 permutations"),
        (0.0, 3.0, [20.0, 40.0], "fails", "0.1 of its mean 30"),
        (0.1, 1.0, [20.0, 40.0], "inconclusive", "not memorised: the training error ended at 0.1"),
        (0.0, None, [20.0, 40.0], "inconclusive", "NC1 has no value: nc1_pinv: there is no such thing"),
    ],
)
def test_verdict_on_random_labels(error: float, value: float | None, null: list[float], state: str, words: str) -> None:
    rows = [made_row({"nc1_pinv": 99.0}, epoch=0, error=0.9), made_row({"nc1_pinv": value}, epoch=5, error=error)]
    rows += [made_row({"nc1_pinv": one}, split="permuted", epoch=5, error=0.9) for one in null]
    verdict = MemoriseRandomLabels().verdict(rows)
    assert verdict.state == state
    assert words in verdict.statement


def test_rows_of_permuted_labels(tmp_path: Path) -> None:
    """The smoke run memorises labels that say nothing: permuted, they are wrong nine times out of ten."""
    run = run_experiment(MemoriseRandomLabels.smoke(), tmp_path / "run")
    rows = RunFolder(tmp_path / "run").observations()
    permuted = [row for row in rows if row.split == "permuted"]
    assert len(permuted) == MemoriseRandomLabels.smoke().permutations
    assert len({row.result["nc1_pinv"] for row in permuted}) == len(permuted)
    train = [row for row in rows if row.split == "train"]
    assert train[-1].error == 0
    for row in permuted:
        assert row.result.conditions.counts == train[-1].result.conditions.counts
        assert row.error > 0.8
        assert row.loss > 1
    test = [row for row in rows if row.split == "test"]
    assert test[-1].error > 0.7
    assert run.verdict is not None
    assert run.verdict.state == "holds"


# ------------------------------------------------------------------------------------------------ fixed head


def head_rows(recipe: FixedHead, learnable: list[float], fixed: list[float]) -> list[Observation]:
    rows = []
    for seed, (learnt, still) in enumerate(zip(learnable, fixed, strict=True)):
        for kind, accuracy in (("learnable", learnt), ("fixed", still)):
            arm = f"{kind}-{recipe.seed + seed}"
            rows += [made_row(split="test", arm=arm, epoch=0, error=0.9), made_row(arm=arm, epoch=5)]
            rows.append(made_row(split="test", arm=arm, epoch=5, error=1 - accuracy))
    return rows


@pytest.mark.parametrize(
    ("fixed", "state"),
    [
        ([0.98, 0.981, 0.979], "holds"),
        ([0.9, 0.95, 0.99], "inconclusive"),
        ([0.90, 0.901, 0.899], "fails"),
        ([1.0, 0.9999, 0.9998], "fails"),
    ],
)
def test_verdict_on_a_fixed_head(fixed: list[float], state: str) -> None:
    recipe = FixedHead(seeds=3, seed=4)
    verdict = recipe.verdict(head_rows(recipe, [0.98, 0.98, 0.98], fixed))
    assert verdict.state == state
    assert verdict.figures["test_accuracy_learnable"] == pytest.approx(0.98)
    assert verdict.figures["test_accuracy_fixed"] == pytest.approx(sum(fixed) / 3)


def test_one_seed_decides_nothing() -> None:
    recipe = FixedHead(seeds=1)
    assert recipe.verdict(head_rows(recipe, [0.98], [0.98])).state == "inconclusive"


def test_interval_is_students() -> None:
    values = [0.3, -0.1, 0.25, 0.7]
    mean, half = mean_and_half_width(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    IDENTITY.check(mean, np.mean(values))
    IDENTITY.check(mean - half, low)
    IDENTITY.check(mean + half, high)


def test_trained_parameters_are_those_of_the_layers() -> None:
    """Weights, biases, two vectors for each batch normalisation; of the fixed head at most its bias."""
    recipe = FixedHead(hidden=(30,), num_features=20)
    hidden = 64 * 30 + 3 * 30
    network, head = recipe._parts("learnable")
    assert trained_parameters(network, head) == hidden + 30 * 20 + 3 * 20 + 20 * 10 + 10
    network, head = recipe._parts("fixed")
    bias = sum(p.numel() for p in head.build(10, 10).parameters() if p.requires_grad)
    assert trained_parameters(network, head) == hidden + 30 * 10 + 3 * 10 + bias


# ------------------------------------------------------------------------------------------------ minority classes


def minority_rows(recipe: MinorityCollapse, cosines: dict[str, float | None]) -> list[Observation]:
    train, test = ({"class_accuracy": [1.0] * 5 + [share] * 5} for share in (0.75, 0.5))
    rows = []
    for arm, cosine in cosines.items():
        rows.append(made_row({"minority_cosine_weights": cosine}, arm=arm, epoch=5, per_class=train))
        rows.append(made_row(arm=arm, split="test", epoch=5, per_class=test))
    assert set(cosines) == {f"{remedy}-R{ratio:g}" for remedy, ratio in recipe._arms()}
    return rows


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "holds"),
        ({"plain-R1": 0.3}, "fails"),
        ({"plain-R10": -0.3}, "fails"),
        ({"plain-R100": 0.8}, "fails"),
        ({"oversampled-R100": 0.1}, "fails"),
        ({"fixed-R100": 0.0}, "fails"),
        ({"plain-R10": None}, "inconclusive"),
    ],
)
def test_verdict_on_minority_classes(change: dict[str, float | None], state: str) -> None:
    recipe = MinorityCollapse(ratios=(1.0, 10.0, 100.0), remedy_ratios=(100.0,))
    cosines: dict[str, float | None] = {"plain-R1": -0.13, "plain-R10": 0.2, "plain-R100": 0.97}
    cosines |= {"oversampled-R100": -0.1, "fixed-R100": -1 / 9}
    verdict = recipe.verdict(minority_rows(recipe, cosines | change))
    assert verdict.state == state
    if state != "inconclusive":
        assert verdict.figures["minority_test_accuracy_plain-R10"] == 0.5
        assert verdict.figures["minority_train_accuracy_fixed-R100"] == 0.75
        told = "at R = 100 is 75% without remedy, 75% with oversampling, 75% under the fixed head."
        assert verdict.statement.endswith(told)


def test_minority_accuracy_is_told_of_what_there_is() -> None:
    """A remedy at a ratio that was not tried without; and no remedies at all."""
    cosines: dict[str, float | None] = {"plain-R1": -0.1, "plain-R100": 0.97}
    remedies: dict[str, float | None] = {"oversampled-R50": -0.1, "fixed-R50": -1 / 9}
    recipe = MinorityCollapse(ratios=(1.0, 100.0), remedy_ratios=(50.0,))
    statement = recipe.verdict(minority_rows(recipe, cosines | remedies)).statement
    assert statement.endswith("at R = 50 is 75% with oversampling, 75% under the fixed head.")
    recipe = MinorityCollapse(ratios=(1.0, 100.0), remedy_ratios=())
    assert recipe.verdict(minority_rows(recipe, cosines)).statement.endswith("-1/(K-1) is -0.111.")


def test_arms_take_about_the_same_steps() -> None:
    recipe = MinorityCollapse()
    for remedy, ratio in recipe._arms():
        plan = recipe._plan(remedy, ratio)
        counts = recipe._imbalance(ratio).counts(recipe.samples_per_class, recipe.num_classes)
        size = recipe.samples_per_class * recipe.num_classes if remedy == "oversampled" else sum(counts)
        assert math.isclose(plan.epochs * plan.batches(size), recipe.steps, rel_tol=0.05)
    assert recipe.epochs == sum(recipe._plan(remedy, ratio).epochs for remedy, ratio in recipe._arms())


# ------------------------------------------------------------------------------------------------ bad settings

BAD: list[tuple[type, dict[str, Any], str]] = [
    (MemoriseRandomLabels, {"permutations": 0}, "permutations must be an integer of at least 1, got 0"),
    (MemoriseRandomLabels, {"batch_size": 5000}, "batch_size must be at most 1200"),
    (MemoriseRandomLabels, {"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
    (FixedHead, {"seeds": 0}, "seeds must be an integer of at least 1, got 0"),
    (FixedHead, {"margin": 0.0}, "margin must be"),
    (FixedHead, {"num_features": 0}, "num_features must be an integer of at least 1, got 0"),
    (FixedHead, {"hidden": 64}, "hidden must be a sequence of positive integers, got 64"),
    (MinorityCollapse, {"ratios": (10.0, 1.0)}, "ratios must be different numbers in ascending order"),
    (MinorityCollapse, {"ratios": (10.0,)}, "ratios must be at least two"),
    (MinorityCollapse, {"remedy_ratios": (0.5,)}, "every entry of remedy_ratios must be"),
    (MinorityCollapse, {"num_classes": 3}, "num_classes must be an integer of at least 4, got 3"),
    (MinorityCollapse, {"num_classes": 11}, "num_classes must be"),
    (MinorityCollapse, {"samples_per_class": 1}, "batch_size must be at most"),
]


@pytest.mark.parametrize(("recipe", "fields", "message"), BAD)
def test_bad_fields(recipe: type, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipe(**fields)


# ------------------------------------------------------------------------------------------------ the claims


@pytest.mark.slow
def test_random_labels_collapse(tmp_path: Path) -> None:
    run = run_experiment(MemoriseRandomLabels(measurements=2), tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict
    assert float(run.verdict.figures["part_of_permuted"] or 1) < 0.01


@pytest.mark.slow
def test_a_fixed_head_is_as_good(tmp_path: Path) -> None:
    """Three seeds: the difference of accuracies is below two points, with fewer parameters to train."""
    run = run_experiment(FixedHead(seeds=3, epochs=60, measurements=1), tmp_path / "run")
    assert run.verdict is not None
    figures = run.verdict.figures
    assert abs(float(figures["difference"] or 0)) < 0.02, run.verdict
    assert int(figures["trained_parameters_fixed"] or 0) < int(figures["trained_parameters_learnable"] or 0)


@pytest.mark.slow
def test_minority_classes_collapse(tmp_path: Path) -> None:
    """With R = 1 and 1000, five thousand signals in each majority class."""
    recipe = MinorityCollapse(ratios=(1.0, 1000.0), remedy_ratios=(1000.0,), steps=2500, measurements=1)
    run = run_experiment(recipe, tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict
