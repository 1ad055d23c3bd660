"""A strict little reader of pages: tags must close in order, and what the tests ask for is collected."""

import json
from html.parser import HTMLParser
from typing import Any

# Where one element ends and the next begins in sight, words do too.
_APART = {"td", "th", "tr", "br", "dt", "dd", "p", "li", "div", "caption", "h1", "h2", "h3", "figcaption", "span"}
_VOID = {"meta", "link", "input", "br", "line", "polyline", "hr", "img"}


class Page(HTMLParser):
    """Elements of a page in order: (tag, attributes, own text)."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {[tag for tag, _, _ in self._open]}"

    def handle_starttag(self, tag, attrs):
        element = (tag, dict(attrs), [])
        self.elements.append(element)
        if tag in _APART:
            self.handle_data(" ")
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        opened = self._open.pop()[0]
        assert opened == tag, f"<{opened}> closed by </{tag}> at {self.getpos()}"

    def handle_data(self, data):
        for _, _, texts in self._open:
            texts.append(data)

    def all(self, tag: str, **attributes: str) -> list[tuple[dict[str, str | None], str]]:
        """Attributes and whole text of the elements of a kind."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            (attrs, " ".join("".join(texts).split()))
            for name, attrs, texts in self.elements
            if name == tag and all(attrs.get(key) == value for key, value in wanted.items())
        ]

    @property
    def text(self) -> str:
        """What a reader without script reads."""
        return self.all("main")[0][1]

    @property
    def data(self) -> dict[str, Any]:
        """What the script is given."""
        for name, attrs, texts in self.elements:
            if name == "script" and attrs.get("id") == "page-data":
                return json.loads("".join(texts))
        raise AssertionError("no data in the page")
