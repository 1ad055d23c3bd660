"""Feature files: every format gives back what was written, and every broken one is named with its fault."""

import csv

import numpy as np
import pytest
import safetensors.torch
import torch

from collapselab.core.errors import InputError, MissingExtra
from collapselab.evidence import LabelledFeatures, LinearHead, read_features, read_head, write_features
from collapselab.evidence.files import FORMATS
from tolerances import EXACT


def made(dtype: torch.dtype = torch.float32) -> LabelledFeatures:
    generator = torch.Generator().manual_seed(0)
    return LabelledFeatures(torch.randn(12, 5, generator=generator).to(dtype), torch.arange(12) % 3, 4)


def a_head(dtype: torch.dtype = torch.float32, *, bias: bool = True) -> LinearHead:
    generator = torch.Generator().manual_seed(1)
    return LinearHead(torch.randn(4, 5, generator=generator).to(dtype), torch.arange(4).to(dtype) if bias else None)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_round_trip(tmp_path, suffix, dtype):
    path = tmp_path / f"features{suffix}"
    write_features(path, made(dtype))
    back = read_features(path)
    EXACT.check(back.features.h, made(dtype).h)
    EXACT.check(back.features.y, made(dtype).y)
    assert back.features.num_classes == 4  # as declared, though class 3 has no sample
    assert back.head is None
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("bias", [True, False])
def test_round_trip_with_a_head(tmp_path, suffix, bias):
    path = tmp_path / f"features{suffix}"
    write_features(path, made(), a_head(bias=bias))
    back = read_features(str(path))
    assert back.head is not None
    EXACT.check(back.head.weight, a_head().weight)
    if bias:
        EXACT.check(back.head.bias, a_head().bias)
    else:
        assert back.head.bias is None


def test_bfloat16_through_safetensors(tmp_path):
    path = tmp_path / "features.safetensors"
    write_features(path, made(torch.bfloat16), a_head(torch.bfloat16))
    back = read_features(path)
    EXACT.check(back.features.h, made(torch.bfloat16).h)
    for suffix in (".npz", ".parquet"):
        with pytest.raises(InputError, match="has no bfloat16"):
            write_features(tmp_path / f"features{suffix}", made(torch.bfloat16))


def test_number_of_classes(tmp_path):
    path = tmp_path / "features.npz"
    h, y = made().h.numpy(), made().y.numpy()
    np.savez(path, h=h, y=y)
    assert read_features(path).features.num_classes == 3  # one more than the largest label
    assert read_features(path, num_classes=7).features.num_classes == 7
    head = tmp_path / "head.safetensors"
    safetensors.torch.save_file({"weight": a_head().weight}, head)
    both = read_features(path, head=head)
    assert both.features.num_classes == 4  # rows of the head
    assert both.head is not None
    single = tmp_path / "single.npz"
    np.savez(single, weight=np.ones((1, 5)))
    assert read_features(path, head=single).features.num_classes == 3  # a single output names no classes


def test_a_head_alone(tmp_path):
    path = tmp_path / "head.npz"
    np.savez(path, weight=a_head().weight.numpy(), bias=np.arange(4.0, dtype=np.float32))
    head = read_head(path)
    EXACT.check(head.weight, a_head().weight)
    EXACT.check(head.bias, a_head().bias)


def test_ignored_rows_are_counted(tmp_path):
    path = tmp_path / "features.npz"
    np.savez(path, h=made().h.numpy(), y=np.array([0, 1, -100] * 4))
    back = read_features(path, ignore_index=-100)
    assert (back.features.num_samples, back.num_ignored) == (8, 4)
    with pytest.raises(InputError, match=r"features.npz: labels must lie in 0..1, got -100 at index 2"):
        read_features(path)


# ------------------------------------------------------------------------------------------------ tables


