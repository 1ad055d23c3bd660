"""Angles of rare digits: what is predicted, the verdict on made rows, and a smoke run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.minority_angles import MinorityAngles, predicted_cosine
from collapselab.metrics import Evidence
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from collapselab.theory import Problem
from collapselab.theory.imbalanced_cross_entropy import ImbalancedCrossEntropy
from experiments.made_rows import made_row

RECIPE = MinorityAngles(ratios=(1.0, 10.0, 100.0), seeds=3)
GOOD = {"plain-R1": -0.11, "plain-R10": -0.01, "plain-R100": 0.16, "oversampled-R10": -0.11, "oversampled-R100": -0.105}


def rows_of(change: dict[str, Any], *, off: float = 0.0, spread: float = 0.001) -> list[Observation]:
    rows = []
    for arm, cosine in (GOOD | change).items():
        for seed in range(3):
            value = None if cosine is None else cosine + spread * (seed - 1)
            values = {"minority_cosine_weights": value, "minority_cosine_predicted": GOOD[arm] + off}
            rows.append(made_row(values | {"minority_accuracy": 1.0}, arm=f"{arm}-{seed}"))
            rows.append(made_row({"minority_accuracy": 0.5}, arm=f"{arm}-{seed}", split="test"))
    return rows


@pytest.mark.parametrize(
    ("change", "options", "state"),
    [
        ({}, {}, "holds"),
        ({"plain-R10": -0.13}, {}, "fails"),
        ({"oversampled-R10": -0.05}, {}, "fails"),
        ({"oversampled-R10": -0.0915}, {}, "inconclusive"),
        ({}, {"off": 0.1}, "holds"),
        ({}, {"spread": 0.08}, "inconclusive"),
        ({"plain-R100": None}, {}, "inconclusive"),
    ],
)
def test_verdict(change: dict[str, Any], options: dict[str, float], state: str) -> None:
    verdict = RECIPE.verdict(rows_of(change, **options))
    assert verdict.state == state, verdict.statement
    if None not in change.values():
        assert verdict.figures["minority_test_accuracy_plain_10"] == 0.5
        assert "half_width_oversampled_100" in verdict.figures
    if not change and not options:
        assert "is -0.110 ± 0.002, -0.010 ± 0.002, 0.160 ± 0.002 (95 % over 3 seeds)" in verdict.statement
        assert "a rise in 2 of 2 steps; free features with decay predict -0.110, -0.010, 0.160;" in verdict.statement
    if options.get("off"):
        assert verdict.figures["largest_from_prediction"] == pytest.approx(0.1)


def test_one_seed_decides_nothing() -> None:
    recipe = MinorityAngles(ratios=(1.0, 10.0, 100.0), seeds=1)
    assert recipe.verdict(rows_of({})).state == "inconclusive"


def test_the_prediction_of_an_optimum_is_its_own_cosine() -> None:
    """Features and head at the model's minimiser have norms in balance: the decay that was used is found again."""
    counts, decay, features = (30, 30, 3, 3), 1e-2, 2e-4
    model = ImbalancedCrossEntropy(Problem(counts, 6, decay, features, bias="decay", decay_bias=decay))
    state = model.minimiser(torch.Generator().manual_seed(0))
    seen = LabelledFeatures(state["h"], torch.repeat_interleave(torch.arange(4), torch.tensor(counts)), 4)
    evidence = Evidence(ClassStats.of(seen), LinearHead(state["weight"], state["bias"]))
    cosine = torch.nn.functional.cosine_similarity(state["weight"][2], state["weight"][3], dim=0)
    assert predicted_cosine(evidence, counts, weight_decay=decay) == pytest.approx(float(cosine), abs=1e-8)
    # As often as others, rare classes are at the angles of a simplex.
    assert predicted_cosine(evidence, (30,) * 4, weight_decay=decay) == pytest.approx(-1 / 3)


def test_a_head_of_zeros_has_no_prediction() -> None:
    stats = ClassStats.of(LabelledFeatures(torch.eye(3), torch.arange(3), 3))
    with pytest.raises(InputError, match="features and head must not be zero"):
        predicted_cosine(Evidence(stats, LinearHead(torch.zeros(3, 3))), (1, 1, 1), weight_decay=0.1)


def test_smoke_run_has_a_prediction_beside_every_cosine(tmp_path: Path) -> None:
    run = run_experiment(MinorityAngles.smoke(), tmp_path / "run")
    rows = RunFolder(tmp_path / "run").observations()
    for row in rows:
        assert ("minority_cosine_predicted" in row.result.measurements) == (row.split == "train")
        shares = row.result.per_class["class_accuracy"].values
        assert shares is not None
        assert row.result["minority_accuracy"] == pytest.approx(sum(shares[5:]) / 5)
    assert run.verdict is not None
    assert {f"half_width_{arm}" for arm in ("plain_1", "plain_10", "oversampled_10")} <= run.verdict.figures.keys()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ratios": (10.0, 1.0)}, "ratios must be different numbers in ascending order, at least 2"),
        ({"ratios": (10.0,)}, "ratios must be different numbers in ascending order, at least 2"),
        ({"ratios": (0.5, 1.0)}, "every entry of ratios must be"),
        ({"seeds": 0}, "seeds must be an integer of at least 1, got 0"),
        ({"weight_decay": 0.0}, "weight_decay must be"),
        ({"batch_size": 900}, "batch_size must be at most 550"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MinorityAngles(**({"ratios": (1.0, 10.0)} | fields))
