import json

import numpy as np
import plotly.graph_objects as go
import pytest

from collapselab.records import PerClass
from collapselab.records.phase import TerminalPhase
from collapselab.report.class_figures import MOST_BARS, class_bars, worst_class
from collapselab.report.distance_figure import distance_rows
from collapselab.report.figures import Line, series, split_lines
from collapselab.report.opening import open_run
from collapselab.report.pair_figures import cosine_bins, cosine_histogram, cosine_map, cosine_range
from collapselab.report.palette import PALETTE, themed
from collapselab.report.sections import SECTIONS
from collapselab.report.view import Curve
from report.fakes import DECLARATIONS, declaration, simplex, write_run

TRAIN = Curve("train", (0, 1, 10, 100), (1.0, 0.1, 0.01, 0.001))


def accepted(figure):
    """Plotly validates every entry; JSON must hold no NaN."""
    json.dumps(figure, allow_nan=False)
    return go.Figure(themed(figure))


def roles(value):
    if isinstance(value, dict):
        return set().union(*map(roles, value.values())) if value else set()
    if isinstance(value, (list, tuple)):
        return set().union(*map(roles, value)) if value else set()
    return {value[1:]} if isinstance(value, str) and value.startswith("@") else set()


def test_both_palettes_have_the_same_roles():
    assert PALETTE["light"].keys() == PALETTE["dark"].keys()


def test_every_figure_of_a_run_is_valid_and_names_only_known_roles(tmp_path):
    view = open_run(write_run(tmp_path / "run"))
    panels = []
    for build in SECTIONS:
        section = build(view)
        assert section is not None or build.__name__ in (
            "distances",
            "arms",
            "depth",
            "picture",
            "imbalance",
            "predicted",
            "moving",
            "between",
        )
        if section is not None:
            panels += section.panels.values()
            panels += [panel for choice in section.choices.values() for _, panel in choice.options.values()]
    assert len(panels) > 10
    for panel in panels:
        accepted(panel.figure)
        assert roles(panel.figure) <= PALETTE["light"].keys()
        assert panel.label
        assert panel.caption


def test_series_keep_epoch_zero_and_say_the_true_epoch():
    figure = series(split_lines([TRAIN]), title="NC1")
    trace = figure["data"][0]
    assert trace["x"] == [1, 2, 11, 101]
    assert trace["text"][0] == "epoch 0: 1"
    assert figure["layout"]["yaxis"]["type"] == "log"
    accepted(figure)


def test_train_is_solid_and_test_dashed():
    lines = split_lines([TRAIN, Curve("test", (0,), (1.0,)), Curve("other", (0,), (1.0,))])
    assert [line.dash for line in lines] == ["solid", "dash", "dot"]
    assert len({line.colour for line in lines}) == 3


@pytest.mark.parametrize(
    ("phase", "begins"), [(TerminalPhase(10, 1), 10), (TerminalPhase(1, 10), 10), (TerminalPhase(0, None), 0)]
)
def test_both_ends_of_the_passage_to_zero_error_are_marked(phase, begins):
    layout = series(split_lines([TRAIN]), title="NC1", phase=phase)["layout"]
    shade, *lines = [shape for shape in layout["shapes"] if shape["yref"] == "paper"]
    assert shade["x0"] == begins + 1
    assert {line["x0"] - 1 for line in lines} == {e for e in (phase.first_zero, phase.last_above) if e is not None}
    named = [note["text"] for note in layout["annotations"] if note.get("name") == "phase"]
    assert f"first zero error ({phase.first_zero})" in named


def test_no_mark_where_the_terminal_phase_was_not_reached():
    layout = series(split_lines([TRAIN]), title="NC1", phase=TerminalPhase(None, 100))["layout"]
    assert layout["shapes"] == []


