"""Margins far beyond zero loss: the verdict on made rows, and the rows of a small run."""

import math
from pathlib import Path

import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.margin_maximisation import (
    CONSTANT,
    DECADES,
    DESCENT,
    OVER_LOSS,
    TITLES,
    MarginMaximisation,
)
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from experiments.made_rows import made_row

RECIPE = MarginMaximisation(seeds=3)


def rows(
    *,
    growth: tuple[float, float, float] = (1.5, 1.6, 1.7),
    constant: float = 0.5,
    deepest: float = 20.0,
    start: float = 1.0,
    order: bool = True,
) -> list[Observation]:
    """Margins that are `start` at losses of 1e-4 and 1e-6, and end as told; one of them without an order if so."""
    made = []
    for method in TITLES:
        for seed in range(3):
            end = constant if method == CONSTANT else start * growth[seed]
            decades = (0.5, 4.0, 6.0, 2.5) if method == CONSTANT else (0.5, 4.0, 6.0, deepest)
            for epoch, (fallen, margin) in enumerate(zip(decades, (-1.0, start, start, end), strict=True)):
                values = {
                    "log10_loss": -fallen,
                    "normalised_margin": margin if order or method != DESCENT else None,
                    "smoothed_normalised_margin": margin - 0.1,
                    "kkt_alignment": 0.5 if fallen > 1 else None,
                }
                made.append(made_row(values, arm=f"{method}-{seed}", epoch=epoch))
            made.append(made_row({}, arm=f"{method}-{seed}", epoch=3, split="test", error=0.25))
    return made


@pytest.mark.parametrize(
    ("made", "state", "words"),
    [
        (rows(), "holds", "grew 1.6 ± 0.25-fold from a loss of 1e-5 to the end, where the loss was 10^-20 or less"),
        (rows(growth=(1.1, 1.1, 1.12)), "fails", "grew 1.107 ± 0.029-fold"),
        (rows(growth=(1.0, 1.2, 1.6)), "inconclusive", "grew 1.267"),
        (rows(constant=2.0), "fails", "The constant rate came to 2 ± 0 at a loss of 0.0032"),
        (rows(deepest=9.5), "inconclusive", "the loss of a seed was still 10^-9.5 at the end; the claim is about"),
        (rows(start=-1.0), "inconclusive", "positive margins"),
        (rows(order=False), "inconclusive", "A number has no value"),
    ],
)
def test_verdict(made: list[Observation], state: str, words: str) -> None:
    verdict = RECIPE.verdict(made)
    assert verdict.state == state, verdict.statement
    assert words in verdict.statement


def test_figures_are_read_at_powers_of_ten_between_looks() -> None:
    figures = RECIPE.verdict(rows()).figures
    assert figures[f"normalised_margin_{OVER_LOSS}_at_1e-2"] == pytest.approx(-1 + 2 * 1.5 / 3.5)
    assert figures[f"normalised_margin_{OVER_LOSS}_at_1e-10"] == pytest.approx(1 + 0.6 * 4 / 14)
    assert figures[f"half_width_normalised_margin_{OVER_LOSS}_at_1e-5"] == 0
    assert f"normalised_margin_{OVER_LOSS}_at_1e-50" not in figures
    assert figures[f"log10_loss_{CONSTANT}_at_end"] == -2.5
    assert figures[f"test_accuracy_{DESCENT}_at_end"] == 0.75
    assert figures[f"kkt_alignment_{DESCENT}_at_end"] == 0.5


def test_one_seed_decides_nothing() -> None:
    assert MarginMaximisation(seeds=1).verdict([]).state == "inconclusive"


def test_rows_of_a_small_run(tmp_path: Path) -> None:
    recipe = MarginMaximisation.smoke()
    run = run_experiment(recipe, tmp_path / "run")
    assert {arm.settings["method"] for arm in run.arms} == set(TITLES.values())
    assert run.verdict is not None
    found = [row for row in RunFolder(tmp_path / "run").observations() if row.split == "train"]
    for row in found:
        assert row.result["homogeneity_order"] == 2
        assert row.result[DECADES.name] == -row.result["log10_loss"]
        assert row.result["log10_loss"] == pytest.approx(math.log10(row.loss), rel=1e-4)
    for method in TITLES:
        own = [row for row in found if row.arm == f"{method}-0"]
        assert own[-1].error == 0
        assert own[-1].result["normalised_margin"] > own[0].result["normalised_margin"]
        assert own[-1].epoch == (60 if method == DESCENT else 200)


def test_the_descent_may_be_left_out() -> None:
    recipe = MarginMaximisation(steps=0)
    assert recipe._methods == (OVER_LOSS, CONSTANT)
    made = [row for row in rows() if not row.arm.startswith(DESCENT)]
    assert recipe.verdict(made).state == "holds"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"steps": -1}, "steps must be an integer of at least 0, got -1"),
        ({"descent": 0.0}, "descent must be a finite number above 0, got 0.0"),
        ({"widths": ()}, "widths must be one positive integer for each hidden layer"),
        ({"samples_per_class": 0}, "samples_per_class must be an integer of at least 1, got 0"),
    ],
)
def test_bad_fields(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MarginMaximisation(**fields)  # pyright: ignore[reportArgumentType]
