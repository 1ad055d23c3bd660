"""The state of a training as bytes: plain tensors and numbers, read back without running anything."""

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from collapselab.core.errors import InputError
from collapselab.records.files import write_bytes

_VERSION = 2


def write_checkpoint(path: Path, state: dict[str, Any], *, digest: str) -> None:
    """Keep a state, atomically.

    Args:
        path: Where to.
        state: What `Training.state` returned.
        digest: What identifies the configuration it belongs to.
    """
    buffer = io.BytesIO()
    torch.save({"version": _VERSION, "digest": digest, "state": state}, buffer)
    write_bytes(path, buffer.getvalue())


def read_checkpoint(path: Path, *, digest: str) -> dict[str, Any]:
    """Read a state back.

    Args:
        path: Where from.
        digest: What identifies the configuration that is to go on.

    Returns:
        The state, on the CPU.

    Raises:
        InputError: If the file is damaged, of another version, or belongs to another configuration.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that are no checkpoints; they are refused anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
        version, found, state = content["version"], content["digest"], content["state"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is not a complete checkpoint: {reason}") from error
    if version != _VERSION:
        raise InputError(f"{path} must be a checkpoint of version {_VERSION}, got version {version!r}")
    if found != digest:
        raise InputError(f"{path} belongs to another configuration than the run record beside it")
    return state
