"""The recipe: what it refuses, what it claims, and that the claim holds under its default flags."""

from pathlib import Path

import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.watch_collapse import WatchCollapse
from collapselab.experiments.verdicts import fall_after_zero_error
from collapselab.records import Conditions, Measurement, Measurements, Observation, RunFolder
from collapselab.records.phase import terminal_phase

BAD = [
    ({"data": "digit"}, "data must be one of digits, mnist1d, got 'digit'"),
    ({"network": "resnet"}, "network must be one of mlp, cnn, got 'resnet'"),
    ({"loss": "crossentropy"}, "loss must be one of cross_entropy, mse, got 'crossentropy'"),
    ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
    ({"epochs": "many"}, "epochs must be an integer of at least 1, got 'many'"),
    ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
    ({"batch_size": 1201}, "batch_size must be at most 1200, the number of training samples"),
    ({"batch_size": 1}, "batch_norm needs at least 2 samples in every batch, got batch_size 1"),
    ({"batch_size": 1199, "drop_last": False}, "batch_norm needs at least 2 samples in every batch"),
    ({"drop_last": "no"}, "drop_last must be true or false, got 'no'"),
    ({"batch_norm": 1}, "batch_norm must be true or false, got 1"),
    ({"learning_rate": 0}, "learning_rate must be a finite number above 0, got 0"),
    ({"learning_rate": float("inf")}, "learning_rate must be a finite number above 0, got inf"),
    ({"momentum": 1.0}, "momentum must be a finite number of at least 0 and below 1, got 1.0"),
    ({"weight_decay": -1.0}, "weight_decay must be a finite number of at least 0, got -1.0"),
    ({"milestones": (0.9, 0.5)}, r"milestones must ascend, got \(0.9, 0.5\)"),
    ({"milestones": (180, 255)}, "every entry of milestones must be a finite number above 0 and below 1, got 180"),
    ({"milestones": 0.5}, "milestones must be a sequence of numbers between 0 and 1, got 0.5"),
    ({"milestone_factor": 0.0}, "milestone_factor must be a finite number above 0"),
    ({"widths": ()}, r"widths must be one positive integer for each hidden layer, got \(\)"),
    ({"widths": (64, 0)}, "every entry of widths must be an integer of at least 1, got 0"),
    ({"samples_per_class": 0}, "samples_per_class must be an integer of at least 1, got 0"),
    ({"measurements": 0}, "measurements must be an integer of at least 1, got 0"),
    ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ({"seed": 0.5}, "seed must be an integer of at least 0, got 0.5"),
]


@pytest.mark.parametrize(("fields", "message"), BAD)
def test_bad_fields(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WatchCollapse(**fields)  # pyright: ignore[reportArgumentType]


def test_defaults_follow_the_data_and_the_network() -> None:
    assert WatchCollapse().widths == (256, 256, 64)
    assert WatchCollapse().samples_per_class == 120
    other = WatchCollapse(data="mnist1d", network="cnn")
    assert other.widths == (32, 64, 64)
    assert other.samples_per_class == 400


def rows(errors: list[float], values: list[float | None]) -> list[Observation]:
    conditions = Conditions(
        source="test",
        num_samples=2,
        num_classes=2,
        num_features=2,
        classes=(0, 1),
        counts=(1, 1),
        feature_dtype="float32",
    )

    def row(epoch: int, error: float, value: float | None) -> Observation:
        found = (
            Measurement(undefined="the class means coincide") if value is None else Measurement(value=value, unit="1")
        )
        result = Measurements(measurements={"nc1_pinv": found}, conditions=conditions)
        return Observation(
            epoch=epoch, step=epoch, split="train", loss=1.0, error=error, learning_rate=0.1, result=result
        )

    return [row(epoch, error, value) for epoch, (error, value) in enumerate(zip(errors, values, strict=True))]


@pytest.mark.parametrize(
    ("errors", "values", "state", "words"),
    [
        ([0.9, 0.0, 0.0, 0.0], [9.0, 1.0, 0.5, 0.1], "holds", "fell 10-fold, from 1 at epoch 1"),
        ([0.9, 0.0, 0.0, 0.0], [9.0, 1.0, 0.5, 0.2], "fails", "fell 5-fold"),
        ([0.9, 0.0, 0.0, 0.0], [9.0, 1.0, 0.5, 0.0], "holds", "fell without bound"),
        ([0.9, 0.1, 0.1, 0.1], [9.0, 1.0, 0.5, 0.1], "inconclusive", "never reached zero"),
        ([0.9, 0.1, 0.0, 0.0], [9.0, 1.0, 0.5, 0.0], "inconclusive", "Only 1 measurement came after"),
        ([0.9, 0.1, 0.0], [9.0, 1.0, 0.5], "inconclusive", "No measurement came after"),
        ([0.9, 0.0, 0.0, 0.0], [9.0, 1.0, 0.5, None], "inconclusive", "no value: nc1_pinv: the class means coincide"),
        ([], [], "inconclusive", "never reached zero"),
    ],
)
def test_verdict(errors: list[float], values: list[float | None], state: str, words: str) -> None:
    verdict = fall_after_zero_error(rows(errors, values))
    assert verdict.state == state
    assert words in verdict.statement


@pytest.mark.parametrize(("data", "network", "loss"), [("digits", "cnn", "mse"), ("mnist1d", "cnn", "cross_entropy")])
def test_other_data_networks_and_losses(tmp_path: Path, data: str, network: str, loss: str) -> None:
    recipe = WatchCollapse(data, network, loss, epochs=2, samples_per_class=10, batch_size=50, measurements=1)  # pyright: ignore[reportArgumentType]
    run = run_experiment(recipe, tmp_path / "run")
    assert run.status == "done"
    observed = RunFolder(tmp_path / "run").observations()
    assert [(row.epoch, row.split) for row in observed] == [(0, "train"), (0, "test"), (2, "train"), (2, "test")]
    assert observed[0].result.conditions.counts == (10,) * 10


@pytest.mark.slow
def test_default_flags_collapse(tmp_path: Path) -> None:
    """Zero training error, NC1 tenfold down after it, NC2 and NC3 down, NC4 at most .001."""
    run = run_experiment(WatchCollapse(), tmp_path / "run")
    train = [row for row in RunFolder(tmp_path / "run").observations() if row.split == "train"]
    phase = terminal_phase(train)
    assert phase.reached
    later = [row.result for row in train if row.epoch >= (phase.first_zero or 0)]
    assert later[0]["nc1_pinv"] / later[-1]["nc1_pinv"] >= 10
    for name in ("nc2_equinorm_means", "nc2_max_angle_means", "nc2_max_angle_weights", "nc3_duality"):
        assert later[-1][name] < later[0][name], name
    assert max(result["nc4_disagreement"] for result in later) <= 1e-3
    assert run.verdict is not None
    assert run.verdict.state == "holds"
