"""Optional dependencies: imported where they are used, with a message that says which extra brings them."""

import importlib
from types import ModuleType

from collapselab.core.errors import MissingExtra


def require(module: str, *, extra: str | None, purpose: str) -> ModuleType:
    """Import an optional module, or say how to install it.

    Args:
        module: Dotted name of the module.
        extra: The extra of collapselab that brings it; None if it has to be installed by itself.
        purpose: What it is needed for, as a noun phrase for the message.

    Returns:
        The imported module.

    Raises:
        MissingExtra: If the module is not installed.
        ModuleNotFoundError: If it is, and one of its own imports is missing.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A module that is there but misses one of its own imports is a different fault: show it as it is.
        if error.name is not None and not f"{module}.".startswith(f"{error.name}."):
            raise
        package = module.split(".")[0]
        wanted = package if extra is None else f"'collapselab[{extra}]'"
        raise MissingExtra(f"{purpose} needs {package}: pip install {wanted}") from error
