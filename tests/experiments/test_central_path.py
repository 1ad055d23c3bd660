"""The recipe on the central path: its rows are the loss taken apart, and its verdict says what they show."""

from pathlib import Path

import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.central_path import NC1, NC2, OFF, SHARE, WHOLE, CentralPath
from collapselab.records import RunFolder, read_arrays
from collapselab.records.schema import Observation
from experiments.made_rows import made_row
from tolerances import Relative

# The network computes its loss in float32.
FLOAT32 = Relative("loss of a network in float32", 1e-5)


def rows(shares: list[float], *, nc1: float = 1e-2, nc2: float = 1e-4, error: float = 0.0) -> list[Observation]:
    """Rows of the epochs 0, 1 and so on; the rate is cut after all but the last."""
    values = {WHOLE.name: 1.0, OFF.name: 0.1, NC1.name: nc1, NC2.name: nc2}
    made = [made_row(values | {SHARE.name: share}, epoch=epoch, error=error) for epoch, share in enumerate(shares)]
    made[-1] = made[-1].model_copy(update={"learning_rate": 0.01})
    return [*made, made_row(split="test", epoch=len(shares))]


@pytest.mark.parametrize(
    ("shares", "costs", "error", "state", "words"),
    [
        ([0.4, 0.6, 0.2, 0.05], (1e-2, 1e-4), 0.0, "holds", "went from 0.6 after epoch 1 to 0.05 after epoch 3"),
        ([0.9, 0.4, 0.2, 0.05], (1e-2, 1e-4), 0.0, "fails", "went from 0.4 after epoch 1"),
        ([0.4, 0.6, 0.2, 0.15], (1e-2, 1e-4), 0.0, "fails", "to 0.15 after epoch 3"),
        ([0.4, 0.6, 0.2, 0.05], (1e-2, 2e-3), 0.0, "fails", "costs 0.01, the places of the class means 0.002"),
        ([0.4, 0.6, 0.2, 0.05], (1e-2, 1e-4), 0.1, "inconclusive", "their error ended at 0.1"),
    ],
)
def test_verdict(shares: list[float], costs: tuple[float, float], error: float, state: str, words: str) -> None:
    verdict = CentralPath().verdict(rows(shares, nc1=costs[0], nc2=costs[1], error=error))
    assert verdict.state == state
    assert words in verdict.statement
    assert verdict.figures["off_path_share_before_first_cut"] == 0.2


def test_rows_take_the_loss_of_the_training_apart(tmp_path: Path) -> None:
    """The parts add up to the measured loss and the decay of the head that was kept."""
    run = run_experiment(CentralPath.smoke(), tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict
    measured = [row for row in RunFolder(tmp_path / "run").observations() if row.split == "train"]
    for row in measured:
        whole, off, nc1, nc2 = (row.result[one.name] for one in (WHOLE, OFF, NC1, NC2))
        assert off + nc1 + nc2 == pytest.approx(whole, rel=1e-12)
        assert row.result[SHARE.name] == pytest.approx(off / whole, rel=1e-12)
        assert whole > row.loss
    weights, _ = read_arrays(tmp_path / "run" / "weights.safetensors")
    head = [weights[name] for name in weights if name.startswith("head.")]
    assert len(head) == 2
    decay = CentralPath.smoke().weight_decay / 2 * sum(float((part.astype("float64") ** 2).sum()) for part in head)
    FLOAT32.check(measured[-1].result[WHOLE.name], measured[-1].loss + decay)
    assert run.declarations[SHARE.name].source == "han2022"
    tested = [row for row in RunFolder(tmp_path / "run").observations() if row.split == "test"]
    assert not any(SHARE.name in row.result.measurements for row in tested)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"measurements": 0}, "measurements must be an integer of at least 1, got 0"),
        ({"weight_decay": 0.0}, "weight_decay must be a finite number above 0"),
        ({"batch_size": 5000}, "batch_size must be at most 1200"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
    ],
)
def test_bad_fields(fields: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CentralPath(**fields)  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_a_network_approaches_the_central_path(tmp_path: Path) -> None:
    run = run_experiment(CentralPath(measurements=12), tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict
    assert float(run.verdict.figures["nc1_over_nc2_nc3_at_end"] or 0) > 50
