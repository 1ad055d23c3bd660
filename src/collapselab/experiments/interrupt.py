"""Ctrl-C as a wish: the first one lets the step under way come to its end, the second one does not wait."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType


@dataclass
class Wish:
    """Whether the user asked to stop."""

    stop: bool = False


@contextlib.contextmanager
def interruptible() -> Iterator[Wish]:
    """Turn the first Ctrl-C into a wish that the work looks at between two steps.

    Outside the main thread nothing changes: signals do not arrive there.

    Yields:
        The wish.
    """
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return

    def note(_number: int, _frame: FrameType | None) -> None:
        if wish.stop:
            raise KeyboardInterrupt
        wish.stop = True

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, note)
    try:
        yield wish
    finally:
        signal.signal(signal.SIGINT, before)
