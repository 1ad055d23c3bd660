"""Registries: filled once and by themselves, no duplicates, near names offered."""

import sys
import textwrap

import pytest

from collapselab.core.errors import CollapselabError, UnknownName
from collapselab.core.registry import Registry


@pytest.fixture
def colours():
    found = Registry("colour", package=None)
    for name in ("red", "green", "blue", "dark red"):
        found.add(name, name.upper())
    return found


def test_is_a_mapping_in_the_order_of_registration(colours):
    assert list(colours) == ["red", "green", "blue", "dark red"]
    assert len(colours) == 4
    assert colours["green"] == "GREEN"
    assert dict(colours.items())["blue"] == "BLUE"
    assert "red" in colours
    assert "pink" not in colours
    assert 3 not in colours


def test_a_name_is_taken_once(colours):
    with pytest.raises(CollapselabError, match="two entries of kind colour are called 'red'"):
        colours.add("red", None)
    assert colours["red"] == "RED"


def test_near_names_are_offered(colours):
    with pytest.raises(UnknownName, match="no colour is called 'gren'; did you mean 'green'"):
        colours["gren"]
    with pytest.raises(UnknownName, match="known: blue, dark red, green, red"):
        colours["xyzzy"]


def test_an_unknown_name_is_a_lookup_error(colours):
    with pytest.raises(LookupError):
        colours["pink"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a registry and modules that register things, importable for one test."""
    root = tmp_path / "paints_of_a_test"
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "_register.py").write_text(
        textwrap.dedent("""
            from collapselab.core.registry import Registry
            PAINTS = Registry("paint", package="paints_of_a_test")
            LOADED = []
        """)
    )
    for name in ("oil", "acrylic", "_secret"):
        (root / f"{name}.py").write_text(
            f"from paints_of_a_test._register import LOADED, PAINTS\n"
            f"LOADED.append({name!r})\nPAINTS.add({name!r}, len(PAINTS))\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    yield "paints_of_a_test"
    for module in [m for m in sys.modules if m.startswith("paints_of_a_test")]:
        del sys.modules[module]


def test_fills_itself_from_public_modules_on_the_first_look(package):
    from paints_of_a_test._register import LOADED, PAINTS

    assert LOADED == []
    assert sorted(PAINTS) == ["acrylic", "oil"]
    assert list(PAINTS) == list(PAINTS)
    assert sorted(LOADED) == ["acrylic", "oil"]


def test_the_metrics_are_found_without_being_imported():
    from collapselab.metrics import REGISTRY

    assert {"nc1_pinv", "etf_error", "nc3_duality", "nc4_disagreement"} <= set(REGISTRY)
