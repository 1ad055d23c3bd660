"""A run's folder: rows that grow by whole lines, strict reading, forgetting what came after a checkpoint."""

import errno
import json
import os

import numpy as np
import pytest

from collapselab.core.errors import InputError, StorageError
from collapselab.records import Moment, RunFolder
from records import samples


@pytest.fixture
def folder(tmp_path):
    """A run of three measured epochs."""
    found = RunFolder(tmp_path / "run")
    found.write(samples.run())
    for epoch in (0, 1, 3):
        found.append(samples.observation(epoch))
        found.write_snapshot(epoch, {"labels": np.arange(epoch + 1)})
    return found


def test_what_is_written_is_read(folder):
    assert folder.exists()
    assert folder.read() == samples.run()
    assert folder.observations() == [samples.observation(epoch) for epoch in (0, 1, 3)]
    assert folder.snapshot_epochs() == [0, 1, 3]
    assert folder.read_snapshot(3)["labels"].tolist() == [0, 1, 2, 3]


def test_a_run_is_replaced_whole(folder):
    done = samples.run(status="done", verdict=samples.verdict(), epochs_done=3)
    folder.write(done)
    assert folder.read() == done


def test_an_empty_place(tmp_path):
    nothing = RunFolder(tmp_path / "nowhere")
    assert not nothing.exists()
    assert nothing.observations() == []
    assert nothing.snapshot_epochs() == []
    with pytest.raises(InputError, match="no run folder"):
        nothing.read()
    with pytest.raises(InputError, match=r"holds no run: there is no run\.json"):
        RunFolder(tmp_path).read()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a run record"),
        (b"{", "is not a run record"),
        (b"[]", "is not a run record"),
        (b"null", "is not a run record"),
        (b'{"scripts": {"test": "jest"}}', "is not a run record: name: Field required"),
        (b"\xff\xfe\x00", "is not a run record"),
        (b'{"schema_version": 7}', "schema_version 7 is not one this version of collapselab reads"),
    ],
)
def test_foreign_records_are_refused(folder, content, message):
    folder.run_file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        folder.read()


def test_every_truncation_of_the_record_is_refused(folder):
    content = folder.run_file.read_bytes().rstrip()
    for size in range(0, len(content), 17):
        folder.run_file.write_bytes(content[:size])
        with pytest.raises(InputError, match="is not a run record"):
            folder.read()


@pytest.mark.parametrize("lost", [1, 2, 100])
def test_a_last_row_cut_off_by_a_kill_never_came_to_be(folder, lost):
    content = folder.series_file.read_bytes()
    folder.series_file.write_bytes(content[:-lost])
    assert [row.epoch for row in folder.observations()] == [0, 1]
    folder.keep(2, [])
    folder.append(samples.observation(2))
    assert [row.epoch for row in folder.observations()] == [0, 1, 2]


@pytest.mark.parametrize("line", [b"{}\n", b"\n", b"not json\n", b"\xff\xfe\n"])
def test_a_complete_row_that_is_none_is_named(folder, line):
    rows = folder.series_file.read_bytes().splitlines(keepends=True)
    folder.series_file.write_bytes(rows[0] + line + rows[1])
    with pytest.raises(InputError, match=r"series\.jsonl, line 2, is not an observation"):
        folder.observations()


def test_a_row_with_nan_is_refused(folder):
    row = folder.series_file.read_bytes().splitlines()[0].replace(b'"error":0.0', b'"error":NaN')
    folder.series_file.write_bytes(row + b"\n")
    with pytest.raises(InputError, match="line 1"):
        folder.observations()


def test_a_full_disk_takes_the_row_back(folder, monkeypatch):
    before = folder.series_file.read_bytes()

    def full_disk(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError, match=r"cannot write .*series\.jsonl: No space left on device"):
        folder.append(samples.observation(4))
    with pytest.raises(StorageError, match=r"cannot write .*run\.json: No space left on device"):
        folder.write(samples.run(status="done"))
    monkeypatch.undo()
    assert folder.series_file.read_bytes() == before
    assert folder.read().status == "running"
    folder.append(samples.observation(4))
    assert [row.epoch for row in folder.observations()] == [0, 1, 3, 4]


