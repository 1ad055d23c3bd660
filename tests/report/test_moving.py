"""Quantities of a moving network: curves that share a figure, and matrices over classes that a slider moves."""

import json

import numpy as np
import plotly.graph_objects as go
import pytest

from collapselab.records import RunFolder
from collapselab.report import write_report
from collapselab.report.frames import unpacked
from collapselab.report.matrix_figures import colour_ranges, matrix_heat, packed_matrix
from collapselab.report.opening import open_run
from collapselab.report.page import as_script_data
from collapselab.report.palette import themed
from collapselab.report.quantity_figures import gathered, own_words, shared_label
from collapselab.report.sections.between import between
from collapselab.report.sections.moving import moving
from report.fakes import EPOCHS, QUANTITIES, SEEDED, matrices, moved, write_arms, write_run
from report.html import Page

SHORT = (0, 5, 300)


@pytest.fixture
def run(tmp_path):
    return moved(write_run(tmp_path / "run"))


def drawn(section):
    assert section is not None
    as_script_data(dict(section.data))
    panels = [*section.panels.values(), *(p for c in section.choices.values() for _, p in c.options.values())]
    for panel in panels:
        json.dumps(panel.figure, allow_nan=False)
        go.Figure(themed(panel.figure))
        assert panel.label
        assert panel.caption
    return section


def test_intra_inter_and_gap_share_one_figure_and_other_numbers_have_their_own(run):
    section = drawn(moving(open_run(run)))
    assert list(section.choices) == ["moving-local-elasticity", "moving-gradient-noise"]
    assert [one["title"] for one in section.words["families"]] == ["Local elasticity", "Gradient noise"]
    elastic, noise = section.choices.values()
    assert list(elastic.options) == ["elasticity_intra"]
    assert list(noise.options) == ["noise_to_signal", "gradient_norm"]
    name, panel = elastic.options["elasticity_intra"]
    assert name == "relative similarity"
    assert panel.figure["layout"]["yaxis"]["type"] == "linear"
    for trace, key, words in zip(
        panel.figure["data"],
        ("elasticity_intra", "elasticity_inter", "elasticity_gap"),
        ("within classes, train", "between classes, train", "gap, train"),
        strict=True,
    ):
        rows = [row for row in RunFolder(run).observations() if row.split == "train"]
        assert trace["name"] == words
        assert trace["y"] == pytest.approx([row.result[key] for row in rows], rel=1e-4)


def test_the_legend_has_a_value_at_collapse_where_a_figure_has_one(run):
    assert moving(open_run(run)).words["target"] is False
    record = RunFolder(run).read()
    fixed = record.declarations["gradient_norm"].model_copy(update={"at_collapse": 0.0})
    RunFolder(run).write(record.model_copy(update={"declarations": {**record.declarations, "gradient_norm": fixed}}))
    assert moving(open_run(run)).words["target"] is True


def test_names_that_belong_together():
    """A name and its ends of an interval, or several that differ in the last word."""
    assert gathered(["a_intra", "b", "a_gap", "b_low", "b_high", "c_low"]) == {
        "a_intra": ("a_intra", "a_gap"),
        "b": ("b", "b_low", "b_high"),
        "c_low": ("c_low",),
    }
    assert list(gathered(["intra_x", "inter_x", "x_gap", "intra_y"])) == ["intra_x", "intra_y"]
    names = ("noise_to_signal", "noise_to_signal_low")
    assert shared_label(names, QUANTITIES) == "noise to signal"
    assert [own_words(name, names, QUANTITIES) for name in names] == ["noise to signal", "lower end"]
    assert shared_label(("kernel", "gradient_norm"), QUANTITIES) == "normalised kernel, signal"


def test_matrices_are_drawn_as_they_were_kept_at_every_moment(run):
    """Slow twin: from the snapshots, number by number."""
    section = drawn(between(open_run(run)))
    assert list(section.panels) == ["matrix-similarity", "matrix-kernel"]
    frames = section.data["matrices"]["frames"]
    assert section.data["matrices"]["sizes"] == {"matrix-similarity": 10, "matrix-kernel": 10}
    assert [frame["when"] for frame in frames] == [f"epoch {epoch}" for epoch in EPOCHS]
    for frame, epoch in zip(frames, EPOCHS, strict=True):
        for name, matrix in matrices(epoch).items():
            found = unpacked(frame["matrices"][f"matrix-{name}"]).reshape(10, 10)
            np.testing.assert_allclose(found, matrix, atol=2e-5)
    for name, matrix in matrices(EPOCHS[-1]).items():
        heat = section.panels[f"matrix-{name}"].figure["data"][0]
        np.testing.assert_allclose(np.array(heat["z"], dtype=float), matrix, rtol=1e-3, atol=1e-6)
        assert (heat["x"], heat["y"]) == ([str(k) for k in range(10)],) * 2
    kernel, similarity = (section.panels[f"matrix-{n}"].figure["data"][0] for n in ("kernel", "similarity"))
    assert kernel["zmin"] == -kernel["zmax"] < 0
    assert kernel["colorscale"][1] == [0.5, "@middle"]
    assert similarity["zmin"] == 0
    assert similarity["colorscale"][0] == [0, "@middle"]


