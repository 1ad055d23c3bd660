"""Single files: a reader never meets half of one, and a full disk leaves what was there."""

import errno
import os

import numpy as np
import pytest

from collapselab.core.errors import InputError, StorageError
from collapselab.records import read_arrays, write_arrays, write_bytes


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_content_and_mode(tmp_path):
    path = tmp_path / "deep" / "er" / "file"
    write_bytes(path, b"one")
    write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    write_bytes(path, b"old")
    monkeypatch.setattr(os, step, full_disk)
    with pytest.raises(StorageError, match=rf"cannot write {path}: No space left on device"):
        write_bytes(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_bytes(tmp_path / "file" / "below", b"")
    with pytest.raises(OSError, match="cannot write"):
        write_bytes(tmp_path / "file" / "below", b"")


def test_an_interruption_leaves_no_litter(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "file", b"new")
    assert list(tmp_path.iterdir()) == []


def test_arrays_come_back_to_the_bit(tmp_path):
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::2],
        "b": np.array([1, -(2**62)]),
        "empty": np.zeros((0, 3)),
        "tiny": np.array([5e-324, -0.0]),
    }
    write_arrays(tmp_path / "x", arrays, metadata={"schema": "x/1", "text": "ü \n"})
    found, metadata = read_arrays(tmp_path / "x")
    assert metadata == {"schema": "x/1", "text": "ü \n"}
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
        assert found[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 64, b"PK\x03\x04" + b"0" * 100, b'{"json": 1}'])
def test_foreign_files_are_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match=r"x is not a complete safetensors file"):
        read_arrays(tmp_path / "x")


def test_every_truncation_is_noticed(tmp_path):
    write_arrays(tmp_path / "x", {"a": np.arange(5.0)}, metadata={})
    content = (tmp_path / "x").read_bytes()
    for size in range(len(content)):
        (tmp_path / "x").write_bytes(content[:size])
        with pytest.raises(InputError, match="not a complete safetensors file"):
            read_arrays(tmp_path / "x")


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_arrays(tmp_path / "x")
    with pytest.raises(InputError, match="no file"):
        read_arrays(tmp_path)


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    """The library writes the header's text in an order of its own, another in each process."""
    text = {
        name: str(number) for number, name in enumerate(["schema_version", "epoch", "seed", "author", "title", "é"])
    }
    for name, metadata in (("a", text), ("b", dict(reversed(text.items())))):
        write_arrays(tmp_path / name, {"x": np.arange(3), "y": np.ones((2, 2))}, metadata=metadata)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    arrays, found = read_arrays(tmp_path / "a")
    assert found == text
    assert arrays["x"].tolist() == [0, 1, 2]
