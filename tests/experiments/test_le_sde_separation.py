"""Phases of separability: rows of a small run, and what the verdict makes of made ones."""

from pathlib import Path

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.le_sde_separation import HIGH, LOW, SHARE, TIME, LeSdeSeparation, _by_chance
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from collapselab.theory import separable_pairs
from experiments.made_rows import made_row

SMALL = LeSdeSeparation(exponents=(0.5, 1.5), boundary=(1.5,), decades=2)
SEPARATE, REMAIN = ("exponent-0.5", "gamma-0"), ("exponent-1.5", "boundary-1.5", "self-drift")


def rows(changed: dict[str, tuple[float, float]] | None = None) -> list[Observation]:
    """Intervals of every equation as the recipe predicts them, but for some."""
    expected = dict.fromkeys(SEPARATE, (0.9, 1.0)) | dict.fromkeys(REMAIN, (0.0, 0.1)) | (changed or {})
    made = []
    for arm, (low, high) in expected.items():
        early = {LOW.name: 0.3, HIGH.name: 0.6, SHARE.name: 0.5}
        late = {LOW.name: low, HIGH.name: high, SHARE.name: (low + high) / 2}
        made += [made_row(early, arm=arm, epoch=10), made_row(late, arm=arm, epoch=100)]
    return made


@pytest.mark.parametrize(
    ("changed", "state", "words"),
    [
        ({}, "holds", "0.8 or more for 2 of the 2 equations that should separate them, and 0.2 or less for 3 of the 3"),
        ({"gamma-0": (0.1, 0.5)}, "fails", "for 1 of the 2 equations"),
        ({"self-drift": (0.5, 0.9)}, "fails", "for 2 of the 3 that should not"),
        ({"boundary-1.5": (0.1, 0.3)}, "inconclusive", "1 are undecided by 40 trials"),
        ({"exponent-0.5": (0.7, 0.95)}, "inconclusive", "At time 1e2"),
        ({"exponent-0.5": (0.5, 0.79)}, "inconclusive", "1 are undecided"),  # more than before: later perhaps
        ({"exponent-0.5": (0.4, 0.6)}, "fails", "for 1 of the 2 equations"),  # no more than before
        ({"gamma-0": (0.0, 0.2), "boundary-1.5": (0.1, 0.3)}, "fails", "1 are undecided"),
    ],
)
def test_verdict(changed: dict[str, tuple[float, float]], state: str, words: str) -> None:
    verdict = SMALL.verdict(rows(changed))
    assert verdict.state == state
    assert words in verdict.statement
    assert verdict.figures["critical_scale"] == 1.5
    assert verdict.figures["exponent-1.5_high"] == 0.1


def test_equations_and_what_theory_says_of_them() -> None:
    said = {case.name: (case.model.separates(), case.model.theorem()) for case in LeSdeSeparation().cases}
    assert said == {
        "exponent-0.5": (True, "separates"),
        "exponent-0.8": (True, "separates"),
        "exponent-1.2": (False, "does not separate"),
        "exponent-1.5": (False, "does not separate"),
        "boundary-0.75": (False, "undecided"),
        "boundary-1.5": (False, "undecided"),
        "boundary-3": (True, "undecided"),
        "gamma-0": (True, "does not separate"),
        "self-drift": (False, "separates"),
    }
    same = {case.name: case.model for case in LeSdeSeparation().cases}
    for t in (0.0, 10.0):
        gap = [same[name].intra.rate(t) - same[name].inter.rate(t) for name in ("exponent-0.5", "gamma-0")]
        assert gap[0] == pytest.approx(gap[1])


def test_one_early_time_decides_nothing(tmp_path: Path) -> None:
    run = run_experiment(
        LeSdeSeparation(exponents=(0.5,), boundary=(3.0,), decades=1, trials=10, per_class=20), tmp_path / "run"
    )
    assert run.verdict is not None
    assert run.verdict.state == "inconclusive", run.verdict


@pytest.mark.parametrize(("samples", "features", "trials"), [(2, 3, 20), (3, 2, 300), (6, 1, 300), (12, 3, 300)])
def test_chance_of_separable_clouds(samples: int, features: int, trials: int) -> None:
    draw = torch.Generator().manual_seed(0)
    clouds = torch.randn(trials, samples, 2, features, generator=draw, dtype=torch.float64)
    most = _by_chance(samples, features)
    assert float(separable_pairs(clouds).double().mean()) <= most + 4 * (most * (1 - most) / trials) ** 0.5
    assert most == 1 or most < 0.6


def test_rows_of_a_small_run(tmp_path: Path) -> None:
    recipe = LeSdeSeparation.smoke()
    run = run_experiment(recipe, tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict
    found = RunFolder(tmp_path / "run").observations()
    assert len({row.arm for row in found}) == recipe.epochs == 5
    for row in found:
        assert row.result[TIME.name] == row.step
        assert row.loss == pytest.approx(1 - row.result[SHARE.name])
        assert row.result[LOW.name] <= row.result[SHARE.name]
        assert row.result[LOW.name] <= row.result[HIGH.name]
    assert {row.step for row in found} == {10, 100, 1000}
    assert run.declarations[SHARE.name].source == "zhang2021"
    last = {row.arm: row for row in found if row.step == 1000}
    assert last["exponent-0.5"].error == 0
    assert last["self-drift"].error > 0.05
    theorem = {arm.name: arm.settings["theorem"] for arm in run.arms}
    assert theorem["gamma-0"] == "does not separate"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"exponents": ()}, "exponents must be different numbers, at least one"),
        ({"boundary": (1.0, 1.0)}, "boundary must be different numbers"),
        ({"exponents": (0.5, 1.0)}, "exponents must not be 1, which boundary is about"),
        ({"exponents": (-0.5,)}, "every entry of exponents must be a finite number above 0"),
        ({"scale": 0.0}, "scale must be a finite number above 0"),
        ({"num_classes": 1}, "num_classes must be an integer of at least 2"),
        ({"per_class": 1}, "per_class must be an integer of at least 2"),
        ({"per_class": 2}, "large enough for classes not to be separable by chance, got 2: .* with probability 1"),
        ({"per_class": 50, "num_features": 50}, "by chance"),
        ({"decades": 0}, "decades must be an integer of at least 1"),
    ],
)
def test_bad_fields(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LeSdeSeparation(**fields)  # pyright: ignore[reportArgumentType]
