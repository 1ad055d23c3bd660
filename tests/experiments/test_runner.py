"""The runner: what a folder holds, when it is refused, and how a run ends."""

import dataclasses
import json
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError, Interrupted, NotConverged, StorageError
from collapselab.experiments import (
    EpochDone,
    Finished,
    Observed,
    Started,
    resume_experiment,
    run_experiment,
    session,
)
from collapselab.experiments.recipes.train import Train
from collapselab.experiments.recipes.watch_collapse import WatchCollapse
from collapselab.records import Run, RunFolder, files
from collapselab.training.data.augmentation import Augmentation
from tiny_run import TINY, kept

HINT = "run again with --resume to go on"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unbroken run; only to be read."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run_experiment(TINY, folder, command=("run", "watch-collapse"))
    return folder


def test_what_a_folder_holds(whole: Path) -> None:
    place = RunFolder(whole)
    run = place.read()
    assert (run.name, run.status, run.epochs, run.epochs_done, run.sessions) == ("watch-collapse", "done", 4, 4, 1)
    assert run.config == json.loads(json.dumps(dataclasses.asdict(TINY)))
    assert run.verdict is not None
    assert run.seconds > 0
    origin = run.provenance
    assert (origin.seed, origin.threads, origin.device, origin.dtype) == (0, 1, "cpu", "float32")
    assert origin.command == ("run", "watch-collapse")
    rows = place.observations()
    assert [(row.epoch, row.split) for row in rows] == [(e, split) for e in (0, 1, 4) for split in ("train", "test")]
    assert [row.step for row in rows] == [0, 0, 5, 5, 20, 20]
    assert rows[0].learning_rate is None
    assert rows[-1].learning_rate == pytest.approx(TINY.learning_rate * 0.01)
    for row in rows:
        assert row.result.provenance is None
        assert row.result.declarations == {}
        assert row.result.conditions.mode == "eval"
        assert row.result.conditions.layer == "head"
        assert row.result.measurements.keys() | row.result.per_class.keys() == run.declarations.keys()
    assert place.snapshot_epochs() == [0, 1, 4]
    assert place.read_snapshot(4)["coordinates"].shape == (100, 9)
    assert run.arms == ()


def test_rows_tell_loss_and_error_in_eval_mode(whole: Path) -> None:
    """Recomputed from the checkpoint's weights, sample by sample."""
    state = torch.load(whole / "checkpoint.pt", weights_only=True)["state"]["probe"]["training"]
    data = TINY._data().load(torch.Generator().manual_seed(_data_seed()))
    network = TINY._network().build(data.shape, data.num_classes).eval()
    network.load_state_dict(state["network"])
    rows = {row.split: row for row in RunFolder(whole).observations() if row.epoch == 4}
    for split, samples in (("train", data.train), ("test", data.test)):
        with torch.no_grad():
            losses = [
                -network(x[None])[0].double().log_softmax(0)[y] for x, y in zip(samples.x, samples.y, strict=True)
            ]
            wrong = [int(network(x[None])[0].argmax()) != int(y) for x, y in zip(samples.x, samples.y, strict=True)]
        assert rows[split].loss == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)  # float32 logits
        assert rows[split].error == sum(wrong) / len(wrong)


def _data_seed() -> int:
    from collapselab.core.random import child_seed

    return child_seed(TINY.seed, "data")


def test_same_seed_same_bits(whole: Path, tmp_path: Path) -> None:
    torch.manual_seed(123)
    np.random.seed(5)  # noqa: NPY002 - another state of the global generators must not matter
    run_experiment(TINY, tmp_path / "again")
    assert kept(tmp_path / "again") == kept(whole)


def test_another_seed_other_bits(whole: Path, tmp_path: Path) -> None:
    run_experiment(dataclasses.replace(TINY, seed=1), tmp_path / "other")
    assert kept(tmp_path / "other")["series.jsonl"] != kept(whole)["series.jsonl"]


