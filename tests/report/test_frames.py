import base64

import numpy as np
import pytest

from collapselab.records import RunFolder
from collapselab.report import frames as frames_module
from collapselab.report.frames import pack, unpacked
from collapselab.report.opening import MOST_FRAMES, open_run
from report.fakes import EPOCHS, simplex, snapshot, write_run


def test_frames_hold_the_points_up_to_sixteen_bits(tmp_path):
    packed = pack(open_run(write_run(tmp_path / "run")))
    assert packed is not None
    assert [int(frame["when"].removeprefix("epoch ")) for frame in packed["frames"]] == list(EPOCHS)
    arrays, frame = snapshot(EPOCHS[3]), packed["frames"][3]
    points = unpacked(frame["points"]).reshape(-1, 9)
    # The span of ten corners is the whole space of nine dimensions: lengths and angles are kept.
    wanted = arrays["coordinates"] @ arrays["coordinates"][:5].T
    assert points @ points[:5].T == pytest.approx(wanted, abs=2e-3 * float(np.abs(wanted).max()))
    rows = np.frombuffer(base64.b64decode(frame["rows"]), dtype="<u2")
    assert rows.tolist() == arrays["labels"].tolist()
    pairs = unpacked(frame["cosines"])
    assert pairs == pytest.approx(arrays["cosines"][np.triu_indices(10, k=1)], abs=1e-4)


def test_corners_in_the_span_are_still_a_simplex(tmp_path):
    packed = pack(open_run(write_run(tmp_path / "run", classes=4)))
    assert packed is not None
    corners = np.array(packed["simplex"])
    assert corners @ corners.T == pytest.approx(simplex(4) @ simplex(4).T, abs=1e-4)


def test_twenty_of_many_classes_are_packed_in_their_own_span(tmp_path):
    folder = RunFolder(write_run(tmp_path / "run", epochs=(0, 1), classes=40, snapshots=False))
    for epoch in (0, 1):
        arrays = snapshot(epoch, classes=40, samples=3)
        kept = arrays["labels"] < 20
        few = {name: arrays[name][:20] for name in ("centres", "simplex", "classes", "weight_coordinates")}
        cut = {"coordinates": arrays["coordinates"][kept], "labels": arrays["labels"][kept]}
        folder.write_snapshot(epoch, {"cosines": arrays["cosines"]} | few | cut)
    packed = pack(open_run(folder.path))
    assert packed is not None
    assert len(packed["classes"]) == 20
    assert np.array(packed["simplex"]).shape == (20, 19)
    assert packed["pairs"] == 40


def test_snapshots_without_points_still_show_their_cosines(tmp_path):
    folder = RunFolder(write_run(tmp_path / "run", epochs=(0,), snapshots=False))
    folder.write_snapshot(0, {"cosines": snapshot(0)["cosines"]})
    packed = pack(open_run(folder.path))
    assert packed is not None
    assert packed["classes"] == []
    assert "points" not in packed["frames"][0]


def test_snapshots_without_anything_to_show_are_none(tmp_path):
    folder = RunFolder(write_run(tmp_path / "run", epochs=(0,), snapshots=False))
    assert pack(open_run(folder.path)) is None
    folder.write_snapshot(0, {"classes": np.arange(300)})
    assert pack(open_run(folder.path)) is None


def test_frames_are_left_out_evenly_to_keep_the_page_small(tmp_path, monkeypatch):
    view = open_run(write_run(tmp_path / "run"))
    monkeypatch.setattr(frames_module, "MOST_BYTES", 50_000)
    packed = pack(view)
    assert packed is not None
    kept = [int(frame["when"].removeprefix("epoch ")) for frame in packed["frames"]]
    assert 2 <= len(kept) < len(EPOCHS)
    assert (kept[0], kept[-1]) == (EPOCHS[0], EPOCHS[-1])


def test_no_more_snapshots_are_read_than_are_shown(tmp_path):
    folder = RunFolder(write_run(tmp_path / "run", epochs=(0,), snapshots=False))
    for epoch in range(100):
        folder.write_snapshot(epoch, {"cosines": np.eye(3, dtype=np.float32)})
    epochs = [kept.epoch for kept in open_run(folder.path).snapshots]
    assert len(epochs) == MOST_FRAMES
    assert (epochs[0], epochs[-1]) == (0, 99)