def test_a_device_that_is_full(monkeypatch, tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    monkeypatch.setattr(RunFolder, "series_file", property(lambda self: "/dev/full"))
    with pytest.raises(StorageError, match="No space left on device"):
        RunFolder(tmp_path).append(samples.observation(0))


def test_forgetting_what_came_after(folder):
    folder.append(samples.observation(1, split="test"))
    folder.write_snapshot(1, {"labels": np.arange(1)}, step=12)
    folder.write_snapshot(0, {"labels": np.arange(1)}, arm="etf")
    folder.keep(2, ["epoch-000000.safetensors", "etf/epoch-000000.safetensors"])
    assert [(row.epoch, row.split) for row in folder.observations()] == [(0, "train"), (1, "train")]
    assert folder.snapshots() == [Moment(0), Moment(0, arm="etf")]
    with pytest.raises(InputError, match=r"series\.jsonl must hold 3 rows, as the checkpoint says, got 2"):
        folder.keep(3, ())
    folder.keep(0, ())
    assert folder.observations() == []
    assert folder.snapshots() == []


def test_snapshots_within_an_epoch_and_of_several_arms(folder):
    for arm in ("b", "a"):
        for epoch, step in ((1, 12), (1, None), (0, 5), (1, 1100)):
            moment = folder.write_snapshot(epoch, {"x": np.array([epoch, step or 0])}, step=step, arm=arm)
            assert moment == Moment(epoch, step, arm)
            assert (folder.path / "snapshots" / moment.file).is_file()
    assert [(m.epoch, m.step) for m in folder.snapshots("a")] == [(0, 5), (1, None), (1, 12), (1, 1100)]
    assert [m.arm for m in folder.snapshots()] == [*[""] * 3, *"aaaa", *"bbbb"]
    assert folder.snapshot_epochs() == [0, 1, 3]
    assert folder.snapshot_epochs("b") == [1]
    assert folder.read_snapshot(1, step=12, arm="b")["x"].tolist() == [1, 12]


@pytest.mark.parametrize("arm", ["", "fixed-etf"])
def test_weights_come_back_as_they_are_in_the_network(folder, arm):
    weights = {"head.weight": np.ones((3, 2), np.float32), "bn.num_batches_tracked": np.array(7)}
    with pytest.raises(InputError, match="no file"):
        folder.read_weights(arm)
    folder.write_weights(weights, arm=arm)
    found = folder.read_weights(arm)
    assert found.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    folder.clear()
    assert not folder.weights_file(arm).exists()


def test_rows_are_one_line_of_json_each(folder):
    lines = folder.series_file.read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 3]


def test_a_missing_snapshot_is_refused(folder):
    with pytest.raises(InputError, match=r"no file .*epoch-000002\.safetensors"):
        folder.read_snapshot(2)


def test_two_processes_do_not_write_to_one_folder(folder):
    pytest.importorskip("fcntl")
    with (
        folder.locked(),
        pytest.raises(InputError, match="another process is writing to"),
        RunFolder(folder.path).locked(),
    ):
        pass
    with RunFolder(folder.path).locked():
        assert folder.exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("text")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match="must be a folder, got a file"), RunFolder(place).locked():
            pass


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(StorageError, match="Permission denied"), RunFolder(tmp_path / "run").locked():
        pass


def test_what_a_kill_left_is_swept_away(folder):
    for stray in (".run.json.abc.tmp", "snapshots/.epoch-000003.safetensors.abc.tmp", "weights/.a.safetensors.x.tmp"):
        (folder.path / stray).parent.mkdir(exist_ok=True)
        (folder.path / stray).write_bytes(b"half")
    (folder.path / "notes.tmp").write_text("the user's own")
    folder.sweep()
    assert [file.name for file in folder.path.rglob("*.tmp")] == ["notes.tmp"]
    assert folder.snapshot_epochs() == [0, 1, 3]


def test_a_series_is_forgotten_whole(folder):
    folder.series_file.write_bytes(b"nonsense\n")
    folder.clear()
    assert folder.observations() == []
    assert folder.snapshot_epochs() == []
    assert folder.read() == samples.run()
    folder.clear()
