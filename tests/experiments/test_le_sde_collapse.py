"""Collapse along paths of local elasticity: rows of a small run, and what the verdict makes of made ones."""

from pathlib import Path

import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.le_sde_collapse import ALIGNED, BELOW, COLLAPSED, MEDIANS, LeSdeCollapse
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from experiments.made_rows import made_row

CLAIMED = ("aligned", "reference-negative")


def rows(changed: dict[str, float] | None = None, cosines: tuple[float, float] = (0.5, 1.0)) -> list[Observation]:
    """Shares of starts that have collapsed as the claim has them, but for some equations."""
    made = []
    for case in LeSdeCollapse().cases:
        share = (changed or {}).get(case.name, float(case.collapses))
        medians = {one.name: 0.01 for one in MEDIANS.values()}
        made += [
            made_row({COLLAPSED.name: at, ALIGNED.name: cosine} | medians, arm=case.name, epoch=epoch)
            for epoch, at, cosine in zip((1, 9), (0.0, share), cosines, strict=True)
        ]
    return made


@pytest.mark.parametrize(
    ("changed", "state", "words"),
    [
        ({}, "holds", "in 2 of the 2 equations of which it is claimed, and with 0.2 or less in 6 of the 6 others"),
        ({"aligned": 0.4}, "fails", "in 1 of the 2"),
        ({"identity": 1.0}, "fails", "in 5 of the 6 others"),
        ({"reference-negative": 0.9}, "inconclusive", "1 are undecided by 20 starts"),
        ({"aligned-self": 0.05}, "inconclusive", "in 5 of the 6 others; 1 are undecided"),
    ],
)
def test_verdict(changed: dict[str, float], state: str, words: str) -> None:
    verdict = LeSdeCollapse().verdict(rows(changed))
    assert verdict.state == state
    assert words in verdict.statement
    assert verdict.figures["aligned_NC2"] == 0.01
    if not changed:
        assert verdict.figures["aligned_low"] == pytest.approx(0.8316, abs=1e-4)
        assert verdict.figures["identity_high"] == pytest.approx(0.1684, abs=1e-4)


@pytest.mark.parametrize(
    ("cosines", "state"), [((0.5, 0.9), "inconclusive"), ((0.9, 0.9), "fails"), ((0.99, 0.995), "fails")]
)
def test_paths_that_end_on_their_way_decide_nothing(cosines: tuple[float, float], state: str) -> None:
    verdict = LeSdeCollapse().verdict(rows({"aligned": 0.4}, cosines))
    assert verdict.state == state


def test_rows_of_a_small_run(tmp_path: Path) -> None:
    recipe = LeSdeCollapse.smoke()
    run = run_experiment(recipe, tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict
    found = RunFolder(tmp_path / "run").observations()
    assert len({row.arm for row in found}) == recipe.epochs == 8
    last = {row.arm: row.result for row in found if row.step == recipe.time}
    for name in CLAIMED:
        assert last[name][ALIGNED.name] > 0.99
        assert all(last[name][metric] <= most for metric, most in BELOW.items())
    assert last["aligned-reversed"][ALIGNED.name] < -0.99
    assert last["aligned-reversed"]["nc3_duality"] > 1
    assert last["aligned-self"]["nc1_pinv"] > 0.05  # the mean collapses, samples do not
    assert last["aligned-self"][MEDIANS["nc2_max_angle_means"].name] < 0.05
    for name in ("identity", "identity-negative"):
        assert last[name][MEDIANS["nc1_pinv"].name] < 1e-3  # classes separate without a simplex
        assert last[name][MEDIANS["nc3_duality"].name] > 0.5
    assert run.declarations[ALIGNED.name].source == "zhang2021"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_classes": 2}, "num_classes must be an integer of at least 3"),
        ({"per_class": 1}, "per_class must be an integer of at least 2"),
        ({"inter": 0.4}, "inter must be a finite number below 0.333"),
        ({"inter": -0.1}, "inter must be a finite number above 0, got -0.1"),
        ({"time": 200}, "time must be less than 30 / inter"),
        ({"starts": 0}, "starts must be an integer of at least 1"),
        ({"step": 0.0}, "step must be a finite number above 0"),
    ],
)
def test_bad_fields(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LeSdeCollapse(**fields)  # pyright: ignore[reportArgumentType]
