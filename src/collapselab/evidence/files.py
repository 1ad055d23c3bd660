"""Feature files: ``h`` (N, d), ``y`` (N,), and perhaps the classifier ``weight`` (K, d) and ``bias`` (K,)."""

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence.features import LabelledFeatures
from collapselab.evidence.head import LinearHead
from collapselab.evidence.parquet import parquet_bytes, read_parquet
from collapselab.records.files import write_bytes

FORMATS = (".npz", ".safetensors", ".parquet")


@dataclass(frozen=True)
class FeatureFile:
    """What a feature file holds.

    Attributes:
        features: Features and labels.
        head: The classifier, if the file brings one.
        num_ignored: Rows left out because of `ignore_index`.
    """

    features: LabelledFeatures
    head: LinearHead | None = None
    num_ignored: int = 0


def read_features(
    path: str | os.PathLike[str],
    *,
    head: str | os.PathLike[str] | None = None,
    num_classes: int | None = None,
    ignore_index: int | None = None,
) -> FeatureFile:
    """Read features, labels and perhaps a classifier.

    ``.npz`` and ``.safetensors`` hold arrays ``h``, ``y`` and optionally ``weight``, ``bias`` and ``num_classes``;
    ``.parquet`` has a column ``y`` and either a column ``h`` of lists or columns ``h_0``, ``h_1``, ...

    Args:
        path: The file.
        head: Another file (``.npz`` or ``.safetensors``) with ``weight`` and optionally ``bias``.
        num_classes: K; by default as many as the classifier has rows, else as declared in the file, else one more than
            the largest label.
        ignore_index: Rows with this label are left out.

    Returns:
        The validated content.

    Raises:
        InputError: If a file is missing, empty, truncated, of another format, or holds something else.
    """
    path = Path(path)
    arrays = _arrays(path)
    if "h" not in arrays or "y" not in arrays:
        raise InputError(f"{path} must hold arrays 'h' (N, d) and 'y' (N,), got {sorted(arrays) or 'nothing'}")
    own = _head(arrays, path) if "weight" in arrays else None
    found = own if head is None else read_head(head)
    try:
        if num_classes is None and found is not None and found.num_classes > 1:
            num_classes = found.num_classes
        elif num_classes is None and "num_classes" in arrays:
            num_classes = _declared(arrays["num_classes"])
        features = LabelledFeatures.of(arrays["h"], arrays["y"], num_classes=num_classes, ignore_index=ignore_index)
    except (InputError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: {error}") from error
    if found is not None and found.num_features != features.num_features:
        raise InputError(
            f"{head or path}: head must have {features.num_features} columns like the features, got weight"
            f" {tuple(found.weight.shape)}"
        )
    return FeatureFile(features, found, num_ignored=len(arrays["y"]) - features.num_samples)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read whatever arrays a file holds.

    Args:
        path: ``.npz`` without pickled objects, or ``.safetensors``.

    Returns:
        Arrays or tensors by their names.

    Raises:
        InputError: If the file is missing, truncated or of another format.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        raise InputError(f"{path}: arrays are read from .npz or .safetensors, got .parquet")
    return _arrays(path)


def _declared(value: Any) -> int:
    number = np.asarray(value)
    if number.size != 1 or number.dtype.kind not in "iu":
        raise InputError(f"num_classes must be one integer, got {checks.described(number)}")
    return int(number.reshape(()))


def read_head(path: str | os.PathLike[str]) -> LinearHead:
    """Read a classifier alone.

    Args:
        path: ``.npz`` or ``.safetensors`` with ``weight`` (K, d) and optionally ``bias`` (K,).

    Returns:
        The validated head.

    Raises:
        InputError: If the file is missing, truncated, of another format, or holds something else.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        raise InputError(f"{path}: a head is read from .npz or .safetensors, got .parquet")
    arrays = _arrays(path)
    if "weight" not in arrays:
        raise InputError(f"{path} must hold an array 'weight' (K, d), got {sorted(arrays) or 'nothing'}")
    return _head(arrays, path)


def _head(arrays: Mapping[str, Any], path: Path) -> LinearHead:
    try:
        return LinearHead.of(arrays["weight"], arrays.get("bias"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _arrays(path: Path) -> dict[str, Any]:
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: feature files are {', '.join(FORMATS)}, got {path.suffix or 'no suffix'}")
    if not path.exists():
        raise InputError(f"no file {path}")
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    return {".npz": _read_npz, ".safetensors": _read_safetensors, ".parquet": read_parquet}[path.suffix](path)


def _read_npz(path: Path) -> dict[str, Any]:
    # Opened by us: after an error NumPy leaves the file to the garbage collector.
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            if not isinstance(content, np.lib.npyio.NpzFile):
                raise InputError(f"{path} is not a .npz archive but a single array")
            return {name: content[name] for name in content.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError, NotImplementedError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a complete .npz file without pickled objects: {error}") from error


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            declared = (file.metadata() or {}).get("num_classes", "")
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is not a complete safetensors file: {error}") from error
    if declared.isdigit():
        arrays.setdefault("num_classes", int(declared))
    return arrays


def write_features(path: str | os.PathLike[str], features: LabelledFeatures, head: LinearHead | None = None) -> None:
    """Write features, labels and perhaps a classifier, atomically.

    Args:
        path: Where to; the suffix chooses the format.
        features: What to keep.
        head: The classifier, for ``.npz`` and ``.safetensors``.

    Raises:
        InputError: If the format is not known or cannot hold this.
    """
    path = Path(path)
    tensors = {"h": features.h, "y": features.y}
    if head is not None:
        tensors["weight"] = head.weight
        if head.bias is not None:
            tensors["bias"] = head.bias
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    if path.suffix == ".safetensors":
        metadata = {"num_classes": str(features.num_classes)}
        write_bytes(path, safetensors.torch.save(tensors, metadata=metadata))
    elif path.suffix == ".npz":
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {"num_classes": np.int64(features.num_classes), **_numpy(tensors, path)}
        np.savez(buffer, **arrays)
        write_bytes(path, buffer.getvalue())
    elif path.suffix == ".parquet":
        if head is not None:
            raise InputError(f"{path}: parquet holds features only; write the head as .npz or .safetensors")
        write_bytes(path, parquet_bytes(_numpy(tensors, path), features.num_classes, path))
    else:
        raise InputError(f"{path}: feature files are {', '.join(FORMATS)}, got {path.suffix or 'no suffix'}")


def _numpy(tensors: Mapping[str, Tensor], path: Path) -> dict[str, np.ndarray]:
    foreign = [name for name, t in tensors.items() if t.dtype == torch.bfloat16]
    if foreign:
        raise InputError(
            f"{path}: {path.suffix} has no bfloat16 ({foreign[0]}); write .safetensors or convert to float32"
        )
    return {name: t.numpy() for name, t in tensors.items()}
