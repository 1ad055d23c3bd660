"""What the project's own files promise to each other."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import collapselab

tomllib = pytest.importorskip("tomllib", reason="tomllib came with Python 3.11")

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonical(pin.name): pin for pin in found}


def requirements() -> list[Requirement]:
    every = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    return [r for r in map(Requirement, every) if r.name != "collapselab"]


def test_the_core_is_small():
    names = {canonical(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert names == {"torch", "numpy", "safetensors", "jaxtyping", "pydantic", "jsonargparse", "tqdm"}


def test_every_requirement_is_pinned_within_its_range():
    pinned = pins()
    for requirement in requirements():
        (pin,) = pinned[canonical(requirement.name)].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), f"{requirement} against {pin}"


def test_pins_are_versions_of_the_public_index():
    for pin in pins().values():
        assert pin.url is None
        assert "+" not in str(pin.specifier), f"{pin}: a local version is not on the index"


def test_all_brings_every_extra_that_a_user_has_a_use_for():
    (everything,) = map(Requirement, EXTRAS["all"])
    apart = {"curvature"}  # brings torchvision, which breaks transformers where it does not fit the installed torch
    assert everything.extras == set(EXTRAS) - {"all", "test", "docs", "dev"} - apart


def test_make_installs_what_curvature_needs_and_nothing_else_of_it():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^CURVATURE := (.*)$", makefile, flags=re.MULTILINE)
    installs = re.findall(r"^\t\$\(PIP\) .*$", makefile, flags=re.MULTILINE)
    assert set(map(canonical, listed.split())) <= set(pins())
    assert installs[1::2] == ["\t$(PIP) --no-deps $(CURVATURE)"] * 4
    code = "import sys; sys.modules['torchvision'] = sys.modules['backpack'] = None; import curvlinops"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_one_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert collapselab.__version__ == PROJECT["version"]
    assert f"\nversion: {PROJECT['version']}\n" in citation


def test_the_readme_names_every_extra_of_a_user():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [name for name in EXTRAS if name not in ("test", "docs", "dev") and f"`{name}`" not in readme]
    assert not missing, "the README's table of extras is incomplete"


@pytest.mark.parametrize("module", ["collapselab", "collapselab.cli", "collapselab.records", "collapselab.report"])
def test_what_only_reads_does_not_import_torch(module):
    code = f"import sys; sys.modules['torch'] = None; import {module}"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", ["references.bib", "py.typed"])
def test_the_package_ships_its_data(name):
    assert (Path(collapselab.__file__).parent / name).is_file()


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("bench_*.py")), ids=lambda path: path.stem)
def test_benchmarks_find_what_they_measure(script: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing runs: what they import must be there."""
    monkeypatch.syspath_prepend(str(script.parent))
    assert callable(runpy.run_path(str(script), run_name="imported")["main"])
