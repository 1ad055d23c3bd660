"""Tables of the package datasets: where they come from, which column is what, and their labels as numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from collapselab.core import checks, extras
from collapselab.core.errors import InputError
from collapselab.training.data._known import KNOWN

Tables = Mapping[str, Any]
"""Name of a split to its table."""


def package() -> Any:
    """The package datasets; from version 4 on it runs no code that comes with a data set.

    Returns:
        The module.
    """
    return extras.require("datasets", extra="hf", purpose="reading Hugging Face data sets")


def open_tables(path: str, *, configuration: str | None, revision: str | None) -> Tables:
    """The splits of a data set.

    Args:
        path: A folder that was saved by datasets, a folder of images or of data files, a parquet file, or the name of
            a data set on the Hugging Face Hub.
        configuration: Which of several configurations.
        revision: Commit, tag or branch on the Hub.

    Returns:
        Tables by the name of their split.

    Raises:
        InputError: If there is nothing of that name.
    """
    local = Path(path).expanduser()
    if not local.exists() and (path.startswith((".", "~", "/")) or local.suffix == ".parquet"):
        raise InputError(f"path must be a file or a folder that exists, got {path!r}")
    datasets = package()
    try:
        found = _local(local, configuration) if local.exists() else _remote(path, configuration, revision)
    except (ConnectionError, FileNotFoundError, ValueError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        expected = (
            f"one of {', '.join(KNOWN)}, a local folder or parquet file, or a data set of the Hugging Face Hub, in its"
            " cache or within reach"
        )
        raise InputError(f"path must be {expected}; got {path!r} ({reason})") from error
    return found if isinstance(found, datasets.DatasetDict) else {"train": found}


def _local(path: Path, configuration: str | None) -> Any:
    datasets = package()
    if path.is_file():
        if path.suffix != ".parquet":
            raise InputError(f"path must be a folder or end in .parquet, got {str(path)!r}")
        return datasets.load_dataset("parquet", data_files={"train": str(path)})
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        return datasets.load_from_disk(str(path))
    return datasets.load_dataset(str(path), configuration)


def _remote(path: str, configuration: str | None, revision: str | None) -> Any:
    return package().load_dataset(path, configuration, revision=revision)


def column_of(features: Mapping[str, Any], kind: type, *, given: str | None, name: str) -> str:
    """The column that is meant, or the only one of a kind.

    Args:
        features: Columns of a table and what is in them.
        kind: Class of the feature that is looked for.
        given: The name that was given, if any.
        name: What it is for, as the setting is called.

    Returns:
        Its name.

    Raises:
        InputError: If there is no such column, or if there are several.
    """
    found = [column for column, feature in features.items() if isinstance(feature, kind)]
    if given is not None:
        if given not in features:
            raise InputError(f"{name} must be one of the columns {', '.join(features)}, got {given!r}")
        return given
    if len(found) != 1:
        which = ", ".join(found or features)
        what = "several of that kind" if found else f"no column of kind {kind.__name__}"
        raise InputError(f"{name} must be given as one of the columns {which}, got none and {what}")
    return found[0]


def labels_of(tables: Sequence[tuple[str, Any]], column: str) -> tuple[list[Tensor], int]:
    """Labels of several splits as 0..K-1.

    A column of class labels keeps its numbers; whole numbers and words of any other column are numbered in their
    order in the first split.

    Args:
        tables: Names and tables of the splits, that for training first.
        column: Name of the column.

    Returns:
        One vector (n,) for each split, int64, and K.

    Raises:
        InputError: If the column holds nothing that names a class, or a later split has a class the first has not.
    """
    values = [table.select_columns([column])[:][column] for _, table in tables]
    feature = tables[0][1].features[column]
    if isinstance(feature, package().ClassLabel):
        num_classes = feature.num_classes
    else:
        number = _numbering(values[0], column)
        num_classes = len(number)
        values = [[number.get(value, -1) for value in split] for split in values]
    labels = []
    for (name, _), split in zip(tables, values, strict=True):
        y = torch.tensor([-1 if value is None else value for value in split], dtype=torch.int64)
        labels.append(checks.labels_in_range(y, num_classes, f"labels of split {name}"))
    return labels, num_classes


def _numbering(values: Sequence[Any], column: str) -> dict[Any, int]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise InputError(f"label must be a column of whole numbers or words, got {value!r} in {column!r}")
    return {value: number for number, value in enumerate(sorted(set(values)))}
