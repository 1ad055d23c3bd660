"""Feature tables in parquet, through pyarrow."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from collapselab.core.errors import InputError
from collapselab.core.extras import require


def read_parquet(path: Path) -> dict[str, Any]:
    """Read a column ``y`` and either a column ``h`` of lists or columns ``h_0``, ``h_1``, ...

    Args:
        path: The file.

    Returns:
        Arrays ``h``, ``y`` and perhaps ``num_classes``; where ``h`` or ``y`` is missing, the names of what is there.

    Raises:
        InputError: If it is no complete parquet file, or a column has gaps.
    """
    parquet = require("pyarrow.parquet", extra="tables", purpose=f"reading {path}")
    arrow = require("pyarrow", extra="tables", purpose=f"reading {path}")
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a complete parquet file: {error}") from error
    names: list[str] = table.column_names
    arrays: dict[str, Any] = {}
    for name in {"y", "h"} & set(names):
        arrays[name] = _column(table.column(name), f"{path}: column {name!r}")
    wide = sorted((name for name in names if re.fullmatch(r"h_\d+", name)), key=lambda name: int(name[2:]))
    if "h" not in arrays and wide:
        if wide != [f"h_{i}" for i in range(len(wide))]:
            raise InputError(f"{path}: columns h_0 ... h_{len(wide) - 1} must be complete, got up to {wide[-1]}")
        arrays["h"] = np.stack([_column(table.column(name), f"{path}: column {name!r}") for name in wide], axis=1)
    declared = (table.schema.metadata or {}).get(b"num_classes", b"")
    if declared.isdigit():
        arrays["num_classes"] = int(declared)
    return arrays if "h" in arrays and "y" in arrays else dict.fromkeys(names)


def _column(column: Any, name: str) -> np.ndarray:
    """A column as an array: (N,), or (N, d) for a column of lists of one length."""
    array = column.combine_chunks()
    array = array.chunk(0) if hasattr(array, "chunks") and array.num_chunks == 1 else array
    if array.null_count:
        raise InputError(f"{name} must not have missing values, got {array.null_count}")
    if not hasattr(array, "flatten") or not hasattr(array.type, "value_type"):
        return array.to_numpy(zero_copy_only=False)
    values = array.flatten()
    if values.null_count or len(array) == 0 or len(values) % len(array):
        raise InputError(f"{name} must hold lists of one length without missing values")
    lengths = array.value_lengths().to_numpy(zero_copy_only=False)
    if (lengths != lengths[0]).any():
        at = int((lengths != lengths[0]).nonzero()[0][0])
        raise InputError(
            f"{name} must hold lists of one length, got {lengths[0]} in row 0 and {lengths[at]} in row {at}"
        )
    return values.to_numpy(zero_copy_only=False).reshape(len(array), -1)


def parquet_bytes(arrays: Mapping[str, np.ndarray], num_classes: int, path: Path) -> bytes:
    """A parquet file with a column ``h`` of lists and a column ``y``.

    Args:
        arrays: ``h`` (N, d) and ``y`` (N,).
        num_classes: K, kept in the metadata.
        path: Where it will go, for messages.

    Returns:
        The file's content.
    """
    arrow: Any = require("pyarrow", extra="tables", purpose=f"writing {path}")
    parquet: Any = require("pyarrow.parquet", extra="tables", purpose=f"writing {path}")
    h = arrow.FixedSizeListArray.from_arrays(arrow.array(arrays["h"].ravel()), arrays["h"].shape[1])
    table = arrow.table({"h": h, "y": arrow.array(arrays["y"])})
    sink = arrow.BufferOutputStream()
    parquet.write_table(table.replace_schema_metadata({"num_classes": str(num_classes)}), sink)
    return sink.getvalue().to_pybytes()
