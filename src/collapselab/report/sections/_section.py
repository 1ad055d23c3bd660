"""What a section hands to the page: words for its template, and figures for its script."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from collapselab.report.figures import Figure
from collapselab.report.view import View


@dataclass(frozen=True)
class Panel:
    """A figure with what is said about it.

    Attributes:
        figure: Plotly data and layout with roles for colours.
        label: What it shows, for those who cannot see it.
        caption: What to see in it.
        shape: Which height it takes: ``plot``, ``square`` or ``low``; ``rows`` for as much as its rows need.
    """

    figure: Figure
    label: str
    caption: str
    shape: str = "plot"


@dataclass(frozen=True)
class Choice:
    """Several figures in one place, one shown at a time.

    Attributes:
        label: Name of the list to choose from.
        options: Key to name and figure, in order.
        shown: Key of the one shown first.
    """

    label: str
    options: Mapping[str, tuple[str, Panel]]
    shown: str


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        slug: Its anchor, after the prefix of the run.
        title: Its heading.
        short: Its name in the list at the top.
        template: File in ``templates/``.
        words: What the template is filled with.
        panels: Figures by slug.
        choices: Lists of figures by slug.
        data: Further data for the script, by slug.
    """

    slug: str
    title: str
    short: str
    template: str
    words: Mapping[str, Any] = field(default_factory=dict)
    panels: Mapping[str, Panel] = field(default_factory=dict)
    choices: Mapping[str, Choice] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


Build = Callable[[View], Section | None]
"""Makes a section of a view, or None where there is nothing to say."""
