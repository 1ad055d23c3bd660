"""What a loader gives, taken apart: inputs for the model, labels for the statistics."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import InputError

# Where dictionaries of the common libraries keep their labels, in the order they are looked for.
LABEL_KEYS = ("labels", "label", "y")


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs of one forward pass and their labels.

    Attributes:
        args: Positional arguments of the model.
        kwargs: Keyword arguments of the model.
        y: Integer labels as they came, of any shape.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    y: Tensor

    def beginning(self, rows: int) -> "Batch | None":
        """The first rows, where it is plain how to cut: one input tensor with a row for each label.

        Args:
            rows: How many.

        Returns:
            A smaller batch; None where the inputs are of another kind or already as small.
        """
        x = self.args[0] if len(self.args) == 1 and not self.kwargs else None
        if not isinstance(x, Tensor) or x.ndim == 0 or self.y.ndim == 0 or not x.shape[0] == self.y.shape[0] > rows:
            return None
        return Batch((x[:rows],), {}, self.y[:rows])

    def labels_are_inputs(self) -> bool:
        """Whether the labels repeat an input position by position: token labels that were not shifted.

        Returns:
            True if an integer input equals the labels wherever those are not negative.
        """
        candidates = [x for x in (*self.args, *self.kwargs.values()) if isinstance(x, Tensor)]
        alike = [x for x in candidates if self.y.ndim > 1 and x.shape == self.y.shape and not x.is_floating_point()]
        valid = self.y >= 0
        return any(bool(((x.to(self.y.device) == self.y) | ~valid).all()) and bool(valid.any()) for x in alike)


def iterable(loader: Any) -> Iterable[Any]:
    """Something to iterate over.

    Args:
        loader: What the caller gave.

    Returns:
        The loader.

    Raises:
        InputError: If it cannot be iterated.
    """
    if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
        raise InputError(f"loader must be iterable, got {checks.described(loader)}")
    return loader


def batch_of(raw: Any, model: nn.Module) -> Batch:
    """Take apart what a loader gave.

    Args:
        raw: A pair (inputs, labels), or a mapping that holds its labels under one of `LABEL_KEYS`.
        model: The model the inputs are for; its signature decides how a lone entry of a mapping is passed.

    Returns:
        Inputs and labels.

    Raises:
        InputError: If it is neither.
    """
    if isinstance(raw, Mapping):
        return _from_mapping(raw, model)
    if isinstance(raw, (tuple, list)) and len(raw) == 2:
        inputs, y = raw
        if isinstance(inputs, Mapping):
            return Batch((), dict(inputs), _labels(y))
        return Batch(tuple(inputs) if isinstance(inputs, tuple) else (inputs,), {}, _labels(y))
    came = f"a {type(raw).__name__} of {len(raw)}" if isinstance(raw, (tuple, list)) else checks.described(raw)
    keys = " or ".join(map(repr, LABEL_KEYS))
    raise InputError(
        f"loader must give pairs (inputs, labels) or mappings with {keys}, got {came};"
        " to choose from a longer batch, pass a generator such as ((x, y) for x, y, _ in loader)"
    )


def _from_mapping(raw: Mapping[str, Any], model: nn.Module) -> Batch:
    key = next((key for key in LABEL_KEYS if raw.get(key) is not None), None)
    if key is None:
        keys = " or ".join(map(repr, LABEL_KEYS))
        raise InputError(f"loader must give labels under {keys}, got the keys {sorted(map(str, raw))}")
    rest = {name: value for name, value in raw.items() if name != key}
    if len(rest) == 1:
        (name,) = rest
        parameters = inspect.signature(model.forward).parameters.values()
        known = any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)
        if not known:  # {"image": x, "label": y} for a forward(x)
            return Batch((rest[name],), {}, _labels(raw[key]))
    return Batch((), rest, _labels(raw[key]))


def _labels(value: Any) -> Tensor:
    y = torch.as_tensor(value) if isinstance(value, (int, np.integer)) else checks.as_tensor(value, "labels")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise InputError(f"labels must be integers, got {checks.described(y)}")
    return y.long()


def moved(value: Any, device: torch.device | None) -> Any:
    """The same nest of mappings, sequences and arrays with every tensor on a device.

    Args:
        value: What to move.
        device: Where to; None leaves tensors where they are.

    Returns:
        The moved nest; what is no tensor is passed on as it is.
    """
    if isinstance(value, np.ndarray):
        value = checks.as_tensor(value, "inputs")
    if isinstance(value, Tensor):
        # Only towards an accelerator: an asynchronous copy to the CPU may be read before it has arrived.
        return value if device is None else value.to(device, non_blocking=device.type == "cuda")
    if isinstance(value, Mapping):
        return {key: moved(item, device) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(item, device) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(moved(item, device) for item in value)
    return value
