"""Plain text for a terminal: columns that line up, and wrapped paragraphs."""

import shutil
import textwrap
from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], *, indent: str = "") -> str:
    """Rows of cells under each other, as wide as they need to be; the last column is not padded.

    Args:
        rows: Cells; rows of equal length.
        indent: What every line begins with.

    Returns:
        Lines.
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join((indent + line).rstrip() for line in lines)


def paragraph(text: str, *, indent: str = "") -> str:
    """Text wrapped to the terminal, at most 100 columns.

    Args:
        text: One paragraph.
        indent: What every line begins with.

    Returns:
        Lines.
    """
    width = min(shutil.get_terminal_size((100, 24)).columns, 100)
    return textwrap.fill(
        " ".join(text.split()), max(width, 40), initial_indent=indent, subsequent_indent=indent, break_long_words=False
    )


def number(value: float | None) -> str:
    """A number with six significant digits, or a dash.

    Args:
        value: The number.

    Returns:
        Text.
    """
    return "-" if value is None else f"{value:.6g}"
