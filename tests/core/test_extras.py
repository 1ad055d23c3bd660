"""Optional packages: what is missing names its extra; what is broken is shown as it is."""

import sys

import pytest

from collapselab.core.errors import MissingExtra
from collapselab.core.extras import require


def test_what_is_installed_is_imported():
    assert require("json", extra="any", purpose="a test").dumps([1]) == "[1]"
    assert require("os.path", extra="any", purpose="a test").basename("a/b") == "b"


@pytest.mark.parametrize("module", ["package_that_nobody_has", "package_that_nobody_has.part"])
def test_what_is_missing_names_its_extra(module):
    expected = r"A picture needs package_that_nobody_has: pip install 'collapselab\[figures\]'"
    with pytest.raises(MissingExtra, match=expected):
        require(module, extra="figures", purpose="A picture")
    with pytest.raises(ImportError):
        require(module, extra="figures", purpose="A picture")


def test_a_package_that_is_there_but_broken_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_of_a_test.py").write_text("import dependency_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="dependency_that_nobody_has") as raised:
        require("broken_of_a_test", extra="figures", purpose="A picture")
    assert not isinstance(raised.value, MissingExtra)
    assert "broken_of_a_test" not in sys.modules


def test_a_dependency_whose_name_begins_like_the_package_is_not_the_package(tmp_path, monkeypatch):
    (tmp_path / "plot_of_a_test_x.py").write_text("import plot_of_a_test\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError) as raised:
        require("plot_of_a_test_x", extra="figures", purpose="A picture")
    assert not isinstance(raised.value, MissingExtra)
