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


Place = tuple[str, Path, str]
"""Recipe, folder with an unbroken run in it, and the writes that took, a letter each."""


def unbroken(recipe: str, folder: Path) -> Place:
    return recipe, folder, go(recipe, folder, "count").split()[-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return unbroken("one", tmp_path_factory.mktemp("killed"))


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Adam with augmentation, then SGD that a stop rule ends; measured within an epoch too."""
    return unbroken("arms", tmp_path_factory.mktemp("arms"))


def go(recipe: str, folder: Path, *points: str) -> str:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), recipe, str(folder), *points],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def same(folder: Path, *points: str) -> None:
    """Each point's run has the bytes of the unbroken one, says it is done, and has left nothing lying about."""
    whole, unbroken_run = kept(folder / "whole"), RunFolder(folder / "whole").read()
    for point in points:
        assert kept(folder / point) == whole, point
        run = RunFolder(folder / point).read()
        assert run.status == "done"
        assert run.epochs_done == unbroken_run.epochs_done
        assert run.notes == unbroken_run.notes
        assert not [file.name for file in (folder / point).rglob("*.tmp")]


def test_killed_at_a_few_writes(place: Place) -> None:
    recipe, folder, writes = place
    points = (f"{writes.rindex('a') + 1}h", str(len(writes)))
    go(recipe, folder, *points)
    same(folder, *points)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_killed_before_every_write_and_amid_every_row(place: Place, part: int) -> None:
    recipe, folder, writes = place
    points = [f"{n}" for n in range(1, len(writes))]
    points += [f"{n}h" for n, kind in enumerate(writes, start=1) if kind == "a" and n != writes.rindex("a") + 1]
    go(recipe, folder, *points[part::3])
    same(folder, *points[part::3])


@pytest.mark.slow
def test_killed_at_any_time(place: Place) -> None:
    recipe, folder, _ = place
    moments = random.Random(0)
    points = [f"t{moments.uniform(0.05, 1.5):.3f}" for _ in range(5)]
    go(recipe, folder, *points)
    same(folder, *points)


# Drawn once from the 25 steps of the two trainings: random.Random(0).sample(range(1, 26), 5).
RANDOM_STEPS = (13, 25, 14, 2, 9)


def test_killed_in_random_steps(arms: Place) -> None:
    """Weights, rows, snapshots, optimiser state: the bits of the unbroken run. In turn with a checkpoint after every
    step, most of which lie within an epoch, and with checkpoints at measurements only."""
    recipe, folder, _ = arms
    points = [f"s{step}{'c' if at % 2 else ''}" for at, step in enumerate(RANDOM_STEPS)]
    go(recipe, folder, *points)
    same(folder, *points)


def test_killed_again_and_again(arms: Place) -> None:
    """In the first training, at the start of the second, and in the second."""
    recipe, folder, _ = arms
    points = ("s7,9,3c", "s16c")
    go(recipe, folder, *points)
    same(folder, *points)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_arms_killed_before_every_write(arms: Place, part: int) -> None:
    recipe, folder, writes = arms
    points = [f"{n}" for n in range(1, len(writes))][part::3]
    go(recipe, folder, *points)
    same(folder, *points)
