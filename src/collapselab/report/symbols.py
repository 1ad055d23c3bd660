"""Formulas and prose of the declarations as HTML."""

import functools
import re
from typing import Any
from xml.etree import ElementTree

from collapselab.core.extras import require

# Commands of LaTeX that the converter leaves as they are.
_NOT_KNOWN = re.compile(r"\\(arg)(?![a-zA-Z])")

_CODE_OR_MATH = re.compile(r"`([^`]+)`|\$([^$]+)\$")


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
        text = converter.convert(_NOT_KNOWN.sub(r"\\operatorname{\1}", symbol))
        root = ElementTree.fromstring(text)
    except Exception:  # the converter has no common error class; whatever stops it, the LaTeX itself is shown instead
        return None
    space = "{http://www.w3.org/1998/Math/MathML}"
    known = all(str(node.tag).startswith(f"{space}m") and _harmless(node) for node in root.iter())
    return text if known else None


def _harmless(node: ElementTree.Element) -> bool:
    """A symbol has no business with links, handlers or inline styles."""
    return not any(name.startswith("on") or name in ("href", "style", "src") or ":" in name for name in node.attrib)


def without_marks(text: str) -> str:
    """Prose of a docstring as plain text.

    Args:
        text: Text with names in backticks and formulas between dollars.

    Returns:
        The text without them.
    """
    return _CODE_OR_MATH.sub(lambda found: found[1] or found[2], text)


def prose(text: str) -> Any:
    """Prose of a docstring as HTML: names as code, formulas as MathML, everything else escaped.

    Args:
        text: Text with names in backticks and formulas between dollars.

    Returns:
        Markup.
    """
    markup = require("markupsafe", extra="report", purpose="the report").Markup
    html, at = markup(""), 0
    for found in _CODE_OR_MATH.finditer(text):
        formula = mathml(found[2]) if found[2] else None
        shown = markup(formula) if formula else markup("<code>{}</code>").format(found[1] or found[2])
        html, at = html + text[at : found.start()] + shown, found.end()
    return html + text[at:]
