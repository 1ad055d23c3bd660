"""Softmax codes: the smoke run finds them, and the verdict says what the rows say."""

from pathlib import Path
from typing import Any

import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.softmax_codes import SoftmaxCodes, best_distance
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from experiments.made_rows import made_row


def test_smoke_run_finds_the_codes(tmp_path: Path) -> None:
    """The octahedron throughout; two pentagons first and Petersen's code in the end."""
    run = run_experiment(SoftmaxCodes.smoke(), tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict.statement
    ends = {row.arm: row.result for row in RunFolder(tmp_path / "run").observations()}
    assert ends["6x3-t0.4"]["generalised_nc2"] == pytest.approx(1, abs=1e-6)
    assert ends["10x4-t0.4"]["generalised_nc2"] == pytest.approx(0.690983, abs=1e-5)
    assert ends["10x4-t0.02"]["generalised_nc2"] == pytest.approx(5 / 6, abs=1e-5)
    assert all(end["generalised_nc3"] < 1e-6 for end in ends.values())
    assert run.verdict.figures["shapes_that_come_no_farther_at_any_step"] == 2


def test_distances_known_and_searched_for() -> None:
    assert best_distance(16, 5) == 0.8
    assert best_distance(8, 3) == pytest.approx(0.7388, abs=1e-4)


def rows_of(parts: dict[str, float]) -> list[Observation]:
    return [made_row({"part_of_softmax_code": x, "share_of_starts": 0.5}, arm=arm) for arm, x in parts.items()]


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        (
            {},
            "holds",
            "The largest shortfall is 17.00%, 1.00% at temperatures of 1, 0.01; 1 of 2 shapes come no farther",
        ),
        ({"10x4-t1": 0.99 + 1e-9, "7x3-t1": 1.0}, "holds", "1.00%, 1.00%"),
        ({"7x3-t0.01": 0.95}, "fails", "17.00%, 5.00%"),
        ({"10x4-t1": 0.995, "7x3-t1": 1.0}, "fails", "0.50%, 1.00%"),
    ],
)
def test_verdict(change: dict[str, float], state: str, words: str) -> None:
    recipe = SoftmaxCodes(shapes=("7x3", "10x4"), temperatures=(1.0, 0.01))
    parts = {"7x3-t1": 0.995, "7x3-t0.01": 0.99, "10x4-t1": 0.83, "10x4-t0.01": 1.0}
    verdict = recipe.verdict(rows_of(parts | change))
    assert verdict.state == state
    assert words in verdict.statement
    assert verdict.figures["smallest_share_of_starts"] == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shapes": ()}, "shapes must be different ones, at least one"),
        ({"shapes": ("7",)}, "every entry of shapes must be classes x features such as '7x3', got '7'"),
        ({"shapes": ("4x3",)}, "classes in shapes must be above features plus 1, got '4x3': that is a simplex"),
        ({"shapes": ("4x1",)}, "features in shapes must be an integer of at least 2"),
        ({"temperatures": (1.0,)}, "temperatures must be two or more"),
        ({"temperatures": (0.1, 1.0)}, "temperatures must descend"),
        ({"temperatures": (1.0, 0.0)}, "every entry of temperatures must be a finite number above 0"),
        ({"starts": 0}, "starts must be an integer of at least 1, got 0"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SoftmaxCodes(**settings)


@pytest.mark.slow
def test_claim(tmp_path: Path) -> None:
    run = run_experiment(SoftmaxCodes(), tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict.statement
    assert float(run.verdict.figures["largest_shortfall_at_0.01"] or 0) < 0.01
