"""Docstrings are written for a reader at a terminal: `name` in single backticks, formulas between dollars."""

import re
from typing import Any

from sphinx.application import Sphinx

# Literals come first, so that a dollar or a backtick inside ``...`` or after a role stays what it is.
_MARKS = re.compile(
    r"""(?P<kept>``.+?``|:[a-z:]+:`[^`]+`|`[^`]+`__?)
      | \$\$(?P<block>.+?)\$\$
      | (?<!\\)\$(?P<inline>[^$\n]+?)(?<!\\)\$
      | `(?P<code>[^`\n]+)`""",
    re.VERBOSE,
)


def _as_rst(found: re.Match[str]) -> str:
    if found["inline"]:
        return f":math:`{found['inline']}`"
    if found["block"]:
        return f":math:`{found['block'].strip()}`"
    return f"``{found['code']}``" if found["code"] else found["kept"]


def _translate(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    if what in ("property", "attribute", "data"):
        # napoleon takes what stands before a colon in the first line for a type: give it a line that shows nothing.
        lines.insert(0, "\\ ")
    # A formula may run over a line end: paragraphs are joined at a dollar left open.
    text = "\n".join(lines)
    text = re.sub(r"\$[^$`]*\$", lambda m: re.sub(r"\s*\n\s*", " ", m[0]) if "\n\n" not in m[0] else m[0], text)
    lines[:] = _MARKS.sub(_as_rst, text).split("\n")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", _translate, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
