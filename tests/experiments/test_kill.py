"""A run killed at any write goes on to the same bits."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from collapselab.records import RunFolder
from tiny_run import kept

PROGRAM = Path(__file__).parents[1] / "killed_runs.py"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="killing runs takes fork and SIGKILL")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with an unbroken run in it, and the writes that took, a letter each."""
    folder = tmp_path_factory.mktemp("killed")
    return folder, go(folder, "count").split()[-1]


def go(folder: Path, *points: str) -> str:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), *points], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def same(folder: Path, *points: str) -> None:
    """Each point's run has the bytes of the unbroken one, says it is done, and has left nothing lying about."""
    whole = kept(folder / "whole")
    for point in points:
        assert kept(folder / point) == whole, point
        run = RunFolder(folder / point).read()
        assert run.status == "done"
        assert run.epochs_done == run.epochs
        assert not [file.name for file in (folder / point).rglob("*.tmp")]


def test_killed_at_a_few_writes(place: tuple[Path, str]) -> None:
    folder, writes = place
    points = (f"{writes.rindex('a') + 1}h", str(len(writes)))
    go(folder, *points)
    same(folder, *points)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_killed_before_every_write_and_amid_every_row(place: tuple[Path, str], part: int) -> None:
    folder, writes = place
    points = [f"{n}" for n in range(1, len(writes))]
    points += [f"{n}h" for n, kind in enumerate(writes, start=1) if kind == "a" and n != writes.rindex("a") + 1]
    go(folder, *points[part::3])
    same(folder, *points[part::3])


@pytest.mark.slow
def test_killed_at_any_time(place: tuple[Path, str]) -> None:
    folder, _ = place
    moments = random.Random(0)
    points = [f"t{moments.uniform(0.05, 1.5):.3f}" for _ in range(5)]
    go(folder, *points)
    same(folder, *points)
