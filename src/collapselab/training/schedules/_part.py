"""How much of a training is done."""

from collapselab.core import checks
from collapselab.core.errors import InputError


def part_done(epoch: float, epochs: int) -> float:
    """The time in units of the whole training.

    Args:
        epoch: Epochs done, with the part of the present one.
        epochs: Epochs in all.

    Returns:
        Number from 0 to 1.
    """
    return min(max(epoch / epochs, 0.0), 1.0)


def check_share(value: object, name: str, *, above: float | None = None) -> None:
    """Refuse what is no number from 0 to 1.

    Args:
        value: What the caller gave.
        name: Its name in messages.
        above: Bound that is itself not allowed; by default 0 is.

    Raises:
        InputError: If it is none.
    """
    at_least = 0.0 if above is None else None
    if checks.real(value, name, above=above, at_least=at_least) > 1:
        raise InputError(f"{name} must be at most 1, got {value!r}")
