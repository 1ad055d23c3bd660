"""Geometry of unequal classes: distances of states that are known, the verdict on made rows, and a smoke run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.imbalanced_geometry import PAIRS, ImbalancedGeometry, _extras
from collapselab.metrics import Evidence
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from collapselab.theory import Problem
from collapselab.theory.imbalanced_cross_entropy import ImbalancedCrossEntropy
from collapselab.theory.seli import SimplexEncodedLabels
from experiments.made_rows import made_row

COUNTS = (20, 20, 2, 2)


def evidence_of(h: torch.Tensor, weight: torch.Tensor) -> Evidence:
    y = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
    return Evidence(ClassStats.of(LabelledFeatures(h, y, 4)), LinearHead(weight))


def distances(evidence: Evidence, decay: float) -> dict[str, float | str]:
    return {one.name: value for one, value in _extras(decay, evidence, "train")}


def test_simplex_encoded_labels_are_at_no_distance() -> None:
    state, _ = SimplexEncodedLabels(Problem(COUNTS, 5, 0.0, 0.0)).approach(3.0)
    found = distances(evidence_of(state["h"], state["weight"]), 1e-3)
    assert found["seli_distance_weights"] == pytest.approx(0, abs=1e-9)
    assert found["seli_distance_means"] == pytest.approx(0, abs=1e-9)


def test_the_stated_optimum_is_at_its_own_distance() -> None:
    state = ImbalancedCrossEntropy(Problem(COUNTS, 5, 1e-3, 2e-4)).minimiser()
    found = distances(evidence_of(state["h"], state["weight"]), 1e-3)
    assert found["seli_distance_weights"] == pytest.approx(found["seli_distance_predicted"], abs=1e-8)
    assert float(found["seli_distance_weights"]) > 0.05
    assert list(_extras(1e-3, evidence_of(state["h"], state["weight"]), "test")) == []


def test_a_head_of_zeros_has_no_distance() -> None:
    found = distances(
        evidence_of(torch.randn(44, 5, generator=torch.Generator().manual_seed(0)), torch.zeros(4, 5)), 0.1
    )
    assert found["seli_distance_weights"] == "all inner products are zero"
    assert str(found["seli_distance_predicted"]).startswith("the model has no answer: features and head must not be")
    assert isinstance(found["seli_distance_means"], float)


RECIPE = ImbalancedGeometry(free_decays=(1e-2, 1e-3), decays=(2e-2, 1e-2, 5e-3), seeds=2)


def rows_of(change: dict[tuple[str, float], float], *, name: str, etf: float, spread: float) -> list[Observation]:
    rows = []
    for model, decay, seed in RECIPE._arms():
        at = RECIPE._decays(model).index(decay)
        values = {"seli_distance_predicted": 0.3 - 0.1 * at}
        for seli, simplex in PAIRS.values():
            rising = model == "short"
            values |= {seli: 0.3 + 0.1 * at if rising else 0.3 - 0.1 * at + spread * seed * at, simplex: etf}
        if (model, decay) in change:
            values[name] = change[model, decay]
        rows.append(made_row(values, arm=f"{model}-decay{decay:g}-{seed}"))
    return rows


@pytest.mark.parametrize(
    ("change", "name", "etf", "spread", "state", "words"),
    [
        ({}, "", 0.5, 0.001, "holds", "free features: weights 0.300, 0.200 (from a simplex 0.500 at last)"),
        ({("long", 1e-2): 0.35}, "seli_distance_means", 0.5, 0.0, "fails", "claimed: network, time over decay, means"),
        ({("long", 1e-2): 0.35}, "etf_error", 0.5, 0.0, "holds", "network, equal times: weights 0.300, 0.400, 0.500"),
        ({}, "", 0.15, 0.0, "fails", "Not as claimed: free features, weights; free features, means."),
        ({("free", 1e-3): 0.21}, "seli_distance_weights", 0.5, 0.0, "inconclusive", "not trained to their optimum"),
        ({}, "", 0.5, 0.08, "inconclusive", "Distance from simplex-encoded labels"),
    ],
)
def test_verdict(change: Any, name: str, etf: float, spread: float, state: str, words: str) -> None:
    verdict = RECIPE.verdict(rows_of(change, name=name, etf=etf, spread=spread))
    assert verdict.state == state, verdict.statement
    assert words in verdict.statement


def test_smoke_run_trains_free_features_to_their_optimum(tmp_path: Path) -> None:
    run = run_experiment(ImbalancedGeometry.smoke(), tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state in ("fails", "inconclusive")  # one seed and ten epochs show nothing of the network
    assert float(run.verdict.figures["free_features_from_their_optimum"] or 0) < 1e-6
    rows = RunFolder(tmp_path / "run").observations()
    assert {row.arm for row in rows} == {arm.name for arm in run.arms}
    assert rows[-1].epoch == 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ratio": 1.0}, "ratio must be"),
        ({"decays": (1e-3, 1e-2)}, "decays must be two different numbers or more in descending order"),
        ({"free_decays": (1e-3,)}, "free_decays must be two different numbers or more in descending order"),
        ({"decays": (1e-3, 0.0)}, "every entry of decays must be"),
        ({"batch_size": 600}, "batch_size must be at most 550"),
        ({"time": 0.0}, "time must be"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImbalancedGeometry(**fields)
