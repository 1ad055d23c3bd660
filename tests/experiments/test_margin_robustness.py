"""Robustness along a growing margin: the verdict on made rows, images as pixels, and a smoke run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.assembly import data_of
from collapselab.experiments.recipes.margin_robustness import MarginRobustness, _in_pixels
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from collapselab.training.data.digits import Digits
from experiments.made_rows import made_row

RECIPE = MarginRobustness(seeds=3)

START = {
    "log10_loss": -2.1,
    "normalised_margin": 0.001,
    "robust_accuracy_0.2": 0.94,
    "robust_accuracy_0.3": 0.83,
    "robust_accuracy_0.5": 0.53,
    "robust_median": 0.51,
    "robust_near": 0.19,
    "robust_failures": 0.0,
}
END = START | {
    "log10_loss": -6.0,
    "normalised_margin": 0.01,
    "robust_accuracy_0.2": 1.0,
    "robust_accuracy_0.3": 0.86,
    "robust_accuracy_0.5": 0.48,
}


def rows_of(change: dict[str, float | None], *, spread: float = 0.001) -> list[Observation]:
    """A row before the claim begins, one where it does, and one at the end, of both splits."""
    rows = []
    for seed in range(3):
        arm, apart = f"seed-{seed}", {"robust_accuracy_0.2": 0.99 + spread * (seed - 1)}
        for split in ("train", "test"):
            rows.append(made_row(START | {"log10_loss": -1.0}, arm=arm, split=split, epoch=1))
            rows.append(made_row(START, arm=arm, split=split, epoch=5))
            rows.append(made_row({**END, **apart, **change}, arm=arm, split=split, epoch=9))
    return rows


@pytest.mark.parametrize(
    ("change", "spread", "state", "words"),
    [
        ({}, 0.001, "holds", "On training images robust accuracy went from 0.94 to 0.99 (± 0.002) at 0.2"),
        ({"robust_accuracy_0.5": 0.6}, 0.001, "fails", "0.53 to 0.6 (± 0) at 0.5"),
        ({"robust_accuracy_0.2": 0.9}, 0.001, "fails", "0.94 to 0.9 (± 0) at 0.2"),
        ({"normalised_margin": 0.0005}, 0.001, "fails", "margin went from 0.001 to 0.0005"),
        ({}, 0.1, "inconclusive", "0.94 to 0.99 (± 0.2) at 0.2"),
        ({"robust_accuracy_0.5": 0.53}, 0.001, "inconclusive", "0.53 to 0.53 (± 0) at 0.5"),
        ({"robust_failures": 0.02}, 0.001, "inconclusive", "DeepFool finds nothing for 0.02 of the training images"),
        ({"robust_failures": None}, 0.001, "inconclusive", "A number has no value: robust_failures"),
        ({"robust_median": None}, 0.001, "inconclusive", "A number has no value: robust_median"),
        ({"log10_loss": -3.0}, 0.001, "inconclusive", "A loss of 0.001 at the end is not 2 decades below 1e-2"),
    ],
)
def test_verdict(change: dict[str, float | None], spread: float, state: str, words: str) -> None:
    verdict = RECIPE.verdict(rows_of(change, spread=spread))
    assert verdict.state == state, verdict.statement
    assert words in verdict.statement
    if state == "holds":
        assert verdict.figures["change_robust_accuracy_0.5_train"] == pytest.approx(-0.05)
        assert verdict.figures["change_robust_near_test"] == 0


def test_what_decides_nothing() -> None:
    assert MarginRobustness(seeds=1).verdict(rows_of({})).state == "inconclusive"
    early = [row for row in rows_of({}) if row.epoch == 1]
    assert "the loss of seed-0 never fell to 1e-2" in RECIPE.verdict(early).statement


def test_images_are_pixels_again() -> None:
    digits = data_of(Digits(samples_per_class=20), seed=0)
    data = _in_pixels(digits)
    assert isinstance(data.train.x, torch.Tensor)
    assert torch.allclose((16 * data.train.x).round() / 16, data.train.x, atol=1e-6)
    assert [float(v) for v in torch.aminmax(data.train.x)] == [0.0, 1.0]


def test_smoke_run_attacks_both_splits(tmp_path: Path) -> None:
    run = run_experiment(MarginRobustness.smoke(), tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "inconclusive"
    rows = RunFolder(tmp_path / "run").observations()
    assert {row.split for row in rows} == {"train", "test"}
    for row in rows:
        accuracies = [row.result[f"robust_accuracy_{radius:g}"] for radius in RECIPE.radii]
        assert accuracies == sorted(accuracies, reverse=True)
        assert row.result["loss_decades"] == -row.result["log10_loss"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seeds": 0}, "seeds must be an integer of at least 1, got 0"),
        ({"radii": (0.3,)}, "number of radii must be an integer of at least 2, got 1"),
        ({"radii": (0.3, 0.2)}, r"the last of radii must be a finite number above 0\.3, got 0\.2"),
        ({"attacked": 0}, "per_class must be an integer of at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MarginRobustness(**fields)