def test_columns_of_numbers(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "wide.parquet"
    h = np.arange(36.0).reshape(3, 12)
    columns = {f"h_{i}": h[:, i] for i in reversed(range(12))}  # any order; h_10 comes after h_9
    pq.write_table(pa.table({"name": ["a", "b", "c"], "y": pa.array([0, 1, 1], pa.int32()), **columns}), path)
    features = read_features(path).features
    EXACT.check(features.h.numpy(), h)
    assert features.y.tolist() == [0, 1, 1]
    pq.write_table(pa.table({"y": [0, 1, 1], "h_0": h[:, 0], "h_2": h[:, 1]}), path)
    with pytest.raises(InputError, match=r"columns h_0 ... h_1 must be complete, got up to h_2"):
        read_features(path)


def test_columns_of_lists(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "lists.parquet"
    pq.write_table(pa.table({"h": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "y": [0, 1, 1]}), path, row_group_size=1)
    assert read_features(path).features.h.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    for h, fragment in [
        ([[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]], "lists of one length, got 2 in row 0 and 1 in row 1"),
        ([[1.0, 2.0], None, [4.0, 5.0]], "column 'h' must not have missing values, got 1"),
        ([[1.0, 2.0], [3.0, None], [4.0, 5.0]], "lists of one length without missing values"),
    ]:
        pq.write_table(pa.table({"h": h, "y": [0, 1, 1]}), path)
        with pytest.raises(InputError, match=fragment):
            read_features(path)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    import sys

    path = tmp_path / "features.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtra, match=r"pip install 'collapselab\[tables\]'"):
        read_features(path)


def test_a_head_does_not_go_into_a_table(tmp_path):
    with pytest.raises(InputError, match="parquet holds features only"):
        write_features(tmp_path / "features.parquet", made(), a_head())
    with pytest.raises(InputError, match=r"a head is read from \.npz or \.safetensors"):
        read_head(tmp_path / "features.parquet")


# ------------------------------------------------------------------------------------------------ broken files


@pytest.mark.parametrize("suffix", FORMATS)
def test_missing_empty_and_foreign_files(tmp_path, suffix):
    path = tmp_path / f"features{suffix}"
    with pytest.raises(InputError, match=f"no file .*features{suffix}"):
        read_features(path)
    path.mkdir()
    with pytest.raises(InputError, match="is not a file"):
        read_features(path)
    path.rmdir()
    path.touch()
    with pytest.raises(InputError, match="is empty"):
        read_features(path)
    for content in (b"hello, this is no such file", bytes(100)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"features\..* is not a complete"):
            read_features(path)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files(tmp_path, suffix, part):
    path = tmp_path / f"features{suffix}"
    write_features(path, made())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(InputError, match="is not a complete"):
        read_features(path)


def test_damaged_archives(tmp_path):
    path = tmp_path / "features.npz"
    np.savez_compressed(path, h=made().h.numpy(), y=made().y.numpy())
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            read_features(path)
        except InputError as error:
            assert "features.npz" in str(error)  # noqa: PT017 - some bytes do not matter, the others must be named


def test_pickled_objects_are_never_loaded(tmp_path):
    path = tmp_path / "features.npz"
    np.savez(path, h=np.array([{"a": 1}], dtype=object), y=np.array([0]))
    with pytest.raises(InputError, match="without pickled objects"):
        read_features(path)


@pytest.mark.parametrize("name", ["features.csv", "features.pt", "features.npy", "features.NPZ", "features"])
def test_other_formats_are_refused_with_the_known_ones(tmp_path, name):
    path = tmp_path / name
    with path.open("w", newline="") as file:
        csv.writer(file).writerow([1.0, 2.0, 0])
    for act in (read_features, read_head, lambda p: write_features(p, made())):
        with pytest.raises(InputError, match=r"feature files are .npz, .safetensors, .parquet, got"):
            act(path)


@pytest.mark.parametrize(
    ("arrays", "fragment"),
    [
        (
            {"features": np.ones((2, 2)), "labels": np.arange(2)},
            "must hold arrays 'h' (N, d) and 'y' (N,), got ['f",
        ),
        ({}, "got nothing"),
        ({"h": np.ones((2, 2))}, "must hold arrays 'h' (N, d) and 'y' (N,), got ['h']"),
        ({"h": np.ones((2, 2)), "y": np.arange(3)}, "labels must be one per row: 2 rows, 3 labels"),
        ({"h": np.ones((2, 2)), "y": np.arange(2.0)}, "labels must be integers"),
        ({"h": np.ones((2, 2)), "y": np.array(["a", "b"])}, "labels must hold numbers"),
        ({"h": np.ones((2, 2), int), "y": np.arange(2)}, "features must have a floating-point dtype"),
        ({"h": np.full((2, 2), np.nan), "y": np.arange(2)}, "features must be finite, got nan at index (0, 0)"),
        ({"h": np.ones((0, 2)), "y": np.zeros(0, int)}, "features must have at least one row"),
        ({"h": np.ones((2, 2)), "y": np.arange(2), "weight": np.ones((2, 3))}, "head must have 2 columns"),
        ({"h": np.ones((2, 2)), "y": np.arange(2), "weight": np.ones(2)}, "head weight must be a matrix"),
        ({"h": np.ones((2, 2)), "y": np.arange(2), "weight": np.ones((2, 2)), "bias": np.ones(3)}, "head bias must be"),
        ({"h": np.ones((2, 2)), "y": np.array([0, 2]), "weight": np.ones((2, 2))}, "labels must lie in 0..1, got 2"),
        ({"h": np.ones((2, 2)), "y": np.arange(2), "num_classes": np.ones(2)}, "num_classes must be"),
    ],
)
def test_files_that_hold_something_else(tmp_path, arrays, fragment):
    path = tmp_path / "features.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError) as refused:
        read_features(path)
    assert fragment in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_head_file_without_a_weight(tmp_path):
    path = tmp_path / "head.npz"
    np.savez(path, w=np.ones((2, 2)))
    with pytest.raises(InputError, match=r"must hold an array 'weight' \(K, d\), got \['w'\]"):
        read_head(path)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "features.npz"
    write_features(path, made())
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_features(path, made(torch.float64))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
