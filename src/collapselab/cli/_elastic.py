"""What `collapselab elasticity` looks at besides runs: networks by their names or a Python function, and files."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from collapselab.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

_PICKLED = (".pt", ".pth", ".ckpt", ".pt2", ".bin", ".pkl")


def data_of_file(path: str) -> "tuple[Tensor, Tensor]":
    """Inputs and labels of a file.

    Args:
        path: ``.npz`` or ``.safetensors`` with ``x`` (N, ...), or ``h`` (N, d), and ``y`` (N,); or ``.parquet`` with
            columns y and h, or h_0, h_1, ...

    Returns:
        Inputs as the network takes them, and labels.

    Raises:
        InputError: If the file is of another kind, or holds something else.
    """
    from collapselab.evidence.files import read_arrays, read_features

    if Path(path).suffix == ".parquet":
        features = read_features(path).features
        return features.h, features.y
    arrays = read_arrays(path)
    name = "x" if "x" in arrays else "h"
    if name not in arrays or "y" not in arrays:
        raise InputError(f"DATA: {path} must hold x (N, ...) and y (N,), got {sorted(arrays) or 'nothing'}")
    try:
        return _checked(arrays[name], arrays["y"], name)
    except InputError as error:
        raise InputError(f"DATA: {path}: {error}") from error


def _checked(x: Any, y: Any, name: str) -> "tuple[Tensor, Tensor]":
    import torch

    from collapselab.core import checks

    inputs = checks.as_tensor(x, name)
    if inputs.ndim < 2 or not inputs.numel():
        raise InputError(f"{name} must hold inputs (N, ...), got {checks.described(inputs)}")
    if inputs.dtype not in (torch.int32, torch.int64) and not inputs.is_floating_point():
        raise InputError(f"{name} must be as the network takes it, in floating point, got {checks.described(inputs)}")
    labels = checks.labels(y, "y", num_rows=len(inputs))
    checks.labels_in_range(labels, checks.classes_of(labels, "y"), "y")
    return (checks.finite(inputs, name) if inputs.is_floating_point() else inputs), labels


def model_of(model: str, *, settings: str | None, shape: tuple[int, ...], k: int, seed: int) -> "tuple[str, nn.Module]":
    """A network by the name of one of collapselab's, or what a Python function returns.

    Args:
        model: Such as ``mlp``, or ``package.module:function``.
        settings: Those of the network, as YAML; None for its defaults.
        shape: Shape of one input.
        k: Classes of a network by name.
        seed: Where the initial weights of a network by name come from.

    Returns:
        ``network`` or ``function``, and the network.

    Raises:
        InputError: If nothing is called so, or it is no network.
    """
    if model.endswith(_PICKLED):
        raise InputError(
            f"MODEL: expected a network or package.module:function with --weights FILE.safetensors, got {model}: "
            "reading such a file would run whatever code is in it"
        )
    if ":" in model:
        if settings is not None:
            raise InputError(f"--network: expected a network of collapselab by its name beside it, got {model}")
        return "function", _called(model)
    return "network", _named(model, _mapping(settings), shape, k, seed)


def _mapping(settings: str | None) -> dict[str, Any]:
    try:
        found = {} if settings is None else yaml.safe_load(settings)
    except yaml.YAMLError as error:
        raise InputError(f"--network: expected settings such as '{{widths: [64, 32]}}', got {settings!r}") from error
    if not isinstance(found, Mapping):
        raise InputError(f"--network: expected settings such as '{{widths: [64, 32]}}', got {settings!r}")
    if "name" in found:
        raise InputError(f"--network: expected settings without a name, which is MODEL, got {settings!r}")
    return dict(found)


def _named(model: str, settings: dict[str, Any], shape: tuple[int, ...], k: int, seed: int) -> "nn.Module":
    import torch

    from collapselab.cli._parsing import nearest
    from collapselab.core.random import child_seed, preserved_randomness
    from collapselab.training._choice import chosen_from
    from collapselab.training.networks import NETWORKS

    if model not in NETWORKS:
        known = nearest(model, NETWORKS) or f"; networks: {', '.join(NETWORKS)}"
        raise InputError(f"MODEL: no run folder and no network is called {model!r}{known}")
    with preserved_randomness():
        torch.manual_seed(child_seed(seed, "network"))
        return chosen_from(NETWORKS, {"name": model, **settings}).build(shape, k)


def _called(model: str) -> "nn.Module":
    """What a function gives; importing it runs the code of its module, which whoever names it asks for."""
    from torch import nn

    with _from_here():
        found = _imported(model)
        try:
            network = found()
        except (Exception, SystemExit) as error:  # foreign code, whose errors are of any kind
            raise InputError(f"MODEL: {model}() must give a network, it raised {_raised(error)}") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"MODEL: {model}() must give a torch.nn.Module, got {type(network).__name__}")
    return network


def _imported(model: str) -> Any:
    """The function of ``package.module:function``."""
    module, _, function = model.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (Exception, SystemExit) as error:  # a module may raise anything
        expected = "MODEL: expected package.module:function that Python can import"
        raise InputError(f"{expected}, got {model}: {_raised(error)}") from error


@contextmanager
def _from_here() -> Iterator[None]:
    """Let modules of the folder that one is in be found as well, after all others."""
    here = str(Path.cwd())
    if here in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _raised(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def load(network: "nn.Module", file: str) -> None:
    """Put the weights of a file into a network.

    Args:
        network: Any module.
        file: In the safetensors format; nothing is unpickled.

    Raises:
        InputError: If it is of another format, or holds the weights of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(file).is_file():
        raise InputError(f"--weights: no file {file}")
    try:
        network.load_state_dict(load_file(file))
    except SafetensorError as error:
        raise InputError(f"--weights: expected a file in the safetensors format, got {file}: {error}") from error
    except RuntimeError as error:
        words = " ".join(str(error).split())[:300]
        raise InputError(f"--weights: {file} must hold the weights of this network: {words}") from error
