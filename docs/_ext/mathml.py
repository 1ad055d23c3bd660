"""Formulas as MathML, which browsers lay out themselves: the pages need neither a script nor the network."""

import html
import re
from typing import Any

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)

_MISSING = {r"\arg": r"\operatorname{arg}"}  # commands that the converter does not know


def _mathml(node: nodes.Element, display: str) -> str:
    latex = node.astext()
    known = re.sub(r"\\[A-Za-z]+", lambda command: _MISSING.get(command[0], command[0]), latex)
    try:
        converted = latex2mathml.converter.convert(known, display=display)
    except Exception as error:  # the converter has no common base for its errors; any of them is a fault of the page
        logger.warning("formula %r cannot be shown: %s", latex, error, location=node)
        return f"<code>{html.escape(latex)}</code>"
    # A command the converter does not know comes out as text, backslash included.
    unknown = re.findall(r">(\\[A-Za-z]+)<", converted)
    if unknown:
        logger.warning("formula %r uses %s, which is not known here", latex, ", ".join(unknown), location=node)
    return converted


def _inline(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append(f'<span class="math">{_mathml(node, "inline")}</span>')
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math-block"))
    translator.body.append(f"{_mathml(node, 'block')}</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
