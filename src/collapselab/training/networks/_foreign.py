"""Networks of other libraries as bodies: the classifier is found and taken off, what went into it is the features."""

from collections.abc import Set
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from collapselab.core import extras
from collapselab.core.errors import InputError, MissingExtra
from collapselab.evidence import feature_tap
from collapselab.training.networks._layers import stages


class Backbone(nn.Module):
    """A classifier of another library, called with one tensor and giving one.

    Args:
        model: The classifier.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def logits(self, x: Tensor) -> Any:
        """What the model makes of inputs; a library whose models want or give something else overrides this.

        Args:
            x: Inputs (n, ...).

        Returns:
            Logits.
        """
        return self.model(x)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, or features once the classifier has been taken off.

        Args:
            x: Inputs (n, ...).

        Returns:
            (n, columns).

        Raises:
            InputError: If the model gives something else.
        """
        found = self.logits(x)
        if not isinstance(found, Tensor) or found.ndim != 2:
            came = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"a network must give one row a sample, {type(self.model).__name__} gave {came}")
        return found


def imported(module: str) -> ModuleType:
    """A library that no extra of collapselab brings, because it must fit the torch that is there.

    Args:
        module: Its name.

    Returns:
        The module.

    Raises:
        MissingExtra: If it is not installed, or does not fit.
    """
    try:
        return extras.require(module, extra=None, purpose=f"a model of {module.split('.')[0]}")
    except (RuntimeError, OSError) as error:
        raise MissingExtra(f"{module} does not work beside torch {torch.__version__}: {error}") from error


def beheaded(backbone: Backbone, example: Tensor, *, name: str) -> int:
    """Take the classifier off.

    Args:
        backbone: With its classifier; afterwards without.
        example: A few inputs (n, ...), such as the data will be.
        name: What the model is called in messages.

    Returns:
        Number of features.

    Raises:
        InputError: If the model does not take such inputs, or does not end in one linear layer.
    """
    tap = feature_tap(backbone)
    try:
        layer = tap.probe((example, torch.zeros(len(example), dtype=torch.int64)))
    except InputError as error:
        raise InputError(f"the classifier of {name} cannot be taken off: {error}") from error
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise InputError(f"{name} does not take inputs of shape {tuple(example.shape[1:])}: {error}") from error
    if not isinstance(layer.module, nn.Linear):
        raise InputError(f"{name} must end in a linear layer, got {type(layer.module).__name__} {layer.name!r}")
    parent, _, child = layer.name.rpartition(".")
    setattr(backbone.get_submodule(parent), child, nn.Identity())
    return layer.num_features


def projected(backbone: nn.Module, given: int, wanted: int | None) -> tuple[nn.Sequential, int]:
    """A body from a backbone, with a linear layer behind it where another number of features is wanted.

    Args:
        backbone: Inputs to features (n, given).
        given: How many features it gives.
        wanted: How many there are to be; None for as many as there are.

    Returns:
        The body with the stages ``backbone`` and, if it is needed, ``project``; and the number of features.
    """
    if wanted is None:
        return stages({"backbone": backbone}), given
    return stages({"backbone": backbone, "project": nn.Linear(given, wanted)}), wanted


def load_weights(model: nn.Module, file: str, *, spare: Set[str], name: str) -> None:
    """Weights from a file in the safetensors format; nothing is unpickled.

    Args:
        model: Where to; its classifier has been taken off.
        file: Path of the file.
        spare: What the file may hold besides: the parameters of the classifier, for any number of classes.
        name: What the model is called in messages.

    Raises:
        InputError: If there is no such file, or it holds the weights of another model.
    """
    if not Path(file).is_file():
        raise InputError(f"weights must be a file in the safetensors format, got {file!r}: no such file")
    try:
        held = load_file(file)
        model.load_state_dict({key: value for key, value in held.items() if key not in spare})
    except SafetensorError as error:
        raise InputError(f"weights must be a file in the safetensors format, got {file!r}: {error}") from error
    except RuntimeError as error:
        raise InputError(f"weights must be those of {name}: {error}") from error


def check_model(model: object, example: str) -> None:
    """Refuse a model without a name.

    Args:
        model: What the caller gave.
        example: What such a name may be.

    Raises:
        InputError: If it is no name.
    """
    if not isinstance(model, str) or not model:
        raise InputError(f"model must be {example}, got {model!r}")
