"""The README does what it says: its examples run in order in one folder, and its table is the registry's."""

import json
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from collapselab.cli import main
from collapselab.records.store import RunFolder

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
NAMES = ("training.md", "theory.md", "dynamics.md", "extending.md")
GUIDES = {"README.md": README} | {name: ROOT / "docs" / name for name in NAMES}
TRAINING = re.compile(r"collapselab (run|train|sweep) ")


def test_the_table_of_metrics_is_the_registry():
    script = runpy.run_path(str(ROOT / "docs" / "readme_table.py"))
    text = README.read_text()
    assert script["updated"](text) == text, "the table is out of date: run python docs/readme_table.py"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ").split("  #")[0].strip() for line in lines if line.startswith("$ collapselab ")]


@pytest.mark.slow
def test_the_examples_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries whose models are measured
        for block in blocks(README, "python"):
            exec(block, names)
    capsys.readouterr()
    quick = [line for line in commands(README) if not re.search(r" (run|train|sweep|report|compare) | --beside ", line)]
    assert len(quick) >= 6
    for line in quick:
        assert main(shlex.split(line)[1:]) == 0, line
        printed = capsys.readouterr().out
        if "--json" in line:
            json.loads(printed)
    assert (tmp_path / "features.html").stat().st_size > 100_000


@pytest.mark.parametrize("name", ["README.md", "training.md", "theory.md", "dynamics.md"])
def test_every_long_command_is_understood(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    long = [line for line in commands(GUIDES[name]) if TRAINING.match(line)]
    assert len(long) >= 4
    for line in long:
        typed, _, file = line.partition(" > ")
        arguments = shlex.split(typed)[1:]
        asked = arguments if arguments[-1] in ("--print_config", "--help") else [*arguments, "--print_config"]
        assert main(asked) == 0, line
        printed = capsys.readouterr().out
        assert "seed" in printed
        if file:
            Path(file).write_text(printed)


def test_guides_link_to_pages_that_exist():
    for page in GUIDES.values():
        targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
        made = {"reference/generated"}  # when the documentation is built
        there = [str(page.parent / target) for target in targets if str(Path(target).parent) not in made]
        assert [target for target in there if not Path(target).exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_guide_run(name, tmp_path):
    pytest.importorskip("sklearn")
    # In a process of its own: what it declares would stand in the registries of all other tests.
    code = "\n".join(blocks(GUIDES[name], "python"))
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_example_of_an_own_training_loop(capsys):
    pytest.importorskip("sklearn")
    script = runpy.run_path(str(ROOT / "examples" / "own_training_loop.py"))
    script["main"](epochs=20)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["1", "2", "5", "10", "20"]
    assert float(rows[-1][1]) < float(rows[0][1])  # NC1 falls


@pytest.mark.slow
def test_the_example_of_own_parts(tmp_path, capsys):
    pytest.importorskip("sklearn")
    folder = tmp_path / "run"
    # In a process of its own: what it declares would stand in the registries of all other tests.
    script = ROOT / "examples" / "own_parts.py"
    code = f"import runpy; runpy.run_path({str(script)!r})['main']({str(folder)!r}, epochs=3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "{'name': 'poly1', 'epsilon': 1.0} {'name': 'layer_norm_mlp', 'width': 128, 'depth': 3}" in done.stdout
    # What is kept can be read where the names mean nothing.
    for verb in ("report", "cite"):
        assert main([verb, str(folder)]) == 0
    assert "papyan2020" in capsys.readouterr().out
    stages = {"", "flatten", "layer1", "layer2", "layer3"}
    assert {row.layer for row in RunFolder(folder).observations()} == stages
