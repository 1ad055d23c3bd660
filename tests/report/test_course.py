"""Numbers over training as the picture of a claim: one figure each, a line for every arm."""

import json

import plotly.graph_objects as go
import pytest

from collapselab.records import Course, Reference, RunFolder
from collapselab.report.opening import open_run
from collapselab.report.palette import themed
from collapselab.report.sections.picture import picture
from report.fakes import RATIOS, changed, without, write_arms, write_run

COURSE = Course(metrics=("nc1_pinv", "nc3_duality"), references={"nc1_pinv": (Reference(value=0.1, label="claimed"),)})
SHORT = (0, 5, 300)


def shown(path):
    section = picture(open_run(path))
    assert section is not None
    for panel in section.panels.values():
        json.dumps(panel.figure, allow_nan=False)
        go.Figure(themed(panel.figure))
        assert panel.label
        assert panel.caption
    return section


@pytest.mark.parametrize("arms", [True, False])
def test_each_number_has_a_figure_with_a_line_for_every_arm(tmp_path, arms):
    """Slow twin: straight from the series."""
    path = tmp_path / "run"
    if arms:
        write_arms(path, RATIOS[:3], epochs=SHORT, chart=COURSE)
    else:
        write_run(path, chart=COURSE)
    section = shown(path)
    assert list(section.panels) == ["claim-nc1-pinv", "claim-nc3-duality"]
    rows = [row for row in RunFolder(path).observations() if row.split == "train"]
    drawn = section.panels["claim-nc1-pinv"].figure["data"]
    names = list(dict.fromkeys(row.arm for row in rows))
    assert len(drawn) == len(names) == (3 if arms else 1)
    for trace, name in zip(drawn, names, strict=True):
        wanted = [row.result["nc1_pinv"] for row in rows if row.arm == name]
        assert trace["y"] == pytest.approx(wanted, rel=1e-4)
    assert len(section.words["legend"]) == (3 if arms else 0)
    assert section.words["gaps"] == ()


def test_references_are_lines_with_names(tmp_path):
    section = shown(write_arms(tmp_path / "run", RATIOS[:2], epochs=SHORT, chart=COURSE))
    layout = section.panels["claim-nc1-pinv"].figure["layout"]
    assert [line["y0"] for line in layout["shapes"] if line["type"] == "line"] == [0.1]
    assert "0.1: claimed" in [note["text"] for note in layout["annotations"]]
    assert "Dashed: 0.1 (claimed)." in section.panels["claim-nc1-pinv"].label


def test_what_has_no_value_is_said(tmp_path):
    path = write_arms(tmp_path / "run", RATIOS[:2], epochs=SHORT, chart=COURSE)
    name = RATIOS[0].name
    section = shown(changed(path, lambda row: without(row, arm=name)))
    assert section.words["gaps"] == ("R = 1, none, nc1_pinv: a row of the classifier is zero",)
    never = Course(metrics=("never_measured",))
    section = shown(write_arms(tmp_path / "other", RATIOS[:2], epochs=SHORT, chart=never))
    assert section.panels == {}


def test_numbers_that_stand_together_have_a_line_each_and_a_letter(tmp_path):
    chart = COURSE.model_copy(update={"together": ("nc1_pinv", "nc3_duality", "never_measured")})
    path = write_run(tmp_path / "run", chart=chart)
    section = shown(path)
    assert list(section.panels) == ["claim-nc1-pinv", "claim-nc3-duality", "claim-together"]
    panel = section.panels["claim-together"]
    rows = [row for row in RunFolder(path).observations() if row.split == "train"]
    for trace, name in zip(panel.figure["data"], ("nc1_pinv", "nc3_duality"), strict=True):
        assert trace["y"] == pytest.approx([row.result[name] for row in rows], rel=1e-4)
    assert len({trace["line"]["color"] for trace in panel.figure["data"]}) == 2
    assert panel.caption.startswith("A: NC1, within / between; B: ")
    assert {note["text"] for note in panel.figure["layout"]["annotations"]} >= {"A", "B"}
    arms = shown(write_arms(tmp_path / "arms", RATIOS[:2], epochs=SHORT, chart=chart))
    assert list(arms.panels) == ["claim-nc1-pinv", "claim-nc3-duality"]
