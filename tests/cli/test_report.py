"""`report` and `compare`: pages of runs, without torch; and the whole way from a recipe to a citation."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collapselab.cli import main
from small_run import SMALL

Said = Callable[..., dict[str, Any]]


def test_a_page_and_a_figure(finished: Path, tmp_path: Path, said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    page, figure = tmp_path / "page.html", tmp_path / "figure.svg"
    document = said("report", str(finished), "--out", str(page), "--figure", str(figure))
    assert document == {"schema_version": 1, "runs": [str(finished)], "page": str(page), "figure": str(figure)}
    assert page.read_text().startswith("<!doctype html>")
    assert "<svg" in figure.read_text()
    assert main(["report", str(finished), str(finished), "--out", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}\n"


def test_a_comparison_is_a_table_and_a_page(
    finished: Path, tmp_path: Path, said: Said, capsys: pytest.CaptureFixture[str]
) -> None:
    other, page = tmp_path / "other", tmp_path / "page.html"
    assert main(["run", "watch-collapse", *SMALL, "--seed", "1", "--out", str(other)]) == 0
    document = said("compare", str(finished), str(other), "--out", str(page))
    assert [run["config"]["seed"] for run in document["runs"]] == [0, 1]
    values = [run["last"]["train"]["measurements"]["nc1_pinv"]["value"] for run in document["runs"]]
    assert main(["compare", str(finished), str(other), "--out", str(page)]) == 0
    text = capsys.readouterr().out
    assert text.endswith(f"\n\n{page}\n")
    rows = {line[:26].strip(): line[26:].split() for line in text.splitlines()}
    assert rows["seed"] == ["0", "1"]
    assert "epochs" in rows
    assert [f"{value:.6g}" for value in values] == next(
        line.split()[2:] for line in text.splitlines() if "nc1_pinv" in line
    )
    assert "<!doctype html>" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report"], "RUN must be given, got nothing"),
        (["report", "no/run"], "no run folder no/run"),
        (["report", "EMPTY"], "holds no run: there is no run.json in it"),
        (["report", "RUN", "--figure", "a.gif"], "out must end in one of"),
        (["report", "RUN", "RUN", "--figure", "a.svg"], "--figure: expected a single run, got 2"),
        (["report", "RUN", "--out", "EMPTY"], "out must be a file to write, got the folder"),
        (["report", "RUN", "--outt", "a"], "no flag is called --outt; did you mean --out?"),
        (["compare", "RUN"], "RUN: expected at least two folders, got 1"),
        (["compare", "RUN", "no/run"], "no run folder no/run"),
        (["compare", "RUN", "BROKEN"], "is not a run record"),
        (["cite", "BROKEN"], "is not a run record"),
    ],
)
def test_bad_requests_are_named(
    arguments: list[str], message: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    broken.mkdir()
    (broken / "run.json").write_bytes((finished / "run.json").read_bytes()[:50])
    places = {"RUN": finished, "EMPTY": empty, "BROKEN": broken}
    assert main([str(places.get(argument, argument)) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_report_and_compare_do_without_torch(finished: Path, tmp_path: Path) -> None:
    """Torch is not merely unused: it cannot be imported."""
    script = "import sys; sys.modules['torch'] = None; from collapselab.cli import main; sys.exit(main({}))"
    for arguments in (
        ["report", str(finished), "--out", str(tmp_path / "r.html")],
        ["compare", str(finished), str(finished), "--out", str(tmp_path / "c.html")],
    ):
        done = subprocess.run([sys.executable, "-c", script.format(arguments)], capture_output=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_from_a_recipe_to_a_citation_as_a_user_types_it(tmp_path: Path) -> None:
    def typed(*arguments: str) -> str:
        command = [sys.executable, "-W", "error::DeprecationWarning:collapselab", "-m", "collapselab", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "look at it: collapselab report runs/watch-collapse-1" in typed("run", "watch-collapse", *SMALL)
    typed("run", "watch-collapse", *SMALL, "--loss", "mse")
    assert typed("report", "runs/watch-collapse-1") == "runs/watch-collapse-1/report.html\n"
    assert "cross_entropy  " in typed("compare", "runs/watch-collapse-1", "runs/watch-collapse-2")
    assert typed("cite", "runs/watch-collapse-1").startswith("@article{papyan2020,")
    assert (tmp_path / "runs/watch-collapse-1/report.html").is_file()
