"""What a verb gives back, and the one place where it is printed."""

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from collapselab.core.errors import CollapselabError, InputError, Interrupted, UnknownName

SCHEMA_VERSION = 1

DONE, FAILED, BAD_INPUT = 0, 1, 2


@dataclass(frozen=True)
class Answer:
    """The same answer twice.

    Attributes:
        document: For programs; plain data that JSON can hold.
        text: For people.
    """

    document: Mapping[str, Any]
    text: str


class Told(Exception):
    """The parser was asked a question about itself (``--help``, ``--print_config``): the answer is there already."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


def as_json(document: Mapping[str, Any]) -> str:
    """The document with its version in front, as JSON.

    Args:
        document: Plain data.

    Returns:
        Indented JSON without NaN or infinity.
    """
    return json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=1, allow_nan=False, ensure_ascii=False)


def failure(error: BaseException) -> tuple[Answer, int]:
    """What to say of an error, and the exit code.

    Args:
        error: What was raised.

    Returns:
        An answer whose text is one line, and 2 for bad input or 1 for anything else.
    """
    kind, message = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        kind, message = Interrupted.__name__, message or "interrupted"
    elif not isinstance(error, (CollapselabError, OSError)):
        kind, message = "InternalError", f"{type(error).__name__}: {message} (--debug shows where)"
    code = BAD_INPUT if isinstance(error, (InputError, UnknownName)) else FAILED
    return Answer({"error": {"kind": kind, "message": message}}, message), code


def show(text: str, stream: TextIO) -> None:
    """Print and flush; a reader that has gone away, as in ``collapselab list | head -1``, is no fault.

    Args:
        text: What to print.
        stream: Where to.
    """
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        # What is still buffered would fail again when the interpreter exits, so it goes nowhere instead.
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def complain(prog: str, message: str) -> None:
    """One line on standard error.

    Args:
        prog: Program and verb.
        message: What is wrong.
    """
    show(f"{prog}: {message}", sys.stderr)
