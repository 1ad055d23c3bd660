"""Nested settings as one level of dotted names."""

from collections.abc import Mapping
from typing import Any


def flattened(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name.

    The key ``name`` of a mapping stands for the mapping itself: ``{"loss": {"name": "focal", "gamma": 2}}`` is
    ``{"loss": "focal", "loss.gamma": 2}``.

    Args:
        config: Settings, some of them mappings of settings.

    Returns:
        Dotted name to value; values are no mappings.

    Example:
        >>> flattened({"seed": 0, "loss": {"name": "focal", "gamma": 2.0}})
        {'seed': 0, 'loss': 'focal', 'loss.gamma': 2.0}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if not isinstance(value, Mapping):
            flat[key] = value
            continue
        if "name" in value:
            flat[key] = value["name"]
        inner = {name: setting for name, setting in value.items() if name != "name"}
        flat |= {f"{key}.{name}": setting for name, setting in flattened(inner).items()}
    return flat


def tupled(value: Any) -> Any:
    """What JSON or YAML held, with tuples for its lists, as the fields of a frozen dataclass are.

    Args:
        value: Anything.

    Returns:
        Tuples of tuples for lists of lists; all else as it is.
    """
    return tuple(tupled(entry) for entry in value) if isinstance(value, list) else value
