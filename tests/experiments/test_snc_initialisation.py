"""The recipe on strong collapse: rows by size of the start, and a verdict on exponents."""

from pathlib import Path

import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.snc_initialisation import (
    BIAS,
    FEATURES,
    KEPT,
    KINDS,
    WEIGHTS,
    SncInitialisation,
)
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from experiments.made_rows import made_row

SIZES = (0.01, 0.1, 1.0)


def rows(powers: tuple[float, float, float] = (4, 2, 2), *, last: float = 1.0, apart: float = 0.0) -> list[Observation]:
    """Errors that are powers of the size, the largest times a factor; those of the mean a little larger."""
    made = []
    for kind in KINDS:
        for size in SIZES:
            factor = (last if size == SIZES[-1] else 1.0) * (1 + apart if kind == "mean" else 1.0)
            values = {one.name: factor * size**p for one, p in zip((WEIGHTS, FEATURES, BIAS), powers, strict=True)}
            for epoch in (0, 1):
                measured = {name: value * (2 - epoch) for name, value in values.items()}
                made.append(made_row(measured | {KEPT.name: size**2}, arm=f"{kind}-size{size:g}-3", epoch=epoch))
    return made


@pytest.mark.parametrize(
    ("made", "state", "words"),
    [
        (rows(), "holds", "follow the powers 4.000, 2.000, 2.000; they grow up to size 1; those of sum and mean"),
        (rows((4.1, 1.95, 2.05)), "holds", "4.100, 1.950, 2.050"),
        (rows((4.3, 2, 2)), "fails", "4.300"),
        (rows((4, 2, 1.8)), "fails", "1.800"),
        (rows(last=1e-5), "fails", "they do not grow throughout up to size 1"),
        (rows(apart=1e-3), "fails", "differ by 0.001 of themselves"),
    ],
)
def test_verdict(made: list[Observation], state: str, words: str) -> None:
    verdict = SncInitialisation(sizes=SIZES, seeds=1, seed=3).verdict(made)
    assert verdict.state == state
    assert words in verdict.statement
    assert verdict.figures["features_error_over_predicted"] == pytest.approx(made[1].result[FEATURES.name] / 0.01**2)


def test_one_small_start_has_no_exponent() -> None:
    recipe = SncInitialisation(sizes=SIZES[1:], seeds=1, seed=3)
    assert recipe.verdict(rows()).state == "inconclusive"


def test_rows_of_a_small_run(tmp_path: Path) -> None:
    recipe = SncInitialisation.smoke()
    run = run_experiment(recipe, tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict
    assert float(run.verdict.figures["features_error_over_predicted"] or 0) == pytest.approx(1, abs=1e-3)
    found = RunFolder(tmp_path / "run").observations()
    assert len({row.arm for row in found}) == recipe.epochs == 6
    assert {row.step for row in found} == {0, 1, 20}
    assert run.declarations[WEIGHTS.name].source == "mixon2020"
    for size in recipe.sizes:
        one, two = ([row for row in found if row.arm == f"{kind}-size{size:g}-0"] for kind in KINDS)
        for a, b in zip(one, two, strict=True):
            assert b.loss == pytest.approx(a.loss, rel=1e-5)
            assert b.result[BIAS.name] == pytest.approx(a.result[BIAS.name], rel=1e-5)
        assert one[0].result.measurements.keys() >= {"nc1_pinv", "within_fraction", KEPT.name}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sizes": (1.0,)}, "sizes must be two different numbers or more in ascending order"),
        ({"sizes": (1.0, 0.1)}, "in ascending order"),
        ({"sizes": (0.0, 0.1)}, "every entry of sizes must be a finite number above 0"),
        ({"seeds": 0}, "seeds must be an integer of at least 1, got 0"),
        ({"num_features": 2}, "num_features must be an integer of at least 3, got 2"),
    ],
)
def test_bad_fields(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SncInitialisation(**fields)  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_errors_grow_with_the_start(tmp_path: Path) -> None:
    run = run_experiment(SncInitialisation(sizes=(1e-3, 0.1, 10.0), seeds=1, measurements=1), tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict
    assert float(run.verdict.figures["loss_from_10"] or 0) < 1e-9
