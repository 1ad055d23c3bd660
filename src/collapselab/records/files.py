"""Atomic writing and strict reading of single files: a reader never meets half of one."""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from collapselab.core.errors import InputError, StorageError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the new one, whatever happens in between.

    Args:
        path: Where to.
        content: The whole content.

    Raises:
        StorageError: If the disk is full or the place cannot be written; an earlier file stays as it was.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files private; records are meant to be shared
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, metadata: Mapping[str, str]) -> None:
    """Write named arrays as one safetensors file, atomically.

    Args:
        path: Where to.
        arrays: Name to array; made contiguous.
        metadata: Text kept in the file's header.
    """
    # Not `ascontiguousarray`, which gives an array without axes one.
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_bytes(path, _ordered(save(contiguous, metadata=dict(metadata))))


def _ordered(content: bytes) -> bytes:
    # The library writes the text of the header in an order that changes from process to process; the same arrays must
    # give the same bytes, so it is put in alphabetical order.
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    head = {"__metadata__": dict(sorted(metadata.items())), **header}
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format aligns what follows
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a safetensors file whole.

    Args:
        path: Where from.

    Returns:
        Its arrays and the text in its header.

    Raises:
        InputError: If there is no such file, or it is truncated or no safetensors file.
    """
    if not path.is_file():
        raise InputError(f"no file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is not a complete safetensors file: {error}") from error
