"""Keys to BibTeX: every source that a declaration names is an entry of ``references.bib``."""

import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources

from collapselab.core.errors import InputError
from collapselab.core.registry import Registry

_REQUIRED = ("author", "title", "year")
_BETWEEN = re.compile(r"(?:\s+|%[^\n]*(?:\n|$))*")  # white space and comment lines
_HEAD = re.compile(r"@(?P<kind>[a-z]+)\{(?P<key>[A-Za-z0-9_:.-]+),")
_FIELD = re.compile(r"\s*(?P<name>[a-z]+)\s*=\s*\{")
_AFTER_FIELD = re.compile(r"\s*,")
_END = re.compile(r"\s*\}")
_ACCENT = re.compile(r"""\\(["'`^~])\{?([A-Za-z])\}?""")
_MARK = {'"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303"}  # the combining characters


@dataclass(frozen=True)
class Reference:
    """One publication.

    Attributes:
        key: Its key, as declarations and records carry it.
        kind: ``article``, ``inproceedings``, ``misc`` ...
        fields: BibTeX fields as written.
        bibtex: The whole entry as written.
    """

    key: str
    kind: str
    fields: Mapping[str, str]
    bibtex: str

    @property
    def short(self) -> str:
        """Family names and year, such as ``Papyan, Han and Donoho (2020)``."""
        names = [_plain(person.split(",")[0]) for person in self.fields["author"].split(" and ")]
        if len(names) > 3:
            who = f"{names[0]} et al."
        else:
            who = " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
        return f"{who} ({self.fields['year']})"

    @property
    def line(self) -> str:
        """One line for people: names, year, title, where it appeared and where to find it."""
        where = next((self.fields[f] for f in ("journal", "booktitle", "howpublished") if f in self.fields), "")
        parts = (self.short, _plain(self.fields["title"]), _plain(where), self.link)
        return ". ".join(part for part in parts if part)

    @property
    def link(self) -> str:
        """Where to find it; empty if the entry does not say."""
        if "doi" in self.fields:
            return f"https://doi.org/{self.fields['doi']}"
        if self.fields.get("archiveprefix") == "arXiv" and "eprint" in self.fields:
            return f"https://arxiv.org/abs/{self.fields['eprint']}"
        return self.fields.get("url", "")


def parse(text: str) -> "Registry[Reference]":
    """Read BibTeX of a strict kind: every field in braces and followed by a comma, comments on lines of their own.

    Args:
        text: Entries.

    Returns:
        The entries by key.

    Raises:
        InputError: If it is not of that kind, an entry lacks author, title or year, or a key occurs twice.

    Example:
        >>> parse("@misc{me2020, author = {Me, A.}, title = {T}, year = {2020},}")["me2020"].short
        'Me (2020)'
    """
    found: Registry[Reference] = Registry("source", package=None)
    at = _skip(text, 0)
    while at < len(text):
        entry, end = _entry(text, at)
        if entry.key in found:
            raise InputError(f"BibTeX, line {_line(text, at)}: the key {entry.key!r} occurs twice")
        found.add(entry.key, entry)
        at = _skip(text, end)
    return found


def _entry(text: str, start: int) -> tuple[Reference, int]:
    head = _HEAD.match(text, start)
    if head is None:
        raise InputError(f"BibTeX, line {_line(text, start)}: expected @kind{{key, got {text[start : start + 20]!r}")
    fields: dict[str, str] = {}
    at = head.end()
    while (field := _FIELD.match(text, at)) is not None:
        close = _closing(text, field.end())
        comma = _AFTER_FIELD.match(text, close + 1)
        if comma is None or field["name"] in fields:
            problem = "occurs twice" if field["name"] in fields else "must end in a comma"
            raise InputError(f"BibTeX, line {_line(text, close)}: the field {field['name']!r} {problem}")
        fields[field["name"]] = " ".join(text[field.end() : close].split())
        at = comma.end()
    end = _END.match(text, at)
    missing = [name for name in _REQUIRED if not fields.get(name)]
    if end is None or missing:
        problem = (
            f"has no {' and no '.join(missing)}" if end is not None else "is not closed where a field or } must come"
        )
        raise InputError(f"BibTeX, line {_line(text, at)}: the entry {head['key']!r} {problem}")
    return Reference(head["key"], head["kind"], fields, text[start : end.end()]), end.end()


def _closing(text: str, start: int) -> int:
    """Where the brace opened just before `start` closes."""
    depth = 1
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at
    raise InputError(f"BibTeX, line {_line(text, start)}: a brace is opened and never closed")


def _skip(text: str, start: int) -> int:
    between = _BETWEEN.match(text, start)
    return start if between is None else between.end()


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _plain(text: str) -> str:
    """LaTeX accents as letters, braces gone."""
    accented = _ACCENT.sub(lambda found: unicodedata.normalize("NFC", found[2] + _MARK[found[1]]), text)
    return accented.replace("{", "").replace("}", "")


@functools.cache
def references() -> "Registry[Reference]":
    """Every publication collapselab names.

    Returns:
        The entries of ``references.bib`` by key; an unknown key raises `UnknownName` with the nearest ones.
    """
    return parse(resources.files("collapselab").joinpath("references.bib").read_text(encoding="utf-8"))


def bibtex(keys: Iterable[str]) -> str:
    """BibTeX of some sources, each once, in the order first named.

    Args:
        keys: Their keys.

    Returns:
        Entries with an empty line between them.
    """
    return "\n\n".join(references()[key].bibtex for key in dict.fromkeys(keys))
