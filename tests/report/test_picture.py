"""The claim in a picture: what is drawn is what the rows say, and what has no value is said."""

import json
import math
import statistics

import plotly.graph_objects as go
import pytest

from collapselab.records import Against, Reference, RunFolder, Verdict
from collapselab.report import write_report
from collapselab.report.opening import open_run
from collapselab.report.palette import PALETTE, themed
from collapselab.report.sections.picture import picture
from report.fakes import (
    AGAINST,
    BAND,
    EPOCHS,
    PAIRED,
    RATIOS,
    SEEDED,
    changed,
    permuted,
    undefined_nc1,
    without,
    write_arms,
    write_run,
)
from report.html import Page

SHORT = (0, 5, 300)
VERDICT = Verdict(state="holds", statement="Yes.", figures={"difference": 0.25, "half": 0.125})


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def shown(path):
    section = picture(open_run(path))
    assert section is not None
    for panel in section.panels.values():
        json.dumps(panel.figure, allow_nan=False)
        go.Figure(themed(panel.figure))
        assert panel.label
        assert panel.caption
    return section


def markers(figure):
    """Name to the points of each trace of markers."""
    return {
        trace["name"]: dict(zip(trace["x"], trace["y"], strict=True))
        for trace in figure["data"]
        if trace["mode"] == "markers"
    }


