"""Inputs from a file of arrays."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from collapselab.core.errors import InputError
from collapselab.training.data.arrays import Arrays
from tolerances import EXACT, Relative

ROUNDED = Relative("float32 inputs", 1e-6).floor(100)


def written(path: Path, **arrays: np.ndarray) -> str:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        safetensors.numpy.save_file(arrays, path)
    return str(path)


def made(n: int, *shape: int, kind: type = np.uint8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (n, *shape), dtype=np.uint8) if kind is np.uint8 else rng.normal(3, 2, (n, *shape))
    return x.astype(kind), np.arange(n) % 3


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_both_parts_of_bytes(tmp_path: Path, suffix: str, generator: torch.Generator) -> None:
    (x, y), (tx, ty) = made(12, 5, 4), made(6, 5, 4, seed=1)
    path = written(tmp_path / f"set{suffix}", x_train=x, y_train=y, x_test=tx, y_test=ty)
    splits = Arrays(path=path).load(generator)
    assert (splits.shape, splits.num_classes) == ((1, 5, 4), 3)
    assert splits.train.x.dtype == torch.uint8
    for samples, raw, labels in ((splits.train, x, y), (splits.test, tx, ty)):
        found, found_labels = samples.take(torch.arange(len(labels)))
        ROUNDED.check(found[:, 0], (raw - x.astype(np.float64).mean()) / x.astype(np.float64).std())
        EXACT.check(found_labels, torch.from_numpy(labels))


def test_channels_of_bytes_are_standardised_one_by_one(tmp_path: Path, generator: torch.Generator) -> None:
    x, y = made(12, 3, 5, 4)
    path = written(tmp_path / "set.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    found = Arrays(path=path).load(generator).train.take(torch.arange(12))[0].double()
    ROUNDED.check(found.mean((0, 2, 3)), torch.zeros(3))
    ROUNDED.check(found.std((0, 2, 3), correction=0), torch.ones(3))


@pytest.mark.parametrize("shape", [(7,), (2, 9), (1, 4, 4)])
def test_one_part_of_floats(tmp_path: Path, shape: tuple[int, ...], generator: torch.Generator) -> None:
    x, y = made(15, *shape, kind=np.float64)
    path = written(tmp_path / "set.npz", x=x, y=y)
    splits = Arrays(path=path, samples_per_class=3).load(generator)
    assert torch.bincount(splits.train.y).tolist() == [3, 3, 3]
    assert torch.bincount(splits.test.y).tolist() == [2, 2, 2]
    values, _ = splits.train.take(torch.arange(9))
    ROUNDED.check(values.double().mean(), 0.0)
    ROUNDED.check(values.double().std(correction=0), 1.0)
    assert splits.shape == shape


def test_subsample_leaves_the_test_part(tmp_path: Path, generator: torch.Generator) -> None:
    x, y = made(12, 5, 4)
    path = written(tmp_path / "set.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    splits = Arrays(path=path, samples_per_class=4).load(generator)
    assert (len(splits.train), len(splits.test)) == (12, 12)
    with pytest.raises(InputError, match="samples_per_class must be at most 4 here, got 5"):
        Arrays(path=path, samples_per_class=5).load(generator)


def test_files_that_do_not_fit(tmp_path: Path, generator: torch.Generator) -> None:
    x, y = made(6, 5, 4)
    cases = {
        "alone": ({"x": x, "y": y}, "samples_per_class must be given where a file has no inputs for testing"),
        "names": ({"h": x, "y": y}, r"must hold x and y or x_train, .*, got \['h', 'y'\]"),
        "half": ({"x_train": x, "y_train": y}, "must hold x and y or x_train"),
        "short": ({"x": x, "y": y[:4]}, "y must be one per row: 6 rows, 4 labels"),
        "below": ({"x": x, "y": y - 1}, "y must be labels of at least 0, got -1"),
        "kind": ({"x": x.astype(np.int32), "y": y}, "x must be floating-point numbers, or bytes"),
        "flat": ({"x": x[:, 0, 0], "y": y}, r"x must hold inputs \(n, ...\), got"),
        "nan": ({"x": np.full((6, 2), np.nan), "y": y}, "x must be finite"),
        "wide": ({"x": x.reshape(6, -1)[:, :0] / 2.0, "y": y}, r"x must hold inputs \(n, ...\), got"),
        "one": ({"x": x / 2.0, "y": 0 * y}, "must have at least 2 classes, got 1"),
        "names of classes": (
            {"x": x / 2.0, "y": y + 2**40},
            "y must be numbers of classes, 0 to 999999 at most, got 1",
        ),
        "mixed": ({"x_train": x, "y_train": y, "x_test": x / 2.0, "y_test": y}, "must have the same kind of inputs"),
    }
    for name, (arrays, message) in cases.items():
        with pytest.raises(InputError, match=message):
            Arrays(path=written(tmp_path / f"{name}.npz", **arrays)).load(generator)
    constant = written(tmp_path / "constant.npz", x=np.ones((6, 2)), y=y)
    huge = written(tmp_path / "huge.npz", x=1e300 * np.arange(12.0).reshape(6, 2), y=y)
    for path in (constant, huge):
        with pytest.raises(
            InputError, match=r"training inputs must vary, and their squares be numbers of float64, got"
        ):
            Arrays(path=path, samples_per_class=1).load(generator)
    gap = written(tmp_path / "gap.npz", x=x / 2.0, y=2 * y)
    with pytest.raises(InputError, match=r"every class must have at least 2 of the samples .*, got 0 of class 1"):
        Arrays(path=gap, samples_per_class=1).load(generator)
    with pytest.raises(InputError, match="no file"):
        Arrays(path=str(tmp_path / "gone.npz")).load(generator)
    with pytest.raises(InputError, match=r"arrays are read from .npz or .safetensors, got .parquet"):
        Arrays(path="some.parquet").load(generator)


def test_bad_settings() -> None:
    with pytest.raises(InputError, match="path must name a file of arrays, got ''"):
        Arrays(path="")
    with pytest.raises(InputError, match="samples_per_class must be an integer of at least 1, got 0"):
        Arrays(path="a.npz", samples_per_class=0)
