"""Numbers and symbols as people read them, and a sentence on each face of collapse."""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from collapselab.core.extras import require

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Face:
    """One of the four faces of neural collapse.

    Attributes:
        code: ``NC1`` ... ``NC4``.
        name: In two or three words.
        sentence: What happens, for a student.
        look: What to see in its curve.
        preferred: Metrics that stand for it, best first; others of the same prefix follow.
    """

    code: str
    name: str
    sentence: str
    look: str
    preferred: tuple[str, ...]


FACES = (
    Face(
        "NC1",
        "variability collapse",
        "Features of one class gather at their mean: the spread inside classes vanishes against the gaps between them.",
        "A straight fall on these axes is a power law; watch it go on after the error has reached zero.",
        ("nc1_pinv", "nc1_trace_ratio"),
    ),
    Face(
        "NC2",
        "simplex of means",
        "Class means become equally long and equally far apart, corners of a simplex: all cosines are −1/(K−1).",
        "The mean deviation of the pairwise cosines from −1/(K−1) falls towards 0 as the means spread evenly.",
        ("nc2_max_angle_means", "nc2_equiangularity_means", "etf_error"),
    ),
    Face(
        "NC3",
        "self-duality",
        "The rows of the classifier line up with the class means: both become one configuration, up to scale.",
        "2 is what unrelated weights and means give; 0 means that they agree.",
        ("nc3_duality",),
    ),
    Face(
        "NC4",
        "nearest class centre",
        "The classifier comes to decide as if it only asked which class mean is nearest.",
        "The fraction of samples on which the two rules disagree; the row named 0 means they never do.",
        ("nc4_disagreement",),
    ),
)


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


def with_unit(value: float | None, unit: str | None) -> str:
    """A number and its unit; the pure number has none, a fraction is said to be one.

    Args:
        value: The number.
        unit: Its unit.

    Returns:
        Text.
    """
    return number(value) if unit in (None, "1", "") or value is None else f"{number(value)} {unit}"


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
        return "yes" if value else "no"
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


def significant(value: float, digits: int = 5) -> float:
    """A number rounded for drawing, so that a page stays small.

    Args:
        value: A finite number.
        digits: Significant digits to keep.

    Returns:
        The rounded number.
    """
    return 0.0 if value == 0 else round(value, digits - 1 - math.floor(math.log10(abs(value))))


@functools.cache
def mathml(symbol: str) -> str | None:
    """A LaTeX symbol as MathML.

    Args:
        symbol: LaTeX without dollars.

    Returns:
        Well-formed MathML with nothing but MathML in it, or None if the symbol cannot be turned into that.
    """
    converter = require("latex2mathml.converter", extra="report", purpose="the report")
    try:
        text = converter.convert(symbol)
        root = ElementTree.fromstring(text)
    except Exception:  # the converter has no common error class; whatever stops it, the LaTeX itself is shown instead
        return None
    space = "{http://www.w3.org/1998/Math/MathML}"
    known = all(str(node.tag).startswith(f"{space}m") and _harmless(node) for node in root.iter())
    return text if known else None


def _harmless(node: ElementTree.Element) -> bool:
    """A symbol has no business with links, handlers or inline styles."""
    return not any(name.startswith("on") or name in ("href", "style", "src") or ":" in name for name in node.attrib)
