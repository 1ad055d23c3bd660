"""The page about the command line is true: what it shows is typed, and what it promises comes out."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from collapselab.cli import _main, main
from small_run import SMALL

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def blocks(language: str) -> list[str]:
    """Code of a language, without what is marked as slow."""
    return re.findall(rf"(?m)(?<!% takes a minute\n)^```{language}\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL)


def commands() -> list[tuple[str, list[str]]]:
    """What is typed, and the lines that are shown of what comes out."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(blocks("console")).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line not in ("", "..."):
            found[-1][1].append(line)
    return found


@pytest.fixture
def place(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the page has made up to any point of it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, tmp_path / "runs" / "watch-collapse-1")
    assert main(["run", "watch-collapse", *SMALL, "--seed", "1"]) == 0
    for block in blocks("python"):
        exec(block, {})
    return tmp_path


def test_what_is_shown_comes_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (place / "runs" / "watch-collapse-2").is_dir()
    assert len(commands()) > 8
    for typed, shown in commands():
        capsys.readouterr()
        program, *arguments = shlex.split(typed)
        assert program == "collapselab"
        assert main(arguments) == 0, typed
        lines = capsys.readouterr().out.splitlines()
        for line in shown:
            whole = not line.endswith("...")
            assert line in lines if whole else any(one.startswith(line[:-3]) for one in lines), (typed, line)


def test_every_verb_flag_and_exit_code_is_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text()
    asked = [[verb] for verb in _main.VERBS if verb != "run"] + [["run", "watch-collapse"]]
    of_recipes = [["run", "watch-collapse"], ["train"]]
    settings = {f"--{key}" for one in of_recipes for key in _main._answer([*one, "--print_config"]).document["config"]}
    for verb in asked:
        assert f"`{verb[0]} " in text
        capsys.readouterr()
        main([*verb, "--help"])
        flags = set(re.findall(r"--[a-z_-]+", capsys.readouterr().out)) - {"--help"}
        own = flags - (settings - {"--out", "--resume", "--overwrite", "--device", "--threads"})
        assert [flag for flag in sorted(own) if flag not in text] == [], verb
