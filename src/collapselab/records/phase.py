"""Where the terminal phase of training begins, read off a run's observations."""

from collections.abc import Iterable
from dataclasses import dataclass

from collapselab.records.schema import Observation


@dataclass(frozen=True)
class TerminalPhase:
    """The two ends between which training error vanished for good, as far as it was measured.

    Attributes:
        first_zero: First measured epoch with training error 0; None if there was none.
        last_above: Last measured epoch with training error above 0; None if there was none. It is later than
            `first_zero` where the error came back.
    """

    first_zero: int | None
    last_above: int | None

    @property
    def reached(self) -> bool:
        """Whether some measured epoch had training error 0."""
        return self.first_zero is not None

    @property
    def settled(self) -> bool:
        """Whether the error stayed 0 from `first_zero` on."""
        return self.first_zero is not None and (self.last_above is None or self.last_above < self.first_zero)


def terminal_phase(observations: Iterable[Observation], *, split: str = "train") -> TerminalPhase:
    """First measured epoch with error 0 and last measured epoch with error above 0.

    Args:
        observations: Rows of a run's series, in any order.
        split: The split whose error counts.

    Returns:
        Both epochs, each None where there is no such epoch.

    Example:
        >>> terminal_phase([])
        TerminalPhase(first_zero=None, last_above=None)
    """
    rows = [row for row in observations if row.split == split]
    return TerminalPhase(
        first_zero=min((row.epoch for row in rows if row.error == 0), default=None),
        last_above=max((row.epoch for row in rows if row.error > 0), default=None),
    )
