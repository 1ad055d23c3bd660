"""Grids of settings: every combination of a few values, each with a name that a folder can have."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collapselab.core.errors import InputError

# Longer names are cut and numbered: file systems take 255 bytes.
_LONGEST = 120


@dataclass(frozen=True)
class Point:
    """One combination.

    Attributes:
        name: The settings in words, different for every point of the grid.
        settings: Dotted name of a setting to its value here.
    """

    name: str
    settings: Mapping[str, Any]


def grid(over: Mapping[str, Sequence[Any]]) -> tuple[Point, ...]:
    """All combinations, the last setting varying fastest.

    Args:
        over: Dotted name of a setting to the values it takes.

    Returns:
        As many points as the product of the numbers of values.

    Raises:
        InputError: If there is nothing to vary, or a value twice.

    Example:
        >>> [point.name for point in grid({"loss": ["mse", "focal"], "seed": [0, 1]})]
        ['loss=mse,seed=0', 'loss=mse,seed=1', 'loss=focal,seed=0', 'loss=focal,seed=1']
    """
    if not over:
        raise InputError("over must give the values of at least one setting, got none")
    for key, values in over.items():
        if not values:
            raise InputError(f"over must give at least one value of {key}, got none")
        told = [as_text(value) for value in values]
        twice = next((text for at, text in enumerate(told) if text in told[:at]), None)
        if twice is not None:
            raise InputError(f"over must give every value of {key} once, got {twice} twice")
    combinations = [dict(zip(over, values, strict=True)) for values in itertools.product(*over.values())]
    return tuple(Point(name, settings) for name, settings in zip(_names(combinations), combinations, strict=True))


def as_text(value: Any) -> str:
    """A value as it is typed after a flag.

    Args:
        value: Number, text, truth value, None or a list of such.

    Returns:
        Text that is read back as the same value.
    """
    return value if isinstance(value, str) else json.dumps(value)


def _names(combinations: Sequence[Mapping[str, Any]]) -> list[str]:
    whole = [",".join(f"{key}={as_text(value)}" for key, value in settings.items()) for settings in combinations]
    safe = [re.sub(r"[^\w=,.+-]+", "-", name).strip("-") for name in whole]
    if len(set(safe)) == len(safe) and max(map(len, safe)) <= _LONGEST:
        return safe
    width = len(str(len(safe)))
    return [f"{at:0{width}d}-{name[: _LONGEST - width - 1]}" for at, name in enumerate(safe, start=1)]
