"""Runs in two processes on the CPU: the same records as in one, interrupted and resumed too."""

import signal
from pathlib import Path

import pytest
import torch

from collapselab.core.errors import CollapselabError, InputError, Interrupted
from collapselab.experiments import run_experiment, session
from collapselab.experiments.events import EpochDone, Finished, Observed, Started
from collapselab.experiments.recipes.fixed_head import FixedHead
from collapselab.experiments.recipes.train import Train
from collapselab.records import RunFolder
from collapselab.training.data.digits import Digits
from collapselab.training.networks.mlp import MLP
from tolerances import Relative

pytestmark = pytest.mark.slow

# Sums are added in another order; float64, and no batch normalisation, which sees the share of each process.
AS_IN_ONE = Relative("two processes beside one", 1e-9)

TWO = Train(
    data=Digits(samples_per_class=13),
    network=MLP(widths=(16, 8), batch_norm=False),
    precision="float64",
    epochs=3,
    batch_size=27,
    drop_last=False,
    measurements=2,
    layers=("*",),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "whole"
    run = run_experiment(TWO, folder, devices=2, strategy="ddp")
    assert run.status == "done"
    assert run.provenance.devices == 2
    return folder


def kept(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "series.jsonl").read_bytes(), (folder / "weights.safetensors").read_bytes()


def test_same_records_as_in_one_process(whole: Path, tmp_path: Path) -> None:
    run_experiment(TWO, tmp_path / "one")
    one, two = RunFolder(tmp_path / "one").observations(), RunFolder(whole).observations()
    assert [(row.step, row.split, row.layer) for row in one] == [(row.step, row.split, row.layer) for row in two]
    assert {row.layer for row in one} == {"", "layer1", "layer2"}
    compared = 0
    for alone, shared in zip(one, two, strict=True):
        assert alone.error == shared.error
        AS_IN_ONE.check(shared.loss, alone.loss)
        assert alone.result.conditions.counts == shared.result.conditions.counts
        for name, found in alone.result.measurements.items():
            other = shared.result.measurements[name]
            assert (found.value is None) == (other.value is None), name
            if found.value is not None:
                AS_IN_ONE.floor(1e-3).check(other.value, found.value)
                compared += 1
    assert compared > 100


def test_ctrl_c_and_on_to_the_same_bits(whole: Path, tmp_path: Path) -> None:
    """The first process keeps what there is; the others end with it."""

    def stop(event: Started | EpochDone | Observed | Finished) -> None:
        if isinstance(event, EpochDone) and event.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped after epoch 2 of 3"):
        run_experiment(TWO, tmp_path / "run", devices=2, listener=stop)
    run = run_experiment(TWO, tmp_path / "run", resume=True)
    assert run.provenance.devices == 2
    assert not any("under other conditions" in note for note in run.notes)
    assert kept(tmp_path / "run") == kept(whole)


def test_a_failure_of_the_first_process_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_named: object) -> None:
        raise CollapselabError("the disk is full")

    monkeypatch.setattr(session, "write_checkpoint", full)
    with pytest.raises(CollapselabError, match="the disk is full"):
        run_experiment(TWO, tmp_path / "run", devices=2)
    assert RunFolder(tmp_path / "run").read().status == "failed"
    assert not torch.distributed.is_initialized()


def test_arms(tmp_path: Path) -> None:
    recipe = FixedHead.smoke()
    assert run_experiment(recipe, tmp_path / "run", devices=2).status == "done"
    assert {row.arm for row in RunFolder(tmp_path / "run").observations()} == {
        f"{kind}-{seed}" for kind in ("learnable", "fixed") for seed in (0, 1)
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 0}, "devices must be an integer of at least 1, got 0"),
        ({"devices": 2, "strategy": "fsdp"}, "strategy must be auto or ddp, .*, got 'fsdp'"),
    ],
)
def test_bad_processes(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        run_experiment(TWO, tmp_path / "run", **options)  # pyright: ignore[reportArgumentType]
    assert not RunFolder(tmp_path / "run").exists()
