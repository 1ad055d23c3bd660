"""`sweep`: grids of runs in processes of their own."""

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

from collapselab.records import RunFolder
from small_run import SMALL

Said = Callable[..., dict[str, Any]]
OVER = ("--over", "loss=cross_entropy,mse", "--over", "seed=0,1")


def test_a_grid_is_run_once(tmp_path: Path, said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    """Every run equals the one made alone; the second time nothing is started; another flag is refused."""
    out = tmp_path / "out"
    document = said("sweep", "watch-collapse", *OVER, *SMALL, "--jobs", "2", "--out", str(out))
    names = ["loss=cross_entropy,seed=0", "loss=cross_entropy,seed=1", "loss=mse,seed=0", "loss=mse,seed=1"]
    assert [Path(run["folder"]).name for run in document["runs"]] == names
    assert all(run["status"] == "done" for run in document["runs"])
    assert Path(document["page"]).is_file()
    errors = [run["last"]["test"]["error"] for run in document["runs"]]
    alone = said("run", "watch-collapse", *SMALL, "--loss", "mse", "--seed", "1", "--out", str(tmp_path / "alone"))
    assert errors[3] == alone["last"]["test"]["error"]
    alone_rows, rows = tmp_path / "alone" / "series.jsonl", out / names[3] / "series.jsonl"
    assert rows.read_bytes() == alone_rows.read_bytes()
    before = [(out / name / "run.json").stat().st_mtime_ns for name in names]
    assert said("sweep", "watch-collapse", *OVER, *SMALL, "--out", str(out))["runs"] == document["runs"]
    assert [(out / name / "run.json").stat().st_mtime_ns for name in names] == before
    error = said("sweep", "watch-collapse", *OVER, *SMALL, "--momentum", ".5", "--out", str(out), code=2)["error"]
    assert "momentum was 0.9, now 0.5" in error["message"]


def test_a_failing_run_stops_no_other(tmp_path: Path, said: Said) -> None:
    out = tmp_path / "out"
    over = ("--over", "learning_rate=0.04,1e30")
    error = said("sweep", "watch-collapse", *over, *SMALL, "--jobs", "1", "--out", str(out), code=1)["error"]
    assert "1 of 2 runs failed" in error["message"]
    assert "learning_rate=1e30: training diverged" in error["message"]
    assert RunFolder(out / "learning_rate=0.04").read().status == "done"


def test_a_point_that_was_refused_makes_way_for_the_corrected_one(tmp_path: Path, said: Said) -> None:
    """Without --overwrite, which would run the others again."""
    out = str(tmp_path / "out")
    flags = ("--over", "seed=0", "--data.samples_per_class", "10", "--epochs", "1", "--out", out)
    message = said("sweep", "train", *flags, "--batch_size", "500", code=1)["error"]["message"]
    assert "batch_size must be at most 100" in message
    assert said("sweep", "train", *flags, "--batch_size", "50")["runs"][0]["status"] == "done"


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on(tmp_path: Path, said: Said) -> None:
    """SIGTERM ends the runs under way after their step; the same command does the rest."""
    out = tmp_path / "out"
    flags = ["watch-collapse", "--over", "seed=0,1,2", *SMALL, "--epochs", "400", "--jobs", "2", "--out", str(out)]
    command = [sys.executable, "-m", "collapselab", "sweep", *flags, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ})
    deadline = time.monotonic() + 120
    while len(list(out.glob("seed=*/checkpoint.pt"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "to go on: collapselab sweep watch-collapse" in json.loads(stdout)["error"]["message"]
    assert {RunFolder(folder).read().status for folder in out.glob("seed=*")} <= {"interrupted", "done"}
    document = said("sweep", *flags)
    assert [run["status"] for run in document["runs"]] == ["done"] * 3


BAD = [
    (["watch-collapse"], "--over must be given at least once"),
    (["watch-collapse", "--over", "seed"], "--over must be SETTING=VALUE,VALUE, got 'seed'"),
    (["watch-collapse", "--over", "seed="], "over must give at least one value of seed, got none"),
    (["watch-collapse", "--over", "seed=1,1"], "over must give every value of seed once, got 1 twice"),
    (["watch-collapse", "--over", "seed=[1"], "--over must be SETTING=VALUE,VALUE"),
    (["watch-collapse", "--over", "sed=1"], "sed=1: no flag is called --sed; did you mean --seed?"),
    (["watch-collapse", "--over", "loss=mse,what"], "loss=what: --loss: expected one of"),
    (["watch-collapse", "--over", "seed=0", "--jobs", "0"], "--jobs must be an integer of at least 1, got 0"),
    (["watch-collapse", "--over", "seed=0", "--resume"], "--resume is no flag of a sweep"),
    (["train", "--over", "loss=focl"], "loss=focl: --loss: no loss is called 'focl'; did you mean focal?"),
    (["--over", "seed=0"], "RECIPE must come before the flags"),
    (["what", "--over", "seed=0"], "no experiment is called 'what'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_arguments(arguments: list[str], message: str, tmp_path: Path, said: Said) -> None:
    out = tmp_path / "out"
    assert message in said("sweep", *arguments, "--out", str(out), code=2)["error"]["message"]
    assert not out.exists()
