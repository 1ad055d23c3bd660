"""Files of labels alone, to count classes."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence.files import read_arrays
from collapselab.evidence.parquet import read_parquet

FORMATS = (".npz", ".safetensors", ".parquet", ".npy", ".txt", ".csv")


def read_class_counts(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Count the samples of each class in a file of labels.

    Args:
        path: ``.npz``, ``.safetensors`` or ``.parquet`` with ``y``; ``.npy`` of integers; or ``.txt`` or ``.csv`` of
            integers, one a line or with commas between them. Labels are 0 to K-1.

    Returns:
        Samples of each class.

    Raises:
        InputError: If the file is missing or of another format, or its labels are not those of two classes or more
            without a gap.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: files of labels are {', '.join(FORMATS)}, got {path.suffix or 'no suffix'}")
    if not path.is_file():
        raise InputError(f"no file {path}" if not path.exists() else f"{path} is not a file")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    try:
        labels = checks.labels(_labels(path), "y")
        if labels.numel() == 0:
            raise InputError("y must hold labels, got none")
        num_classes = checks.classes_of(labels, "y")
        checks.labels_in_range(labels, num_classes, "y")
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    counts = np.bincount(labels.cpu().numpy(), minlength=num_classes)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        raise InputError(f"{path}: every class must have samples, got none of class {empty[0]} of {num_classes}")
    return tuple(counts.tolist())


def _labels(path: Path) -> Any:
    if path.suffix in (".txt", ".csv"):
        return _of_text(path)
    if path.suffix == ".npy":
        return _of_array(path)
    arrays = read_parquet(path) if path.suffix == ".parquet" else read_arrays(path)
    if "y" not in arrays:
        raise InputError(f"{path} must hold an array 'y' (N,), got {sorted(arrays) or 'nothing'}")
    return arrays["y"]


def _of_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a complete .npy file without pickled objects: {error}") from error


def _of_text(path: Path) -> np.ndarray:
    try:
        words = path.read_text(encoding="utf-8").replace(",", " ").split()
        return np.array([int(word) for word in words], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path} must hold whole numbers: {error}") from error
