"""`run` in this process: flags, folders, resumption, progress; and a run stopped from outside."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collapselab.cli import main
from collapselab.cli._runs import NC
from collapselab.records import RunFolder
from small_run import SMALL, TINY

Said = Callable[..., dict[str, Any]]


def test_the_answer_for_people_says_what_came_out_and_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "watch-collapse", *SMALL]) == 0
    captured = capsys.readouterr()
    assert "Claim: Trained on past zero" in captured.out
    assert "kept in runs/watch-collapse-1" in captured.out
    assert captured.out.endswith("look at it: collapselab report runs/watch-collapse-1\n")
    lines = captured.err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 0/3", "epoch 1/3", "epoch 3/3"]
    assert all(code in line for code, _ in NC for line in lines)
    assert "\r" not in captured.err
    assert main(["run", "watch-collapse", *SMALL]) == 0
    assert RunFolder("runs/watch-collapse-2").read().status == "done"


def test_the_document_holds_the_run_and_its_last_rows(tmp_path: Path, said: Said) -> None:
    folder = tmp_path / "a"
    document = said("run", "watch-collapse", *SMALL, "--out", str(folder), "--seed", "5")
    assert document["folder"] == str(folder)
    assert document["run"] == RunFolder(folder).read().model_dump(mode="json")
    assert document["run"]["config"]["seed"] == 5
    assert document["run"]["config"]["widths"] == [16, 8]
    assert document["last"].keys() == {"train", "test"}
    assert "value" in document["last"]["train"]["measurements"]["nc1_pinv"]


def test_a_configuration_file_and_its_printed_form(
    tmp_path: Path, said: Said, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "watch-collapse", *SMALL, "--print_config"]) == 0
    file = tmp_path / "c.yaml"
    file.write_text(capsys.readouterr().out)
    config = said("run", "watch-collapse", "--config", str(file), "--seed", "2", "--print_config")["config"]
    assert (config["epochs"], config["widths"], config["seed"]) == (3, [16, 8], 2)
    document = said("run", "watch-collapse", "--config", str(file), "--out", str(tmp_path / "a"))
    assert document["run"]["epochs"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "collapselab run: RECIPE must be given, got nothing; known: "),
        (["run", "watch-colapse"], "no experiment is called 'watch-colapse'; did you mean 'watch-collapse'"),
        (["run", "--seed", "1"], "RECIPE must come before the flags, got --seed"),
        (["run", "watch-collapse", "--sed", "1"], "no flag is called --sed; did you mean --seed?"),
        (["run", "watch-collapse", "--data", "mnist"], "--data: expected one of 'digits', 'mnist1d', got mnist"),
        (["run", "watch-collapse", "--epochs", "0"], "epochs must be an integer of at least 1, got 0"),
        (["run", "watch-collapse", "--epochs", "many"], "--epochs: expected an integer, got many"),
        (["run", "watch-collapse", "--learning-rate", "-1"], "learning_rate must be a finite number"),
        (["run", "watch-collapse", "--batch_size", "100000"], "batch_size must be at most"),
        (["run", "watch-collapse", "--widths", "[0]"], "widths must be"),
        (["run", "watch-collapse", "--device", "abacus"], "device must be auto, cpu, cuda"),
        (["run", "watch-collapse", "--threads", "0"], "threads must be an integer of at least 1, got 0"),
        (["run", "watch-collapse", "again"], "unexpected argument 'again'"),
        (["run", "watch-collapse", "--resume"], "--resume needs --out RUN, got none"),
        (["run", "watch-collapse", "--resume", "--out", "no/run"], "no run folder no/run"),
        (["run", "watch-collapse", "--out", "RUN"], "holds a run already: use --resume to go on with it"),
        (["run", "watch-collapse", "--out", "RUN", "--resume", "--overwrite"], "resume and overwrite exclude"),
        (["run", "watch-collapse", "--out", "RUN", "--resume", "--seed", "3"], "seed was 0, now 3"),
        (["run", "RUN", "--resume", "--data", "mnist1d"], "data was 'digits', now 'mnist1d'"),
        (["run", "RUN"], "holds a run already: use --resume to go on with it"),
        (["run", "RUN", "--out", "elsewhere"], "--out: the run folder was given already"),
        (["run", "watch-collapse", "--config", "no.yaml"], "--config: no file"),
    ],
)
def test_bad_requests_are_named_and_leave_nothing(
    arguments: list[str],
    message: str,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(finished) if argument == "RUN" else argument for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["recipe", "folder"])
def test_resuming_a_finished_run_says_what_it_said(how: str, finished: Path, said: Said) -> None:
    first = ("watch-collapse", "--out", str(finished)) if how == "recipe" else (str(finished),)
    document = said("run", *first, "--resume", "--epochs", "3")
    assert document["run"] == RunFolder(finished).read().model_dump(mode="json")


LONG = ("--epochs", "100000", "--measurements", "400", *TINY)


def started(folder: Path, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
    """A long run in a process of its own that has measured something already."""
    command = [sys.executable, "-m", "collapselab", "run", "watch-collapse", *arguments, "--out", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    deadline = time.monotonic() + 60
    while not RunFolder(folder).series_file.exists() or len(RunFolder(folder).observations()) < 6:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("request_to_stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on(request_to_stop: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "a run"
    process = started(folder, *LONG, "--json", stderr=subprocess.PIPE)
    process.send_signal(request_to_stop)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    hint = f"to go on: collapselab run watch-collapse --out '{folder}' --resume"
    assert hint in err.splitlines()[-1]
    assert "Traceback" not in err
    assert "\r" not in err
    error = json.loads(out)["error"]
    assert error["kind"] == "Interrupted"
    assert hint in error["message"]
    assert RunFolder(folder).read().status == "interrupted"


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, said: Said) -> None:
    flags = ("--epochs", "500", "--measurements", "12", *TINY)
    process = started(tmp_path / "killed", *flags, stderr=subprocess.DEVNULL)
    process.kill()
    process.communicate(timeout=60)
    assert RunFolder(tmp_path / "killed").read().status == "running"
    resumed = said("run", "watch-collapse", "--out", str(tmp_path / "killed"), "--resume")
    straight = said("run", "watch-collapse", *flags, "--out", str(tmp_path / "straight"))
    assert resumed["run"]["sessions"] == 2
    assert resumed["last"] == straight["last"]


@pytest.mark.slow
def test_in_a_terminal_a_bar_shows_what_is_left(tmp_path: Path) -> None:
    import pty

    main_end, terminal = pty.openpty()
    command = [sys.executable, "-m", "collapselab", "run", "watch-collapse", *SMALL, "--out", str(tmp_path / "a")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal)
    os.close(terminal)
    seen = b""
    while True:
        try:
            part = os.read(main_end, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(main_end)
    assert process.wait(timeout=60) == 0
    text = seen.decode()
    assert "3/3 epochs" in text
    assert "left" in text
    assert "NC1" in text


def test_a_listener_that_cannot_write_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    closed = open(write, "w", buffering=1)  # noqa: SIM115 - to close it fails, as it must
    monkeypatch.setattr(sys, "stderr", closed)
    code = main(["run", "watch-collapse", *SMALL, "--out", str(tmp_path / "a")])
    monkeypatch.undo()
    with contextlib.suppress(BrokenPipeError):
        closed.close()
    assert code == 0
    assert "kept in" in capsys.readouterr().out


def test_the_metrics_shown_on_the_way_are_those_of_the_report() -> None:
    from collapselab.report.faces import FACES

    assert [(face.code, face.preferred[0]) for face in FACES] == list(NC)