def test_colours_have_one_range_unless_numbers_change_by_a_large_factor():
    small, large = np.full((2, 2), 0.5), np.array([[50.0, 10.0], [5.0, 1.0]])
    declared = QUANTITIES["similarity"]
    assert colour_ranges([small, 2 * small], declared) == [(0, 1.0), (0, 1.0)]
    assert colour_ranges([small, large], declared) == [(0.5, 1.0), (0, 50.0)]
    assert colour_ranges([-small, small], declared) == [(-0.5, 0.5)] * 2
    assert colour_ranges([0 * small], declared) == [(0.0, 1.0)]
    assert colour_ranges([small + 100], declared) == [(100.5, 201.0)]
    signed = declared.model_copy(update={"lower": -1.0})
    assert colour_ranges([large / 100], signed) == [(0.0, 0.5)]  # zero keeps the palest colour


def test_an_entry_without_a_number_stays_blank():
    matrix = np.array([[1.0, np.nan], [0.5, 1.0]])
    heat = matrix_heat(matrix, QUANTITIES["similarity"], names=["a", "b"], ends=(0.0, 1.0))["data"][0]
    assert heat["z"] == [[1.0, None], [0.5, 1.0]]
    packed = packed_matrix(matrix)
    assert unpacked(packed)[1] == -32768 * packed["scale"]
    assert colour_ranges([matrix], QUANTITIES["similarity"]) == [(0.0, 1.0)]


def test_snapshots_of_matrices_alone_break_nothing(tmp_path):
    page = Page(write_report([moved(write_run(tmp_path / "run"), alone=True)]).read_text())
    heads = [text for _, text in page.all("h2")]
    assert "From class to class" in heads
    assert "This run kept no snapshots of its features" in page.text


def test_a_run_of_arms_has_a_curve_an_arm_and_the_matrices_of_a_few(tmp_path):
    path = moved(write_arms(tmp_path / "run", SEEDED[:3], epochs=SHORT))
    view = open_run(path)
    section = drawn(moving(view))
    options = section.choices["moving-local-elasticity"].options
    assert list(options) == ["elasticity_intra", "elasticity_inter", "elasticity_gap"]
    assert section.choices["moving-local-elasticity"].shown == "elasticity_intra"
    assert between(view) is None
    assert all(drawn(between(arm)).data["matrices"]["frames"] for arm in view.arms)
    page = Page(write_report([path]).read_text())
    titles = [text for _, text in page.all("h2")]
    assert len([title for title in titles if title.startswith("From class to class: ")]) == 2  # two groups
    assert titles.count("How the network moves") == 1


def test_a_run_without_quantities_has_neither_section(tmp_path):
    view = open_run(write_run(tmp_path / "run"))
    assert moving(view) is None
    assert between(view) is None


def test_too_many_classes_are_not_drawn_and_moments_fit_the_page(tmp_path):
    path = write_run(tmp_path / "run", epochs=SHORT, snapshots=False, declarations=QUANTITIES)
    folder = RunFolder(path)
    folder.write_snapshot(300, {"matrix.kernel": np.zeros((201, 201), dtype=np.float32)})
    assert between(open_run(path)) is None
    for epoch in range(30):
        folder.write_snapshot(epoch, {"matrix.kernel": np.eye(150, dtype=np.float32) * epoch})
    folder.write_snapshot(300, {"matrix.kernel": np.eye(150, dtype=np.float32)})
    section = drawn(between(open_run(path)))
    frames = section.data["matrices"]["frames"]
    assert 2 <= len(frames) < 30
    assert (frames[0]["when"], frames[-1]["when"]) == ("epoch 0", "epoch 300")
    assert len(as_script_data(dict(section.data))) < 1_600_000
