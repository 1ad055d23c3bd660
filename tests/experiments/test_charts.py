"""The picture that a recipe declares of its claim is one that its runs can be drawn as."""

from pathlib import Path

import pytest

from collapselab.experiments import REGISTRY, run_experiment
from collapselab.experiments.recipes.fixed_head import FixedHead
from collapselab.experiments.recipes.minority_collapse import MinorityCollapse
from collapselab.metrics import REGISTRY as METRICS
from collapselab.records import Against, Course, Paired
from collapselab.report.opening import open_run
from collapselab.report.sections.picture import picture

WITH_PICTURE = [name for name in REGISTRY if REGISTRY[name].chart is not None]


@pytest.mark.parametrize("name", WITH_PICTURE)
def test_every_declared_picture_is_drawn_from_what_is_there(name: str, tmp_path: Path) -> None:
    """The metric, the settings, the splits and the figures of the verdict that it names are there after a smoke run."""
    entry = REGISTRY[name]
    recipe = entry.cls.smoke()
    run = run_experiment(recipe, tmp_path / "run")
    assert run.chart == entry.chart_of(recipe)
    assert run.chart is not None
    section = picture(open_run(tmp_path / "run"))
    assert section is not None
    # What a recipe says has no value, such as a geometry where there is none, is no gap of the picture.
    missed = ("was not measured", "has no place on the axis", "not begun yet")
    assert [gap for gap in section.words["gaps"] if any(words in gap for words in missed)] == []
    if isinstance(run.chart, Course):
        assert run.chart.references.keys() <= set(run.chart.metrics) <= run.declarations.keys()
        assert len(section.panels) == len(run.chart.metrics) + bool(run.chart.together)
        assert set(run.chart.together) <= run.declarations.keys()
        return
    known = {*METRICS, *run.declarations, "accuracy", "error", "loss"}
    assert run.chart.metric in known
    assert "claim" in section.panels
    if isinstance(run.chart, Against):
        assert {*run.chart.beside, *run.chart.powers} <= known
    if isinstance(run.chart, Paired):
        assert run.verdict is not None
        assert set(run.chart.interval) <= run.verdict.figures.keys()
        assert {trace["name"] for trace in section.panels["differences"].figure["data"]} >= {"mean"}


def test_a_picture_knows_the_fields_of_its_recipe() -> None:
    few = REGISTRY["minority-collapse"].chart_of(MinorityCollapse(num_classes=5))
    assert isinstance(few, Against)
    assert few.references[0].value == pytest.approx(-0.25)
    wide = REGISTRY["fixed-head"].chart_of(FixedHead(margin=0.2))
    assert isinstance(wide, Paired)
    assert [one.value for one in wide.references] == [-0.2, 0.2]


def test_an_experiment_without_a_picture() -> None:
    entry = REGISTRY["watch-collapse"]
    assert entry.chart_of(entry.cls()) is None
