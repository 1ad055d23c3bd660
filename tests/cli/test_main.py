"""The door: verbs, exit codes, one document, no traceback, nothing heavy before it is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from collapselab import __version__
from collapselab.cli import _main, main
from collapselab.cli._answer import Answer
from collapselab.core.errors import InputError, MissingExtra, StorageError, UndefinedMetric, UnknownName


def command(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    """A process of its own, as a user would start it."""
    return subprocess.run(
        [sys.executable, "-m", "collapselab", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def test_help_names_every_verb_and_each_has_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    files = {file.stem for file in Path(_main.__file__).parent.glob("[a-z]*.py")}
    assert set(_main.VERBS) == files
    assert all(f"  {verb} " in shown for verb in _main.VERBS)


@pytest.mark.parametrize("verb", list(_main.VERBS))
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"usage: collapselab {verb}")
    assert captured.err == ""


@pytest.mark.parametrize("verb", list(_main.VERBS))
def test_help_as_json_is_one_document(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    assert document["help"].startswith(f"usage: collapselab {verb}")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"collapselab {__version__}\n"
    assert main(["--version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "version": __version__}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "collapselab: a verb must come first"),
        (["--verbose"], "collapselab: a verb must come first, got --verbose"),
        (["mesure"], "collapselab: no verb is called 'mesure'; did you mean 'measure'"),
        (["list", "metric"], "collapselab list: KIND: nothing is listed under 'metric'; did you mean metrics?"),
        (
            ["list", "zebras"],
            "nothing is listed under 'zebras'; known: recipes, metrics, data, networks, heads",
        ),
        (["list", "metrics", "again"], "collapselab list: unexpected argument 'again' (see collapselab list --help)"),
        (["describe"], "collapselab describe: NAME must be given"),
        (["describe", "nc1_pin"], "nothing is called 'nc1_pin'; did you mean nc1_pinv?"),
        (["describe", "nc1_pinv", "--jsn"], "no flag is called --jsn"),
        (["cite"], "collapselab cite: NAME must be given"),
        (["cite", "papyan2002"], "is called 'papyan2002'; did you mean papyan2020?"),
        (["cite", "no/such/run"], "no run folder no/such/run"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    ("error", "code", "kind", "message"),
    [
        (InputError("k must be 2,\n got 1"), 2, "InputError", "k must be 2, got 1"),
        (UnknownName("no such"), 2, "UnknownName", "no such"),
        (StorageError("disk full"), 1, "StorageError", "disk full"),
        (MissingExtra("needs x"), 1, "MissingExtra", "needs x"),
        (UndefinedMetric("no value"), 1, "UndefinedMetric", "no value"),
        (PermissionError(13, "denied", "a"), 1, "PermissionError", "[Errno 13] denied: 'a'"),
        (KeyboardInterrupt(), 1, "Interrupted", "interrupted"),
        (ZeroDivisionError("1/0"), 1, "InternalError", "ZeroDivisionError: 1/0 (--debug shows where)"),
    ],
)
def test_errors_to_exit_codes(
    error: BaseException,
    code: int,
    kind: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: list[str]) -> Answer:
        raise error

    monkeypatch.setattr("collapselab.cli.list.answer", fail)
    assert main(["list"]) == code
    assert capsys.readouterr().err == f"collapselab list: {message}\n"
    assert main(["list", "--json"]) == code
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"schema_version": 1, "error": {"kind": kind, "message": message}}
    assert captured.err == f"collapselab list: {message}\n"
    assert main(["list", "--debug"]) == code
    assert "Traceback" in capsys.readouterr().err


def test_what_a_library_prints_does_not_stand_beside_the_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def chat(_: list[str]) -> Answer:
        print("hello from a library")
        return Answer({"a": 1}, "one")

    monkeypatch.setattr("collapselab.cli.list.answer", chat)
    assert main(["list", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"schema_version": 1, "a": 1}
    assert captured.err == "hello from a library\n"


def test_help_starts_without_torch() -> None:
    script = "import sys; from collapselab.cli import main; main({}); sys.exit('torch' in sys.modules)"
    for arguments in (["--help"], ["--version"], ["list", "sources"], ["describe", "papyan2020"], ["report", "--help"]):
        done = subprocess.run([sys.executable, "-c", script.format(arguments)], capture_output=True, timeout=60)
        assert done.returncode == 0, arguments


def test_the_module_and_its_exit_code() -> None:
    done = command("lst")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "collapselab: no verb is called 'lst'; did you mean 'list'?\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_behind_standard_output_is_said() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "collapselab", "list", "sources"], stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_fault() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "collapselab", "list", "sources"], stdout=write, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(write)
    assert done.returncode == 0
    assert done.stderr == b""
