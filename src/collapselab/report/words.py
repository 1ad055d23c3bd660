"""Numbers and configuration values as people read them."""

import math
import textwrap
from collections.abc import Iterable
from typing import Any

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 3) -> str:
    """A number with a few significant digits.

    Args:
        value: The number; None for none.
        digits: Significant digits.

    Returns:
        Text, with a dash for none.

    Example:
        >>> number(0.000123456), number(12345.6), number(-0.25), number(None)
        ('1.23 × 10⁻⁴', '12,346', '−0.25', '–')
    """
    if value is None:
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    if 1e-3 <= size < 1e5:
        text = f"{value:,.0f}" if size >= 10**digits else f"{value:.{digits}g}"
        return text.replace("-", "−")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa.replace('-', '−')} × {power_of_ten(int(exponent))}"


def power_of_ten(exponent: int) -> str:
    """A power of ten with its exponent raised.

    Args:
        exponent: The exponent.

    Returns:
        Such as 10⁻³.
    """
    return f"10{str(exponent).translate(_SUPERSCRIPT)}"


def change(first: float, last: float) -> str:
    """By how much something changed.

    Args:
        first: Before.
        last: After.

    Returns:
        A factor where both are positive, else a difference, in words.
    """
    if first == last:
        return "unchanged"
    if first > 0 and last > 0:
        factor, way = (first / last, "smaller") if first > last else (last / first, "larger")
        # Under 1.1 a factor reads as noise: percent says it better.
        return f"{(factor - 1) * 100:.1f} % {way}" if factor < 1.1 else f"{number(factor)} times {way}"
    return "gone to exactly 0" if last == 0 else f"changed by {number(last - first)}"


def duration(seconds: float) -> str:
    """A time span.

    Args:
        seconds: How long.

    Returns:
        Such as ``2 min 5 s``.
    """
    if seconds < 60:
        return f"{number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def plain(value: Any) -> str:
    """A configuration value as text.

    Args:
        value: Anything JSON can hold.

    Returns:
        Text without the decoration of a programming language where there is an obvious one.
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {plain(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(inner) for inner in value) or "none"
    return str(value)


def listed(items: Iterable[object], most: int = 12) -> str:
    """A list in one line, cut where it is long.

    Args:
        items: What to list.
        most: How many to write out.

    Returns:
        Text.
    """
    texts = [str(item) for item in items]
    rest = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {rest} more" if rest > 0 else "")


def in_plot(text: str) -> str:
    """Text for the inside of a figure, where plotly would read tags.

    Args:
        text: Any text.

    Returns:
        The text with its angle brackets escaped, cut where it is long.
    """
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def wrapped(text: str, width: int = 30) -> str:
    """Text for the title of an axis, broken into lines so that it fits beside a small figure.

    Args:
        text: Any text.
        width: Characters in a line.

    Returns:
        Text for the inside of a figure.
    """
    return "<br>".join(in_plot(line) for line in textwrap.wrap(text, width)[:3])


def significant(value: float, digits: int = 5) -> float:
    """A number rounded for drawing, so that a page stays small.

    Args:
        value: A finite number.
        digits: Significant digits to keep.

    Returns:
        The rounded number.
    """
    return 0.0 if value == 0 else round(value, digits - 1 - math.floor(math.log10(abs(value))))
