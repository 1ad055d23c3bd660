"""Sources: the strict reader, and every key that a registry names."""

import re

import pytest

from collapselab.core.cite import bibtex, parse, references
from collapselab.core.errors import InputError, UnknownName

GOOD = """% a comment
@article{one2001,
  author = {{\\"O}ne, Ann and Two, B. and Three, C. and Four, D.},
  title  = {On {MSE} and
            other things},
  journal = {Journal},
  year   = {2001},
  doi    = {10.1/x},
}

@misc{gyorgy1999, author = {Gy{\\"o}rgy, Andr{\\'a}s}, title = {T}, year = {1999},}
"""


def test_reader_keeps_entries_as_written() -> None:
    found = parse(GOOD)
    assert list(found) == ["one2001", "gyorgy1999"]
    assert found["one2001"].bibtex.startswith("@article{one2001,\n  author")
    assert found["one2001"].bibtex.endswith("}")
    assert found["one2001"].fields["title"] == "On {MSE} and other things"


def test_lines_for_people_have_letters_not_latex() -> None:
    found = parse(GOOD)
    assert found["gyorgy1999"].short == "György (1999)"
    assert found["one2001"].line == "Öne et al. (2001). On MSE and other things. Journal. https://doi.org/10.1/x"
    assert references()["papyan2020"].short == "Papyan, Han and Donoho (2020)"
    assert references()["wu2024"].short == "Wu and Papyan (2024)"


FIELDS = "author = {A}, title = {T}, year = {2000},"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "line 1: expected @kind{key, got 'hello'"),
        ("@misc{a, " + FIELDS + "}\n\nx", "line 3: expected @kind{key"),
        ("@misc{a b, " + FIELDS + "}", "expected @kind{key"),
        ("@misc{a, author = {A}, title = {T},}", "'a' has no year"),
        ("@misc{a, author = {}, title = {T}, year = {2000},}", "'a' has no author"),
        ("@misc{a, " + FIELDS + "} @misc{a, " + FIELDS + "}", "the key 'a' occurs twice"),
        ("@misc{a, author = {A}, author = {B},}", "the field 'author' occurs twice"),
        ("@misc{a, author = {A} title = {T},}", "the field 'author' must end in a comma"),
        ("@misc{a, author = {A, title", "a brace is opened and never closed"),
        ("@misc{a, " + FIELDS, "'a' is not closed"),
        ('@misc{a, author = "A",}', "'a' is not closed where a field or } must come"),
    ],
)
def test_reader_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        parse(text)


def test_an_unknown_key_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="no source is called 'papyan2002'; did you mean 'papyan2020'"):
        bibtex(["papyan2002"])


def test_bibtex_names_each_source_once_in_order() -> None:
    text = bibtex(["wu2024", "papyan2020", "wu2024"])
    assert re.findall(r"@\w+\{(\w+),", text) == ["wu2024", "papyan2020"]


def test_every_metric_names_a_known_source() -> None:
    from collapselab.metrics import REGISTRY

    assert {name: metric.source for name, metric in REGISTRY.items() if metric.source not in references()} == {}


def test_links_come_from_the_doi_or_arxiv() -> None:
    known = references()
    assert known["papyan2020"].link == "https://doi.org/10.1073/pnas.2015509117"
    assert known["wu2024"].link == "https://arxiv.org/abs/2405.17767"
    assert known["roy2007"].link == ""
