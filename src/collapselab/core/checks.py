"""Boundary checks: raw arguments in, clean ones out, or an `InputError` naming argument, expectation and what came."""

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapselab.core.errors import InputError

# Integer types torch can index with after widening; uint16..64 have no kernels and arrive through NumPy as int64.
_INTEGER = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)


def described(value: object) -> str:
    """What came, for the end of a message.

    Args:
        value: Anything.

    Returns:
        Type, and shape and dtype where it has them.
    """
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{type(value).__name__} of shape {tuple(shape)} and dtype {str(dtype).removeprefix('torch.')}"
    return f"{type(value).__name__} {value!r}"


def as_tensor(value: Any, name: str) -> Tensor:
    """A tensor from a tensor, an array or nested lists.

    Args:
        value: What the caller gave.
        name: Its name in messages.

    Returns:
        A detached tensor; arrays keep their memory where torch can share it.

    Raises:
        InputError: If it is nothing a tensor can be made of.
    """
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray):
        return _from_numpy(value, name)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        try:
            return _from_numpy(np.asarray(value), name)
        except ValueError as error:
            raise InputError(f"{name} must be a tensor or an array, got lists of unequal length: {error}") from error
    raise InputError(f"{name} must be a tensor or an array, got {described(value)}")


def _from_numpy(array: np.ndarray, name: str) -> Tensor:
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise InputError(f"{name} must hold numbers, got {described(array)}") from error


def matrix(value: Any, name: str, *, axes: str = "(samples, features)") -> Tensor:
    """A finite floating-point matrix with at least one row and one column.

    Args:
        value: What the caller gave.
        name: Its name in messages.
        axes: Names of its two axes for messages.

    Returns:
        The matrix, in the dtype and on the device it came in.

    Raises:
        InputError: If it is no such matrix.
    """
    tensor = as_tensor(value, name)
    if tensor.ndim != 2:
        raise InputError(f"{name} must be a matrix {axes}, got {described(tensor)}")
    if not tensor.is_floating_point():
        raise InputError(f"{name} must have a floating-point dtype, got {described(tensor)}")
    if tensor.shape[0] == 0:
        raise InputError(f"{name} must have at least one row {axes}, got {described(tensor)}")
    if tensor.shape[1] == 0:
        raise InputError(f"{name} must have at least one column {axes}, got {described(tensor)}")
    return finite(tensor, name)


def finite(tensor: Tensor, name: str) -> Tensor:
    """Refuse NaN and infinity.

    Args:
        tensor: A non-empty floating-point tensor.
        name: Its name in messages.

    Returns:
        The tensor.

    Raises:
        InputError: If a value is NaN or infinite; the message says where the first one is.
    """
    low, high = torch.aminmax(tensor)  # one sweep; NaN passes through both
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        bad = (~torch.isfinite(tensor)).nonzero()[0]
        place = tuple(int(i) for i in bad)
        raise InputError(f"{name} must be finite, got {tensor[place].item()} at index {place}")
    return tensor


def labels(value: Any, name: str = "labels", *, num_rows: int | None = None) -> Tensor:
    """A vector of integer labels, not yet compared with a number of classes.

    Args:
        value: What the caller gave.
        name: Its name in messages.
        num_rows: How many there must be.

    Returns:
        An int64 vector.

    Raises:
        InputError: If it is no integer vector of that length.
    """
    tensor = as_tensor(value, name)
    if tensor.dtype not in _INTEGER:
        raise InputError(f"{name} must be integers, got {described(tensor)}")
    if tensor.ndim != 1:
        raise InputError(f"{name} must be a vector, got {described(tensor)}")
    if num_rows is not None and tensor.shape[0] != num_rows:
        raise InputError(f"{name} must be one per row: {num_rows} rows, {tensor.shape[0]} labels")
    return tensor.long()


def labels_in_range(tensor: Tensor, num_classes: int, name: str = "labels") -> Tensor:
    """Refuse labels outside 0..num_classes-1.

    Args:
        tensor: An int64 vector.
        num_classes: K.
        name: Its name in messages.

    Returns:
        The vector.

    Raises:
        InputError: If a label lies outside; the message says which and where.
    """
    if tensor.numel() == 0:
        return tensor
    low, high = torch.aminmax(tensor)
    if int(low) < 0 or int(high) >= num_classes:
        at = int(((tensor < 0) | (tensor >= num_classes)).nonzero()[0])
        raise InputError(f"{name} must lie in 0..{num_classes - 1}, got {int(tensor[at])} at index {at}")
    return tensor


# Numbers of classes beyond what any set has: a label that large is an identifier, and moments would fill the memory.
_MOST_CLASSES = 1_000_000


def classes_of(tensor: Tensor, name: str = "labels") -> int:
    """How many classes labels speak of, where nobody says it: one more than the largest.

    Args:
        tensor: A non-empty int64 vector.
        name: Its name in messages.

    Returns:
        K, at least 1.

    Raises:
        InputError: If a label is no place in any list of classes.
    """
    largest = int(tensor.max())
    if largest >= _MOST_CLASSES:
        raise InputError(f"{name} must be numbers of classes, 0 to {_MOST_CLASSES - 1} at most, got {largest}")
    return max(largest + 1, 1)


def whole(value: Any, name: str, *, at_least: int) -> int:
    """An integer with a lower bound.

    Args:
        value: What the caller gave.
        name: Its name in messages.
        at_least: The smallest allowed.

    Returns:
        The integer.

    Raises:
        InputError: If it is no integer or too small.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise InputError(f"{name} must be an integer of at least {at_least}, got {value!r}")
    return int(value)


def real(
    value: Any,
    name: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> float:
    """A finite number within bounds.

    Args:
        value: What the caller gave.
        name: Its name in messages.
        above: Lower bound that is itself not allowed.
        at_least: Lower bound that is itself allowed.
        below: Upper bound that is itself not allowed.
        at_most: Upper bound that is itself allowed.

    Returns:
        The number.

    Raises:
        InputError: If it is no finite number, too small or too large.
    """
    good = isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and bool(np.isfinite(value))
    bounds = []
    for words, bound, holds in (
        ("above", above, operator.gt),
        ("of at least", at_least, operator.ge),
        ("below", below, operator.lt),
        ("at most", at_most, operator.le),
    ):
        if bound is not None:
            bounds.append(f"{'and ' if bounds else ''}{words} {bound}")
            good = good and bool(holds(value, bound))
    if not good:
        raise InputError(f"{name} must be {' '.join(['a finite number', *bounds])}, got {value!r}")
    return float(value)


def flag(value: Any, name: str) -> bool:
    """True or false.

    Args:
        value: What the caller gave.
        name: Its name in messages.

    Returns:
        The flag.

    Raises:
        InputError: If it is anything else, 0 and 1 included.
    """
    if not isinstance(value, bool):
        raise InputError(f"{name} must be true or false, got {value!r}")
    return value


def one_of(value: Any, name: str, known: Iterable[Any]) -> Any:
    """One of a few values.

    Args:
        value: What the caller gave.
        name: Its name in messages.
        known: What it may be.

    Returns:
        The value.

    Raises:
        InputError: If it is something else; True is not 1 here.
    """
    known = tuple(known)
    if isinstance(value, bool) or value not in known:
        raise InputError(f"{name} must be one of {', '.join(map(str, known))}, got {value!r}")
    return value
