"""Runs of several arms, and runs measured layer by layer, as pages and figures show them."""

import json
import math

import plotly.graph_objects as go
import pytest

from collapselab.records import Arm, RunFolder
from collapselab.report import write_comparison, write_report
from collapselab.report.arms import MOST_EXAMPLES, groups_of, lines_of, median_curve
from collapselab.report.opening import open_run
from collapselab.report.palette import PALETTE, themed
from collapselab.report.sections import EXAMPLES, SECTIONS
from collapselab.report.sections.arms import arms as arms_section
from collapselab.report.sections.depth import depth
from collapselab.report.view import Curve
from report.fakes import EPOCHS, LAYERS, RATIOS, SEEDED, write_arms, write_depth, write_run
from report.html import Page


def read(path):
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    return write_arms(tmp_path_factory.mktemp("seeded") / "run")


@pytest.fixture(scope="module")
def layered(tmp_path_factory):
    """Two arms, measured layer by layer and within the first epoch."""
    return write_arms(tmp_path_factory.mktemp("layered") / "run", SEEDED[:2], layers=LAYERS, steps=True)


def test_an_arm_is_seen_like_a_run_of_its_own(seeded):
    view = open_run(seeded)
    assert [arm.title for arm in view.arms] == [arm.title for arm in SEEDED]
    for place, arm in enumerate(view.arms):
        assert {row.arm for row in arm.rows} == {SEEDED[place].name}
        assert len(arm.rows) == 2 * len(EPOCHS)
        assert [s.epoch for s in arm.snapshots] == list(EPOCHS)
        assert arm.phase.first_zero == 20
        assert arm.measured("nc1_pinv", "train").value == pytest.approx(8 / 301**1.3 * 1.3**place)
    assert len({arm.key for arm in view.arms} | {view.key}) == 7
    assert view.phase.first_zero is None


def test_seeds_are_repetitions(seeded):
    groups = groups_of(open_run(seeded))
    assert [(group.title, group.sign, len(group.members), group.repeats) for group in groups] == [
        ("learnable head", "A", 3, True),
        ("fixed head", "B", 3, True),
    ]
    assert groups[1].signs == ("B1", "B2", "B3")