@pytest.fixture(scope="module")
def ratios(tmp_path_factory):
    return write_arms(tmp_path_factory.mktemp("ratios") / "run", RATIOS, epochs=SHORT, chart=AGAINST)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Test errors of six arms: of each seed, the fixed head is wrong a little less often."""
    path = write_arms(tmp_path_factory.mktemp("pairs") / "run", SEEDED, epochs=SHORT, chart=PAIRED, verdict=VERDICT)
    errors = {arm.name: 0.5 - 0.1 * at for at, arm in enumerate(SEEDED)}
    return changed(path, lambda row: row.model_copy(update={"error": errors[row.arm] if row.epoch else 0.9}))


# ------------------------------------------------------------------------------------------------ against a number


def test_the_last_value_of_every_arm_stands_at_its_number(ratios):
    """Slow twin: straight from the series, arm by arm."""
    drawn = markers(shown(ratios).panels["claim"].figure)
    wanted: dict[str, dict[float, float]] = {}
    for arm in RATIOS:
        rows = [row for row in RunFolder(ratios).observations() if row.arm == arm.name and row.split == "train"]
        last = max(rows, key=lambda row: row.step)
        name = {"none": "cross-entropy"}.get(arm.settings["remedy"], arm.settings["remedy"])
        wanted.setdefault(name, {})[arm.settings["ratio"]] = last.result["nc1_pinv"]
    assert drawn.keys() == wanted.keys()
    for name, points in wanted.items():
        assert drawn[name] == pytest.approx(points, rel=1e-4)


def test_axis_has_ticks_at_the_numbers_and_is_logarithmic_if_declared(ratios, tmp_path):
    axis = shown(ratios).panels["claim"].figure["layout"]["xaxis"]
    assert axis["type"] == "log"
    assert axis["tickvals"] == [1, 10, 100, 1000]
    assert axis["ticktext"] == ["1", "10", "100", "1,000"]
    assert axis["range"][0] < 0 < 3 < axis["range"][1]
    assert axis["title"]["text"] == "imbalance ratio R"
    plain = write_arms(tmp_path / "run", RATIOS, epochs=(0,), chart=AGAINST.model_copy(update={"log_x": False}))
    axis = shown(plain).panels["claim"].figure["layout"]["xaxis"]
    assert axis["type"] == "linear"
    assert axis["tickvals"] == [1, 100, 1000]  # 10 would run into 1
    assert axis["range"][1] > 1000


def test_trails_differ_in_shape_and_colour_and_references_are_named(ratios):
    section = shown(ratios)
    figure = section.panels["claim"].figure
    marks = [trace["marker"] for trace in figure["data"] if trace["mode"] == "markers"]
    assert len({mark["symbol"] for mark in marks}) == len({mark["color"] for mark in marks}) == 3
    assert [entry["role"] for entry in section.words["legend"]] == [mark["color"][1:] for mark in marks]
    assert len({entry["sign"] for entry in section.words["legend"]}) == 3
    (line,) = figure["layout"]["shapes"]
    assert line["y0"] == line["y1"] == 1
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["1: where it began"]


def test_an_undefined_value_is_a_cross_and_a_sentence_and_breaks_the_line(tmp_path):
    path = write_arms(tmp_path / "run", RATIOS, epochs=SHORT, chart=AGAINST)
    section = shown(changed(path, lambda row: without(row, arm="r10-none")))
    figure = section.panels["claim"].figure
    (cross,) = [note for note in figure["layout"]["annotations"] if note["text"] == "✕"]
    assert cross["x"] == 1  # the exponent of 10
    assert cross["hovertext"] == "a row of the classifier is zero"
    line = figure["data"][0]
    assert line["mode"] == "lines"
    assert line["x"] == [1, 10, 100, 1000]
    assert [value is None for value in line["y"]] == [False, True, False, False]
    assert section.words["gaps"] == ("R = 10, none: a row of the classifier is zero",)
    page = read(write_report([path]))
    assert "R = 10, none: a row of the classifier is zero" in page.text
    (_, table) = next(found for found in page.all("table") if "NC1, within / between, train at the end" in found[1])
    assert "10 undefined" in table


def test_words_stand_side_by_side_in_the_order_of_the_arms(tmp_path):
    half = {"spread_0_learnable": 0.5, "spread_0_fixed": 0.25, "spread_1_learnable": 0.125}
    verdict = Verdict(state="holds", statement="Yes.", figures=half)
    words = {"head": "classifier", "learnable": "learned", "seed": "seed of the run"}
    chart = Against(metric="nc1_pinv", over="head", by="seed", words=words, half_width="spread")
    path = write_arms(tmp_path / "run", SEEDED, epochs=SHORT, chart=chart, verdict=verdict)
    panel = shown(path).panels["claim"]
    axis = panel.figure["layout"]["xaxis"]
    assert (axis["tickvals"], axis["ticktext"], axis["range"]) == ([0, 1], ["learned", "fixed"], [-0.5, 1.5])
    strokes = [trace for trace in panel.figure["data"] if trace.get("hoverinfo") == "skip"]
    assert [trace["x"] for trace in strokes] == [[-0.12, 0.88], [0, 1], [0.12, 1.12]]
    assert {trace["mode"] for trace in strokes} == {"markers"}  # no line from word to word
    assert min(strokes[0]["error_y"]["array"]) > 0
    assert strokes[1]["error_y"]["array"][1] == 0  # the verdict has no interval there
    points = [trace for trace in panel.figure["data"] if trace.get("hoverinfo") != "skip"]
    assert points[0]["text"][1].startswith("fixed: ")
    assert "Strokes are means" in panel.caption
    assert " at learned, " in panel.label
    page = read(write_report([path]))
    (_, table) = next(found for found in page.all("table") if "NC1, within / between, train at the end" in found[1])
    assert "learned" in table


def test_several_metrics_share_the_axis_and_power_laws_are_drawn_through_their_first_values(tmp_path):
    chart = AGAINST.model_copy(
        update={"beside": ("nc3_duality",), "powers": {"nc1_pinv": -2.0, "nc3_duality": 1.0}, "title": "both"}
    )
    section = shown(write_arms(tmp_path / "run", RATIOS, epochs=SHORT, chart=chart))
    figure = section.panels["claim"].figure
    drawn = markers(figure)
    assert len(drawn) == 6
    assert figure["layout"]["yaxis"]["title"]["text"] == "both"
    first, second = (trace for trace in figure["data"] if trace["name"].startswith("power"))
    for trace, name, power in ((first, "NC1, within / between, cross-entropy", -2), (second, None, 1)):
        name = name or next(key for key in drawn if not key.startswith("NC1") and key.endswith("cross-entropy"))
        wanted = [drawn[name][1] * place**power for place in (1, 10, 100, 1000)]
        assert trace["x"] == [1, 10, 100, 1000]
        assert trace["y"] == pytest.approx(wanted, rel=1e-3)
    assert "the powers −2 and 1 of the imbalance ratio R" in section.panels["claim"].caption
    straight = chart.model_copy(update={"log_x": False})
    section = shown(write_arms(tmp_path / "other", RATIOS, epochs=SHORT, chart=straight))
    assert not any(trace["name"].startswith("power") for trace in section.panels["claim"].figure["data"])


def test_nothing_defined_at_all_is_said_without_a_figure(tmp_path):
    chart = AGAINST.model_copy(update={"metric": "never_measured"})
    path = write_arms(tmp_path / "run", RATIOS[:2], epochs=(0,), chart=chart)
    section = shown(path)
    assert section.panels == {}
    assert section.words["gaps"][0] == "R = 1, none: never_measured was not measured"
    assert "R = 1, oversampling: never_measured was not measured" in read(write_report([path])).text


def test_arms_without_a_place_and_arms_to_come_are_named(tmp_path):
    odd = [
        RATIOS[0],
        RATIOS[3].model_copy(update={"settings": {"ratio": "many", "remedy": "none"}}),
        RATIOS[6].model_copy(update={"settings": {"ratio": 0, "remedy": "none"}}),
        RATIOS[9],
    ]
    section = shown(write_arms(tmp_path / "run", odd, epochs=(0,), begun=3, chart=AGAINST))
    assert section.words["gaps"] == (
        "R = 1000, none: not begun yet",
        "R = 10, none: its ratio is many, which has no place on the axis",
        "R = 100, none: its ratio is 0, which has no place on the axis",
    )
    assert markers(section.panels["claim"].figure).keys() == {"cross-entropy"}


def test_arms_in_one_place_have_a_median(tmp_path):
    arms = [
        arm.model_copy(update={"name": f"{arm.name}-{seed}", "settings": {**arm.settings, "seed": seed}})
        for arm in (RATIOS[0], RATIOS[3])
        for seed in range(3)
    ]
    section = shown(write_arms(tmp_path / "run", arms, epochs=(300,), chart=AGAINST))
    line, points = section.panels["claim"].figure["data"]
    values = [8 / 301**1.3 * 1.3**at for at in range(6)]
    assert points["y"] == pytest.approx(values, rel=1e-4)
    assert line["x"] == [1, 10]
    assert line["y"] == pytest.approx([statistics.median(values[:3]), statistics.median(values[3:])], rel=1e-4)


def test_intervals_are_those_of_the_verdict(tmp_path):
    """Means with bars; trails stand apart in the picture, not in the numbers."""
    arms = [
        arm.model_copy(update={"name": f"{arm.name}-{seed}", "settings": {**arm.settings, "seed": seed}})
        for arm in (RATIOS[0], RATIOS[1], RATIOS[3])
        for seed in range(3)
    ]
    verdict = VERDICT.model_copy(update={"figures": {"half_none_1": 0.25}})
    chart = AGAINST.model_copy(update={"half_width": "half"})
    path = write_arms(tmp_path / "run", arms, epochs=(300,), chart=chart, verdict=verdict)
    panel = shown(path).panels["claim"]
    line, points, other, _ = panel.figure["data"]
    values = [8 / 301**1.3 * 1.3**at for at in range(3)]
    assert line["y"][0] == pytest.approx(statistics.fmean(values), rel=1e-4)
    assert line["error_y"]["array"] == pytest.approx([0.25, 0.0])
    assert line["x"][0] == points["x"][0] < 1 < other["x"][0]
    assert "error_y" not in other
    assert "bars are their 95 % confidence intervals" in panel.caption


def test_courses_along_a_number_of_their_rows(tmp_path):
    chart = AGAINST.model_copy(update={"over": "effective_rank", "every": True, "log_x": False, "mark": "ratio"})
    arms = [RATIOS[0].model_copy(update={"settings": {"remedy": "none", "ratio": 9.5}})]
    section = shown(write_arms(tmp_path / "run", arms, epochs=(0, 1, 8), chart=chart))
    line, points = section.panels["claim"].figure["data"]
    ranks = [9 + 1 / (1 + epoch) ** 1.3 for epoch in (8, 1, 0)]
    assert line["x"] == pytest.approx(ranks)
    assert line["y"] == pytest.approx([8 * (rank - 9) for rank in ranks], rel=1e-4)
    assert points["x"] == [9.5]
    assert points["y"] == pytest.approx([4.0], rel=1e-4)  # the courses are straight in these numbers
    assert section.words["rows"][0][1][1] == "9.5"


def test_a_course_without_values_is_told_in_one_sentence(tmp_path):
    chart = AGAINST.model_copy(update={"over": "effective_rank", "every": True, "log_x": False})
    path = write_arms(tmp_path / "run", RATIOS[:1], epochs=(0, 1, 8), chart=chart)
    section = shown(
        changed(path, lambda row: undefined_nc1(row, "a row of the classifier is zero") if row.epoch else row)
    )
    (gap,) = section.words["gaps"]
    assert gap == "R = 1, none: a row of the classifier is zero, at 2 places from effective_rank 9.06 to 9.41"
    assert not [note for note in section.panels["claim"].figure["layout"]["annotations"] if note["text"] == "✕"]


def test_a_linear_axis_can_be_asked_for(tmp_path):
    axes = []
    for linear in (False, True):
        chart = AGAINST.model_copy(update={"linear": linear, "references": ()})
        path = write_arms(tmp_path / f"run-{linear}", RATIOS, epochs=SHORT, chart=chart)
        axes.append(shown(path).panels["claim"].figure["layout"]["yaxis"]["type"])
    assert axes == ["log", "linear"]


def test_one_line_without_by(tmp_path):
    chart = Against(metric="error", over="ratio", split="test")
    section = shown(write_arms(tmp_path / "run", RATIOS[::3], epochs=(1,), chart=chart))
    assert markers(section.panels["claim"].figure) == {"all arms": dict.fromkeys((1, 10, 100, 1000), 0.4)}
    assert section.words["caption"] == "test error at the end"


# ------------------------------------------------------------------------------------------------ pairs


def test_pairs_stand_side_by_side_and_are_joined(pairs):
    figure = shown(pairs).panels["claim"].figure
    drawn = markers(figure)
    assert drawn.keys() == {"learnable", "fixed head"}
    assert list(drawn["learnable"].values()) == pytest.approx([0.5, 0.7, 0.9])
    assert list(drawn["fixed head"].values()) == pytest.approx([0.6, 0.8, 1.0])
    for seed, (left, right) in enumerate(zip(drawn["learnable"], drawn["fixed head"], strict=True)):
        assert left < seed < right
        assert [round(left), round(right)] == [seed, seed]
    joints = figure["data"][0]
    assert joints["y"] == pytest.approx([0.5, 0.6, None, 0.7, 0.8, None, 0.9, 1.0, None])
    assert figure["layout"]["xaxis"]["ticktext"] == ["0", "1", "2"]


def test_differences_are_second_minus_first_with_the_interval_of_the_verdict(pairs):
    section = shown(pairs)
    panel = section.panels["differences"]
    drawn = markers(panel.figure)
    assert drawn["fixed head minus learnable"] == pytest.approx({0: 0.1, 1: 0.1, 2: 0.1})
    assert drawn["mean"] == {3: 0.25}
    assert panel.figure["data"][1]["error_y"]["array"] == [0.125]
    levels = [shape["y0"] for shape in panel.figure["layout"]["shapes"]]
    assert levels == [-0.01, 0.01, 0]
    low, high = panel.figure["layout"]["yaxis"]["range"]
    assert low < -0.01
    assert high > 0.375
    assert "their mean 0.25 with its 95 % confidence interval, ± 0.125" in panel.caption
    assert section.words["rows"][0] == ("0", ["0.5", "0.6", "0.1"])


def test_without_a_verdict_there_is_no_interval(tmp_path):
    path = write_arms(tmp_path / "run", SEEDED, epochs=(0,), begun=3, chart=PAIRED, verdict=None, status="running")
    section = shown(path)
    panel = section.panels["differences"]
    assert markers(panel.figure).keys() == {"fixed head minus learnable"}
    assert list(markers(panel.figure)["fixed head minus learnable"]) == [0]  # the second seed is half there
    assert "no interval" in panel.caption
    assert section.words["gaps"][0] == "fixed head, seed 1: not begun yet"


def test_a_mean_of_floats_that_cancel_is_told_as_zero(tmp_path):
    verdict = Verdict(state="holds", statement="Yes.", figures={"difference": 2.2e-17, "half": 0.125})
    section = shown(write_arms(tmp_path / "run", SEEDED, epochs=(0,), chart=PAIRED, verdict=verdict))
    assert "their mean 0 with" in section.panels["differences"].caption


def test_several_trainings_in_one_place_have_no_difference(tmp_path):
    twice = (*SEEDED, SEEDED[0].model_copy(update={"name": "again", "title": "again"}))
    section = shown(write_arms(tmp_path / "run", twice, epochs=(0,), chart=PAIRED))
    assert list(markers(section.panels["differences"].figure)["fixed head minus learnable"]) == [1, 2]
    assert section.words["gaps"] == ("difference at seed 0: 2 trainings have head learnable",)


# ------------------------------------------------------------------------------------------------ a null


def test_the_band_is_the_range_of_the_null(tmp_path):
    path = permuted(write_run(tmp_path / "run", snapshots=False, chart=BAND), (1000.0, 3000.0, 2000.0), undefined=2)
    section = shown(path)
    figure = section.panels["claim"].figure
    null = [row.result for row in RunFolder(path).observations() if row.split == "permuted"]
    values = [one["nc1_pinv"] for one in null if one.measurements["nc1_pinv"].value is not None]
    assert len(values) == 3
    (band,) = [shape for shape in figure["layout"]["shapes"] if shape["type"] == "rect"]
    assert (band["y0"], band["y1"]) == (min(values), max(values))
    assert (band["x0"], band["x1"], band["xref"]) == (0, 1, "paper")
    levels = [shape["y0"] for shape in figure["layout"]["shapes"] if shape["type"] == "line"]
    assert levels == pytest.approx([0.1 * sum(values) / 3])
    course, ends = figure["data"]
    assert course["y"][-1] == pytest.approx(8 / 301**1.3, rel=1e-4)
    assert len(course["y"]) == len(EPOCHS)
    assert (ends["name"], ends["mode"]) == ("permuted labels", "markers")
    assert ends["y"] == pytest.approx(values, rel=1e-4)
    said = [note["text"] for note in figure["layout"]["annotations"]]
    assert "0.1 of their mean" in said
    assert any(text.startswith("permuted labels: ") for text in said)
    gap = "permuted, 2 of 5 measurements between epochs 300 and 300: no such thing"
    assert section.words["gaps"] == (gap,)


def test_the_null_is_no_course_of_training(tmp_path):
    """Twenty values of one moment have no first and last."""
    view = open_run(permuted(write_run(tmp_path / "run", snapshots=False, chart=BAND), (1000.0, 3000.0)))
    assert view.splits == ("train", "test")
    assert {curve.split for curve in view.curves("nc1_pinv")} == {"train", "test"}


def test_a_null_that_is_still_to_come(tmp_path):
    section = shown(write_run(tmp_path / "run", epochs=SHORT, snapshots=False, chart=BAND, verdict=None))
    figure = section.panels["claim"].figure
    assert [trace["name"] for trace in figure["data"]] == ["train"]
    assert all(shape["type"] != "rect" for shape in figure["layout"]["shapes"])
    assert section.words["gaps"] == ("permuted labels: not measured yet",)


def test_an_undefined_moment_of_the_course_is_a_cross(tmp_path):
    path = permuted(write_run(tmp_path / "run", epochs=SHORT, snapshots=False, chart=BAND), (1000.0,))
    section = shown(changed(path, lambda row: without(row, arm="")))
    (cross,) = [n for n in section.panels["claim"].figure["layout"]["annotations"] if n["text"] == "✕"]
    assert cross["x"] == pytest.approx(math.log10(301))
    assert section.words["rows"][0][1] == ["a row of the classifier is zero"]


# ------------------------------------------------------------------------------------------------ the page


def test_it_is_the_first_section_after_the_verdict(ratios, tmp_path):
    page = read(write_report([ratios], tmp_path / "page.html"))
    titles = [text for _, text in page.all("h2")]
    assert titles.index("The claim in a picture") < titles.index("Arm by arm")
    sections = [attrs["id"] for attrs, _ in page.all("section")]
    assert sections[:3] == ["run-1-summary", "run-1-picture", "run-1-arms"]
    ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    (plot,) = [attrs for attrs, _ in page.all("div", id="run-1-claim")]
    assert plot["role"] == "img"
    assert "imbalance ratio R" in (plot["aria-label"] or "")


@pytest.mark.parametrize("chart", [None, AGAINST, PAIRED])
def test_runs_that_no_picture_fits_have_none(tmp_path, chart):
    assert picture(open_run(write_run(tmp_path / "run", epochs=(0,), chart=chart))) is None


def test_a_null_band_is_not_for_arms_and_nothing_measured_has_no_picture(tmp_path):
    assert picture(open_run(write_arms(tmp_path / "arms", SEEDED[:2], epochs=(0,), chart=BAND))) is None
    assert picture(open_run(write_arms(tmp_path / "none", SEEDED[:2], begun=0, chart=PAIRED))) is None


def test_roles_of_all_pictures_are_known(ratios, pairs, tmp_path):
    single = permuted(write_run(tmp_path / "run", snapshots=False, chart=BAND), (10.0, 20.0))
    for folder in (ratios, pairs, single):
        for panel in shown(folder).panels.values():
            named = set(json.dumps(panel.figure).split('"@')[1:])
            assert {text.split('"')[0] for text in named} <= PALETTE["light"].keys()


def test_text_from_a_chart_stays_text(tmp_path):
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    chart = AGAINST.model_copy(
        update={"words": {"ratio": hostile, "none": hostile}, "references": (Reference(value=1.0, label=hostile),)}
    )
    path = write_arms(tmp_path / "run", RATIOS[:3], epochs=(0,), chart=chart)
    page = read(write_report([path]))
    assert len(page.all("script")) == 3
    assert page.all("img") == []
    assert "<script>" not in json.dumps(page.data["figures"]["run-1-claim"]["spec"])


# ------------------------------------------------------------------------------------------------ courses


def test_a_course_joins_no_two_arms(tmp_path):
    """The moments of one arm in their order, then a gap, then those of the next."""
    path = write_arms(
        tmp_path / "run", SEEDED, epochs=SHORT, chart=Against(metric="loss", over="error", every=True, title="loss")
    )
    (line,) = [trace for trace in shown(path).panels["claim"].figure["data"] if trace["mode"] == "lines"]
    places, ends = line["x"], [at for at, place in enumerate(line["x"]) if place is None]
    assert len(ends) == len(SEEDED) - 1
    assert [line["y"][at] for at in ends] == [None] * len(ends)
    for start, end in zip([0, *(at + 1 for at in ends)], [*ends, len(places)], strict=True):
        assert places[start:end] == sorted(places[start:end])
        assert end - start == len(SHORT)