def test_settings_of_the_process_are_left_alone(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    handler = signal.getsignal(signal.SIGINT)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    run_experiment(TINY, tmp_path / "run", threads=1)
    assert torch.get_num_threads() == 2
    assert not torch.are_deterministic_algorithms_enabled()
    assert signal.getsignal(signal.SIGINT) is handler
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tobytes() == before[2]  # noqa: NPY002


def test_a_listener_hears_everything_in_order(tmp_path: Path) -> None:
    heard: list[Any] = []
    run = run_experiment(TINY, tmp_path / "run", listener=heard.append)
    assert [type(event) for event in heard] == [
        Started, *[Observed] * 2, EpochDone, *[Observed] * 2, *[EpochDone] * 3, *[Observed] * 2, Finished,
    ]  # fmt: skip
    assert heard[0].total_epochs == 4
    assert heard[0].run.status == "running"
    assert [event.epoch for event in heard if isinstance(event, EpochDone)] == [1, 2, 3, 4]
    assert heard[-1].run == run == RunFolder(tmp_path / "run").read()
    assert heard[1].observation.result.declarations


# ---------------------------------------------------------------------------------------- folders that are refused


@pytest.fixture
def begun(whole: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    import shutil

    return Path(shutil.copytree(whole, tmp_path / "begun"))


def test_a_run_is_not_overwritten_by_accident(begun: Path) -> None:
    before = kept(begun)
    with pytest.raises(InputError, match="holds a run already: use --resume to go on with it, --overwrite to replace"):
        run_experiment(TINY, begun)
    assert kept(begun) == before


def test_overwrite_replaces_the_run(begun: Path, whole: Path) -> None:
    run_experiment(dataclasses.replace(TINY, seed=3, measurements=4), begun, overwrite=True)
    assert RunFolder(begun).read().config["seed"] == 3
    run_experiment(TINY, begun, overwrite=True)
    assert kept(begun) == kept(whole)


def test_overwrite_replaces_what_cannot_be_read(begun: Path, whole: Path) -> None:
    for name in ("run.json", "series.jsonl", "checkpoint.pt"):
        (begun / name).write_text("nonsense\n")
    run_experiment(TINY, begun, overwrite=True)
    assert kept(begun) == kept(whole)


def test_a_done_run_is_not_run_again(begun: Path) -> None:
    before = RunFolder(begun).read()
    heard: list[Any] = []
    assert run_experiment(TINY, begun, resume=True, listener=heard.append) == before
    assert heard == [Finished(before)]
    assert resume_experiment(begun) == before


def _no_folder(folder: Path) -> Path:
    return folder / "nowhere"


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def _file(folder: Path) -> Path:
    (folder / "file").write_text("text")
    return folder / "file"


def _foreign(folder: Path) -> Path:
    (folder / "foreign").mkdir()
    (folder / "foreign" / "checkpoint.pt").write_text("somebody's")
    return folder / "foreign"


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        (_no_folder, {"resume": True}, "no run folder"),
        (_empty, {"resume": True}, "holds no run"),
        (_file, {"resume": True}, "no run folder"),
        (_file, {}, "must be a folder, got a file"),
        (_foreign, {}, "holds checkpoint.pt but no run.json: choose another folder, or use --overwrite"),
        (_no_folder, {"resume": True, "overwrite": True}, "resume and overwrite exclude each other"),
        (_no_folder, {"device": "gpu"}, "device must be auto, cpu, cuda"),
        (_no_folder, {"threads": 0}, "threads must be an integer of at least 1, got 0"),
    ],
)
def test_refused(place: Callable[[Path], Path], options: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = place(tmp_path)
    with pytest.raises(InputError, match=message):
        run_experiment(TINY, folder, **options)
    assert not (tmp_path / "nowhere").exists()


def test_resume_under_another_configuration(begun: Path) -> None:
    with pytest.raises(InputError, match="settings it began with: seed was 0, now 7"):
        run_experiment(dataclasses.replace(TINY, seed=7), begun, resume=True)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    place = RunFolder(tmp_path / "run")
    with place.locked(), pytest.raises(InputError, match="another process is writing to"):
        run_experiment(TINY, tmp_path / "run")


# ---------------------------------------------------------------------------------------- runs that are cut short


def interrupting(at: int, *, times: int = 1) -> Callable[[Any], None]:
    """A listener that presses Ctrl-C at its n-th event."""
    heard: Iterator[int] = iter(range(1, 1000))

    def listener(_event: Any) -> None:
        if next(heard) == at:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return listener


@pytest.mark.parametrize("at", [1, 2, 4, 6, 7])
def test_ctrl_c_is_resumed_to_the_same_bits(at: int, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted, match=HINT):
        run_experiment(TINY, folder, listener=interrupting(at))
    stopped = RunFolder(folder).read()
    assert stopped.status == "interrupted"
    assert stopped.epochs_done < stopped.epochs
    assert RunFolder(folder).checkpoint_file.exists()
    done = resume_experiment(folder)
    assert (done.status, done.sessions, done.epochs_done) == ("done", 2, 4)
    assert done.seconds > stopped.seconds
    assert done.provenance == stopped.provenance
    assert kept(folder) == kept(whole)


def test_ctrl_c_at_the_very_end_changes_nothing(whole: Path, tmp_path: Path) -> None:
    run = run_experiment(TINY, tmp_path / "run", listener=interrupting(11))
    assert run.status == "done"
    assert kept(tmp_path / "run") == kept(whole)


def test_a_second_ctrl_c_does_not_wait(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted, match=f"stopped after epoch 0 of 4.*{HINT}"):
        run_experiment(TINY, folder, listener=interrupting(4, times=2))
    assert RunFolder(folder).read().status == "interrupted"
    resume_experiment(folder)
    assert kept(folder) == kept(whole)


def test_ctrl_c_within_an_epoch(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint then stands between two steps of one epoch."""
    steps: Iterator[int] = iter(range(1, 1000))
    from collapselab.training import Training

    real = Training.accumulate

    def accumulate(self: Training, rows: torch.Tensor) -> torch.Tensor:
        if next(steps) == 8:
            signal.raise_signal(signal.SIGINT)
        return real(self, rows)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "accumulate", accumulate)
        with pytest.raises(Interrupted, match="stopped after epoch 1 of 4"):
            run_experiment(TINY, tmp_path / "run")
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["state"]["probe"]["training"]["step"] == 8
    resume_experiment(tmp_path / "run")
    assert kept(tmp_path / "run") == kept(whole)


def test_a_checkpoint_by_the_clock(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    real = session.write_checkpoint

    def write(path: Path, state: dict[str, Any], *, digest: str) -> None:
        written.append(state["probe"]["training"]["step"])
        real(path, state, digest=digest)

    monkeypatch.setattr(session, "write_checkpoint", write)
    monkeypatch.setattr(session, "CHECKPOINT_SECONDS", 0.0)
    run_experiment(TINY, tmp_path / "run")
    assert written == list(range(21))
    assert kept(tmp_path / "run") == kept(whole)


def test_outside_the_main_thread(tmp_path: Path, whole: Path) -> None:
    thread = threading.Thread(target=run_experiment, args=(TINY, tmp_path / "run"))
    thread.start()
    thread.join()
    assert kept(tmp_path / "run") == kept(whole)


# ---------------------------------------------------------------------------------------- runs that fail


def test_divergence(tmp_path: Path) -> None:
    wild = WatchCollapse(epochs=3, widths=(16,), samples_per_class=10, batch_size=20, loss="mse", learning_rate=1e30)
    with pytest.raises(NotConverged, match=r"the loss became (nan|inf) in epoch 1 at learning rate 1e\+30; lower"):
        run_experiment(wild, tmp_path / "run")
    run = RunFolder(tmp_path / "run").read()
    assert run.status == "failed"
    assert "learning rate 1e+30" in (run.error or "")
    assert [row.epoch for row in RunFolder(tmp_path / "run").observations()] == [0, 0]


def test_a_failure_is_kept_and_can_be_resumed(whole: Path, tmp_path: Path) -> None:
    def failing(event: Any) -> None:
        if isinstance(event, EpochDone) and event.epoch == 2:
            raise ZeroDivisionError("the listener broke")

    with pytest.raises(ZeroDivisionError, match="the listener broke"):
        run_experiment(TINY, tmp_path / "run", listener=failing)
    run = RunFolder(tmp_path / "run").read()
    assert (run.status, run.error, run.epochs_done) == ("failed", "the listener broke", 1)
    done = resume_experiment(tmp_path / "run")
    assert (done.status, done.error) == ("done", None)
    assert kept(tmp_path / "run") == kept(whole)


def test_a_run_that_was_refused_makes_way(tmp_path: Path) -> None:
    """Settings that do not go together leave nothing to lose; what has measured something does."""
    refused = Train(augmentation=Augmentation(shift=1))
    with pytest.raises(InputError, match="shift must be 0 except for signals"):
        run_experiment(refused, tmp_path / "run")
    assert (RunFolder(tmp_path / "run").read().status, RunFolder(tmp_path / "run").observations()) == ("failed", [])
    assert run_experiment(TINY, tmp_path / "run").status == "done"
    wild = dataclasses.replace(TINY, loss="mse", learning_rate=1e30)
    with pytest.raises(NotConverged):
        run_experiment(wild, tmp_path / "wild")
    with pytest.raises(InputError, match="holds a run already"):
        run_experiment(TINY, tmp_path / "wild")


@pytest.mark.parametrize("first", [3, 6, 9, 12, 15])
def test_a_full_disk(first: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From some write on nothing can be synced: the error says so, and what was kept can be read and gone on with."""
    calls: Iterator[int] = iter(range(1, 1000))
    real: Callable[[int], None] = os.fsync

    def full(handle: int) -> None:
        if next(calls) >= first:
            raise OSError(28, "No space left on device")
        real(handle)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full)
        with pytest.raises(StorageError, match=r"cannot write .*: No space left on device"):
            run_experiment(TINY, tmp_path / "run")
    place = RunFolder(tmp_path / "run")
    assert place.read().status == "running"
    place.observations()
    assert not list(place.path.rglob("*.tmp"))
    resume_experiment(place.path)
    assert kept(place.path) == kept(whole)


def test_a_damaged_checkpoint_is_named(begun: Path) -> None:
    place = RunFolder(begun)
    place.write(place.read().model_copy(update={"status": "interrupted"}))
    place.checkpoint_file.write_bytes(place.checkpoint_file.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"checkpoint\.pt is not a complete checkpoint"):
        resume_experiment(begun)
    assert Run.model_validate_json(place.run_file.read_bytes()).status == "failed"


def test_other_surroundings_are_noted(begun: Path) -> None:
    place = RunFolder(begun)
    earlier = place.read()
    packages = {**earlier.provenance.packages, "torch": "1.0"}
    other = earlier.provenance.model_copy(update={"packages": packages})
    place.write(earlier.model_copy(update={"status": "interrupted", "provenance": other}))
    done = resume_experiment(begun, threads=2)
    assert "Resumed after epoch 4 under other conditions: threads was 1, now 2; torch was 1.0" in done.notes[-1]
    assert done.notes[:-1] == earlier.notes