def test_repetitions_without_titles_of_their_own_are_named_by_settings(tmp_path):
    arms = [Arm(name=f"{n}", title=f"{n}", settings={"rate": n % 2, "seed": n // 2}) for n in range(4)]
    groups = groups_of(open_run(write_arms(tmp_path / "run", arms, epochs=(0,))))
    assert [group.title for group in groups] == ["rate 0", "rate 1"]


def test_many_arms_share_the_colours_of_one_setting(tmp_path):
    groups = groups_of(open_run(write_arms(tmp_path / "run", RATIOS, epochs=(0, 1))))
    assert [group.title for group in groups] == ["remedy none", "remedy oversampling", "remedy fixed ETF"]
    assert len({group.colour for group in groups}) == 3
    assert not any(group.repeats for group in groups)


@pytest.mark.parametrize("count", [1, 8])
def test_up_to_eight_arms_have_a_colour_each(tmp_path, count):
    groups = groups_of(open_run(write_arms(tmp_path / "run", RATIOS[:count], epochs=(0, 1))))
    assert [group.title for group in groups] == [arm.title for arm in RATIOS[:count]]
    assert len({group.colour for group in groups}) == count


def test_many_arms_without_anything_in_common(tmp_path):
    alone = [Arm(name=f"a{n}", title=f"arm {n}", settings={"n": n}) for n in range(30)]
    groups = groups_of(open_run(write_arms(tmp_path / "run", alone, epochs=(0,))))
    assert len({group.sign for group in groups}) == 30
    assert groups[26].sign == "27"


def test_lines_of_repetitions_are_faint_beside_their_median(seeded):
    view = open_run(seeded)
    lines = lines_of(view, lambda arm: arm.curves("nc1_pinv"))
    strong = [line for line in lines if not line.faint]
    assert len(lines) == 12 + 4
    assert [line.name for line in strong] == [
        "A learnable head, train, median", "A learnable head, test, median",
        "B fixed head, train, median", "B fixed head, test, median",
    ]  # fmt: skip
    middle = view.arms[2].curves("nc1_pinv")[0]  # the second of the three seeds lies between the others
    assert strong[0].curve == middle


def test_a_median_needs_half_of_the_curves():
    curves = [
        Curve("train", (0, 1, 2), (1.0, 2.0, 3.0)),
        Curve("train", (0, 1), (3.0, 4.0)),
        Curve("train", (0,), (9.0,)),
    ]
    assert median_curve(curves) == Curve("train", (0, 1), (3.0, 3.0))
    assert median_curve(curves[:1]) == curves[0]


def test_final_values_and_differences(seeded):
    section = arms_section(open_run(seeded))
    assert section is not None
    words = section.words
    first, second = words["rows"]
    column = words["heads"].index("NC1 train")
    scale = 8 / 301**1.3
    values = [scale * 1.3**at for at in (0, 2, 4)]
    mean = sum(values) / 3
    sd = math.sqrt(sum((value - mean) ** 2 for value in values) / 2)
    assert first["cells"][column]["text"] == f"{mean:.3g} ± {sd:.2g}"
    assert first["cells"][column]["beside"] == ""
    assert second["cells"][column]["beside"] == "1.3 times larger"
    assert second["cells"][words["heads"].index("train error")]["beside"] == "the same"
    assert [row["sign"] for row in words["each"]] == ["A1", "A2", "A3", "B1", "B2", "B3"]
    assert words["settings"] == ["head", "seed"]


def test_arms_that_have_not_begun_are_named(tmp_path):
    run = write_arms(tmp_path / "run", begun=2, status="running", verdict=None)
    text = read(write_report([run])).text
    assert "Not begun yet: learnable head, seed 1, fixed head, seed 1" in text
    assert "This run has not ended" in text
    nothing = write_arms(tmp_path / "none", begun=0, status="running", verdict=None)
    assert "Nothing has been measured yet" in read(write_report([nothing])).text


def test_every_figure_is_valid(seeded, layered, tmp_path):
    views = [open_run(folder) for folder in (seeded, layered, write_depth(tmp_path / "depth"))]
    found = 0
    for view in (*views, *views[1].arms):
        for build in SECTIONS:
            section = build(view)
            if section is None:
                continue
            panels = [*section.panels.values()]
            panels += [panel for choice in section.choices.values() for _, panel in choice.options.values()]
            for panel in panels:
                json.dumps(panel.figure, allow_nan=False)
                go.Figure(themed(panel.figure))
                assert panel.label
                assert panel.caption
                found += 1
    assert found > 50
    assert {build.__name__ for build in EXAMPLES} <= {build.__name__ for build in SECTIONS}


def test_figures_of_single_arms_are_there_for_one_arm_of_each_group(seeded, tmp_path):
    page = read(write_report([seeded], tmp_path / "page.html"))
    headings = [text for _, text in page.all("h2")]
    assert [text for text in headings if text.startswith("Geometry")] == [
        "Geometry, checkpoint by checkpoint: learnable head, seed 0",
        "Geometry, checkpoint by checkpoint: fixed head, seed 0",
    ]
    assert page.data["frames"].keys() == {"run-1-arm-1-frames", "run-1-arm-2-frames"}
    assert page.all("ul", class_="cards") == []
    assert MOST_EXAMPLES >= 2


@pytest.mark.parametrize("fixture", ["seeded", "layered"])
def test_ids_are_unique_and_found(fixture, request, tmp_path):
    page = read(write_report([request.getfixturevalue(fixture)], tmp_path / "page.html"))
    ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs, _ in page.elements:
        href = attrs.get("href") or ""
        assert not href.startswith("#") or href[1:] in ids
        assert attrs.get("data-figure") is None or attrs["data-figure"] in page.data["figures"]
    assert len(page.all("caption")) == len(page.all("table"))


def test_moments_within_an_epoch_turn_the_axis_to_steps(layered, tmp_path):
    view = open_run(layered)
    assert view.unit == "step"
    curve = view.arms[0].curves("nc1_pinv")[0]
    assert curve.moments[:5] == (0, 1, 2, 4, 9)
    assert view.arms[0].phase.first_zero == 20 * 9
    page = read(write_report([layered], tmp_path / "page.html"))
    figure = page.data["figures"]["run-1-nc1"]["spec"]
    assert figure["layout"]["xaxis"]["title"]["text"] == "step"
    assert figure["data"][0]["text"][1].startswith("step 1: ")
    said = [frame["when"] for frame in page.data["frames"]["run-1-arm-1-frames"]["frames"]]
    assert said[:3] == ["epoch 0", "epoch 0, step 1", "epoch 0, step 2"]
    assert "Collapse over steps" in page.text


def test_layers_are_left_out_of_what_the_classifier_sees(tmp_path):
    view = open_run(write_depth(tmp_path / "run"))
    assert {row.layer for row in view.rows} == {""}
    assert len(view.curves("nc1_pinv")[0].values) == len(EPOCHS)
    assert view.latest["train"].conditions.layer == "head"


def test_depth_has_one_curve_a_moment(tmp_path):
    view = open_run(write_depth(tmp_path / "run"))
    section = depth(view)
    assert section is not None
    _, panel = section.choices["stages"].options["nc1_pinv"]
    assert panel.figure["layout"]["xaxis"]["ticktext"] == [*LAYERS, "features"]
    names = [trace["name"] for trace in panel.figure["data"]]
    assert names[0] == "train, epoch 0"
    assert names[-2:] == ["train, epoch 300", "test, epoch 300"]
    assert len(names) == 7
    last = panel.figure["data"][-2]
    assert last["y"] == pytest.approx([8 / 301**1.3 * 4.0**less for less in (4, 3, 2, 1, 0)], rel=1e-4)
    strengths = [trace["opacity"] for trace in panel.figure["data"][:-1]]
    assert strengths == sorted(strengths)
    assert "nc3_duality" not in section.choices["stages"].options


def test_depth_of_arms_has_one_curve_an_arm(layered, seeded):
    view = open_run(layered)
    section = depth(view)
    assert section is not None
    names = [trace["name"] for trace in section.choices["stages"].options["nc1_pinv"][1].figure["data"]]
    assert names == ["A learnable head, seed 0, train", "A learnable head, seed 0, test",
                     "B fixed head, seed 0, train", "B fixed head, seed 0, test"]  # fmt: skip
    assert depth(view.arms[0]) is not None
    assert depth(open_run(seeded)) is None


def test_comparison_sets_the_arms_beside_other_runs(layered, tmp_path):
    path = write_comparison([layered, write_run(tmp_path / "single")], tmp_path / "c.html")
    page = read(path)
    names = [trace["name"] for trace in page.data["figures"]["nc1"]["spec"]["data"]]
    assert names[0] == "A run: learnable head, seed 0, train"
    assert names[-1] == "C single, test"
    (_, table) = next(found for found in page.all("table") if "not the same in all runs" in found[1])
    assert "arm: head learnable fixed no such field" in table


def test_text_from_an_arm_stays_text(tmp_path):
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    arm = Arm(name="a", title=hostile, settings={hostile: hostile, "seed": 0})
    other = Arm(name="b", title="b", settings={"seed": 1})
    run = write_arms(tmp_path / "run", (arm, other), layers=(hostile,), epochs=(0, 1))
    for path in (write_report([run]), write_comparison([run, run])):
        page = read(path)
        assert len(page.all("script")) == 3
        assert page.all("img") == []
        assert "alert(1)" in page.text


def test_a_figure_for_a_paper_has_the_arms(seeded, tmp_path):
    from collapselab.report import nc_figure

    text = nc_figure(seeded, tmp_path / "nc.svg").read_text()
    for colour in ("c0", "c1"):
        assert PALETTE["light"][colour] in text


def test_reading_leaves_the_folder_as_it_was(seeded):
    before = sorted(path.name for path in RunFolder(seeded).path.rglob("*"))
    open_run(seeded)
    assert sorted(path.name for path in RunFolder(seeded).path.rglob("*")) == before