def test_target_is_a_line_where_it_fits_and_an_arrow_where_not():
    below = series(split_lines([TRAIN]), title="NC1", target=0.0)["layout"]
    assert below["shapes"] == []
    assert below["annotations"][0]["text"] == "↓ at collapse: 0"
    zeros = Curve("train", (0, 1), (0.5, 0.0))
    inside = series(split_lines([zeros, TRAIN]), title="NC4", target=0.0)["layout"]
    assert len(inside["shapes"]) == 1
    assert inside["annotations"][0]["text"] == "at collapse: 0"


def test_a_sign_stands_at_the_end_of_a_line():
    line = Line(TRAIN, "A run, train", "@c0", "solid", "A")
    note = series([line], title="NC1")["layout"]["annotations"][-1]
    assert (note["text"], round(note["y"], 6)) == ("A", -3)


def test_cosine_map_is_neutral_at_the_ideal_and_empty_on_the_diagonal():
    ideal = -1 / 9
    cosines = simplex(10) @ simplex(10).T
    figure = cosine_map(cosines, [str(i) for i in range(10)], ideal=ideal, reach=cosine_range([cosines], ideal))
    heat = figure["data"][0]
    assert (heat["zmin"] + heat["zmax"]) / 2 == pytest.approx(ideal)
    assert all(heat["z"][i][i] is None for i in range(10))
    assert heat["z"][0][1] == pytest.approx(ideal, abs=1e-4)
    accepted(figure)


@pytest.mark.parametrize("k", [2, 3, 10])
def test_histogram_counts_each_pair_once_within_its_bins(k):
    rng = np.random.default_rng(0)
    cosines = np.clip(simplex(k) @ simplex(k).T + 0.1 * rng.standard_normal((k, k)), -1, 1).astype(np.float32)
    cosines = (cosines + cosines.T) / 2
    ideal = -1 / (k - 1)
    bins = cosine_bins([cosines], ideal)
    figure = cosine_histogram(cosines, ideal=ideal, bins=bins)
    x = figure["data"][0]["x"]
    assert len(x) == k * (k - 1) // 2
    assert bins["start"] <= min(x) <= max(x) <= bins["end"]
    assert figure["layout"]["shapes"][0]["x0"] == ideal
    accepted(figure)


def test_worst_class_is_farthest_from_the_target():
    assert worst_class([0.9, 1.2, 1.0], 1.0) == 1
    assert worst_class([1.0, 1.0], 1.0) is None
    assert worst_class([0.9, 1.2], None) is None
    assert worst_class([], 0.0) is None


def test_bars_show_the_distance_from_the_target_and_outline_the_worst():
    declared = DECLARATIONS["cosine_per_class"]
    given = {"train": ((3, 5, 7), PerClass(values=(1.0, 0.75, 0.5), unit="1"))}
    bars = class_bars(given, declared, worst={"train": 7})["data"][0]
    assert bars["x"] == ["3", "5", "7"]
    assert bars["y"] == [0.0, 0.25, 0.5]
    assert bars["text"][2] == "class 7: 0.5"
    assert bars["marker"]["line"]["width"] == [0, 0, 2.5]


def test_bars_without_a_target_show_the_value():
    given = {"test": ((0, 1), PerClass(values=(2.0, 3.0), unit="1"))}
    figure = class_bars(given, DECLARATIONS["norm_per_class"], worst={})
    assert figure["data"][0]["y"] == [2.0, 3.0]
    assert "pattern" in figure["data"][0]["marker"]
    accepted(figure)


def test_of_many_classes_the_farthest_are_drawn():
    values = tuple(float(i) for i in range(500))
    declared = declaration("many", per_class=True, at_collapse=0.0)
    figure = class_bars({"train": (tuple(range(500)), PerClass(values=values, unit="1"))}, declared, worst={})
    assert figure["data"][0]["x"] == [str(i) for i in range(500 - MOST_BARS, 500)]


def test_distance_rows_place_exact_zeros():
    figure = distance_rows(["a", "b"], {"train": {"a": 0.0, "b": 1e-3}, "test": {"b": 1.0}})
    assert figure["data"][0]["y"] == ["a", "b"]
    assert figure["data"][0]["x"][0] > 0
    accepted(figure)
