"""What is seen of a run while it runs, on standard error: a bar in a terminal, plain lines elsewhere."""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn, TextIO

from tqdm import tqdm

from collapselab.cli._runs import NC
from collapselab.records import Observation

if TYPE_CHECKING:
    from collapselab.experiments import EpochDone, Finished, Observed, Started

_BAR = "{percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt} epochs, {remaining} left{postfix}"

# The split whose numbers are shown on the way.
_SPLIT = "train"


class Bar:
    """A bar with the time that is left, and the numbers of the last measurement.

    Args:
        stream: A terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        # A terminal of unknown size says 0 columns and 0 rows, and tqdm would take that at its word.
        width, rows = (None, None) if _columns(stream) else (100, 24)
        self._bar: tqdm[NoReturn] = tqdm(
            file=stream, bar_format=_BAR, ncols=width, nrows=rows, dynamic_ncols=width is None, total=1
        )

    def __call__(self, event: "Started | EpochDone | Observed | Finished") -> None:
        """Move the bar, or change the numbers beside it.

        Args:
            event: What happened.
        """
        from collapselab.experiments import EpochDone, Observed, Started

        if isinstance(event, Started):
            self._bar.reset(total=event.total_epochs)
            self._bar.initial = self._bar.n = (
                event.run.epochs_done
            )  # epochs of an earlier session took none of the time
            self._bar.refresh()
        elif isinstance(event, EpochDone):
            self._bar.total = event.total_epochs
            self._bar.update(event.epochs_done - self._bar.n)
        elif isinstance(event, Observed) and _shown(event.observation):
            self._bar.set_postfix_str(numbers(event.observation))

    def close(self) -> None:
        """Leave the bar as it is and go to the next line."""
        self._bar.close()


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 0


class Lines:
    """A line for each measurement, for a file or a pipe.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._total = 0
        self._several = False
        self._last: tuple[str, int] | None = None

    def __call__(self, event: "Started | EpochDone | Observed | Finished") -> None:
        """Print a line if something was measured.

        Args:
            event: What happened.
        """
        from collapselab.experiments import Observed, Started

        if isinstance(event, Started):
            self._total = event.total_epochs
            self._several = bool(event.run.arms)
        elif isinstance(event, Observed) and _shown(event.observation):
            row = event.observation
            when = f"{row.arm}, epoch {row.epoch}" if self._several else f"epoch {row.epoch}/{self._total}"
            if (row.arm, row.epoch) == self._last:  # measured within an epoch
                when += f", step {row.step}"
            self._last = (row.arm, row.epoch)
            print(f"{when}  {numbers(row)}", file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is left open."""


@contextlib.contextmanager
def progress(stream: TextIO) -> "Iterator[_Deaf]":
    """A listener for the time of a run.

    Args:
        stream: Where to show what it hears.

    Yields:
        The listener.
    """
    shown = Bar(stream) if stream.isatty() else Lines(stream)
    try:
        yield _Deaf(shown)
    finally:
        with contextlib.suppress(OSError, ValueError):
            shown.close()


class _Deaf:
    """Stops showing when nobody can read any more: a closed pipe must not end a training."""

    def __init__(self, shown: Bar | Lines) -> None:
        self._shown: Bar | Lines | None = shown

    def __call__(self, event: "Started | EpochDone | Observed | Finished") -> None:
        if self._shown is None:
            return
        try:
            self._shown(event)
        except OSError:
            self._shown = None


def _shown(row: Observation) -> bool:
    return row.split == _SPLIT and not row.layer


def numbers(row: Observation) -> str:
    """Loss, error and NC1 to NC4 of a measurement in a few words.

    Args:
        row: What was measured.

    Returns:
        Text of one line.
    """
    parts = [f"loss {row.loss:.3g}", f"error {row.error:.3g}"]
    for code, name in NC:
        found = row.result.measurements.get(name)
        if found is not None:
            parts.append(f"{code} {'-' if found.value is None else format(found.value, '.3g')}")
    return "  ".join(parts)
