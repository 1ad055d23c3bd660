"""Sections to one self-contained page: nothing is loaded from anywhere, and text from a record stays text."""

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from collapselab import __version__
from collapselab.core.extras import require
from collapselab.report.arms import examples
from collapselab.report.palette import PALETTE, style_rules
from collapselab.report.sections import EXAMPLES, SECTIONS, Panel, Section
from collapselab.report.sections.table import source_name
from collapselab.report.symbols import prose
from collapselab.report.view import View
from collapselab.report.words import number

_SCRIPTS = ("bar.js", "scheme.js", "figures.js", "space.js", "frames.js", "start.js")

# Characters that could end a script element, or a line in an old parser of JSON.
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def as_script_data(value: Any) -> str:
    """JSON that can stand inside a script element whatever strings it holds.

    Args:
        value: Plain data.

    Returns:
        JSON without any angle bracket.

    Example:
        >>> "<" in as_script_data("</script>")
        False
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.translate(str.maketrans(_IN_SCRIPT))


def report_page(views: Sequence[View], *, title: str, kind: str) -> str:
    """One page with all sections of each view.

    Args:
        views: What to show; each with a key of its own.
        title: Title of the page.
        kind: What sort of page it is, in a word or two.

    Returns:
        HTML.
    """
    parts, data = [], Drawings()
    for view in views:
        shown = []
        for owner, section in _sections(view):
            data.add_section(owner, section)
            shown.append((owner.key, section, _section_html(owner, section, level=1 if len(views) == 1 else 2)))
        name = f"{view.title} ({view.folder})" if len(views) > 1 and view.folder else view.title
        parts.append({"view": view, "name": name, "sections": shown})
    return page("report.html.j2", data, title=title, kind=kind, parts=parts)


def _sections(view: View) -> list[tuple[View, Section]]:
    """The sections of a run, with those of single arms where the run has none of that kind."""
    found: list[tuple[View, Section]] = []
    for build in SECTIONS:
        section = build(view)
        if section is not None:
            found.append((view, section))
        for arm in examples(view) if build in EXAMPLES else ():
            section = build(arm)
            if section is not None:
                title, short = f"{section.title}: {arm.title}", f"{section.short}: {arm.title}"
                found.append((arm, dataclasses.replace(section, title=title, short=short)))
    return found


class Drawings:
    """What the page's script is given: figures, lists of figures, frames."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}
        self.frames: dict[str, Any] = {}

    def add(self, key: str, panel: Panel) -> None:
        """Add a figure.

        Args:
            key: Its anchor in the page.
            panel: The figure.
        """
        self.figures[key] = {"spec": panel.figure, "label": panel.label, "caption": panel.caption}

    def add_section(self, view: View, section: Section) -> None:
        """Add what a section brings.

        Args:
            view: Whose section it is.
            section: The section.
        """
        for slug, panel in section.panels.items():
            self.add(f"{view.key}-{slug}", panel)
        for slug, choice in section.choices.items():
            for name, (_, panel) in choice.options.items():
                self.add(f"{view.key}-{slug}-{name}", panel)
        for slug, found in section.data.items():
            self.frames[f"{view.key}-{slug}"] = found | {"view": view.key}


def _section_html(view: View, section: Section, *, level: int) -> Any:
    words = dict(section.words) | {"view": view, "section": section, "level": level}
    words["key"] = lambda slug: f"{view.key}-{slug}"
    return _render(section.template, words)


def page(template: str, drawings: Drawings, *, title: str, kind: str, **words: Any) -> str:
    """Fill the frame of a page.

    Args:
        template: Which page.
        drawings: What the script draws.
        title: Title of the page.
        kind: What sort of page it is.
        words: Further words for the template.

    Returns:
        HTML.
    """
    markup = require("markupsafe", extra="report", purpose="the report").Markup
    offline = require("plotly.offline", extra="report", purpose="the report")
    plotly = offline.get_plotlyjs().replace("\r\n", "\n")
    script = "\n".join(_asset(name) for name in _SCRIPTS)
    data = {"figures": drawings.figures, "frames": drawings.frames, "palette": PALETTE}
    frame = {
        "title": title,
        "kind": kind,
        "version": __version__,
        "policy": _policy(plotly, script),
        "style": markup(f"{style_rules()}{_asset('page.css')}"),
        "data": markup(as_script_data(data)),
        "plotly": markup(plotly),
        "script": markup(script),
    }
    return str(_render(template, {**frame, **words}))


def _asset(name: str) -> str:
    return resources.files("collapselab.report").joinpath("assets").joinpath(name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """Let the browser run these very scripts and fetch nothing: what a record smuggles in could not run."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"


def _render(template: str, words: Mapping[str, Any]) -> Any:
    """A template filled with escaped words."""
    jinja2 = require("jinja2", extra="report", purpose="the report")
    markup = require("markupsafe", extra="report", purpose="the report").Markup
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"number": number, "source_name": source_name}
    environment.filters |= {"math": markup, "prose": prose}
    return markup(environment.get_template(template).render(**words))


def _template(name: str) -> str:
    return resources.files("collapselab.report").joinpath("templates").joinpath(name).read_text(encoding="utf-8")
