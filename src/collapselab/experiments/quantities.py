"""Quantities of a moving network as a recipe names them."""

from collapselab.core.errors import InputError, UnknownName
from collapselab.dynamics import QUANTITIES, Quantity


def chosen(names: object) -> tuple[Quantity, ...]:
    """What a recipe measures on the network itself, with default settings.

    Args:
        names: What its field ``quantities`` holds: keys of `collapselab.dynamics.QUANTITIES`.

    Returns:
        The quantities, in that order.

    Raises:
        InputError: If these are no names, a name comes twice, or nothing is called so; the message says what is near.
    """
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise InputError(f"quantities must be a list of names of quantities, got {names!r}")
    twice = [name for at, name in enumerate(names) if name in names[:at]]
    if twice:
        raise InputError(f"quantities must name each quantity once, got {twice[0]!r} twice")
    try:
        return tuple(QUANTITIES[name].cls() for name in names)
    except UnknownName as error:
        raise InputError(f"quantities: {error}") from error
