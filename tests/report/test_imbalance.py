"""The section on imbalance: shown where classes differ in size, a view of what the record has."""

from pathlib import Path
from typing import Any

import pytest

from collapselab.records import Measurement, Observation, PerClass, RunFolder
from collapselab.report import write_comparison, write_measurements_report, write_report
from collapselab.report.opening import open_run, view_of
from collapselab.report.rank_figures import Ranked, rank_figure
from collapselab.report.sections import Section
from collapselab.report.sections.imbalance import imbalance
from collapselab.report.uneven import uneven
from report.fakes import DECLARATIONS, EPOCHS, RATIOS, SEEDED, changed, declaration, measurements, write_arms, write_run
from report.html import Page

STEP = (500, 10, 500, 500, 10, 500, 10, 500, 10, 10)
COSINES = [
    f"{pair}_cosine_{kind}" for pair in ("head_group", "tail_group", "head_tail") for kind in ("means", "weights")
]
OTHERS = ["head_tail_norm_ratio_means", "head_tail_norm_ratio_weights", "head_group_trace_ratio", "merged_classifiers"]
DECLARED = {
    name: declaration(
        name, family="class_groups", at_collapse=None if name in OTHERS else -1 / 9, label=f"about {name}"
    )
    for name in (*COSINES, *OTHERS, "tail_group_trace_ratio")
}
PER_CLASS = ("class_mean_norm", "class_weight_norm", "class_accuracy")


def measured_unevenly(row: Observation, *, counts: tuple[int, ...] = STEP, merged: float = 5.0) -> Observation:
    """The row with what a measurement of uneven classes adds; the test split is balanced."""
    if row.split != "train":
        counts = (50,) * len(counts)
    found: dict[str, Any] = {name: Measurement(value=0.01 * row.epoch - 0.1, unit="1") for name in (*COSINES, *OTHERS)}
    found["merged_classifiers"] = Measurement(value=merged if row.epoch > 20 else 0.0, unit="classes")
    found["tail_group_trace_ratio"] = Measurement(undefined="the class means coincide")
    values = tuple(1.0 if count == max(counts) else 0.25 for count in counts)
    accuracy = tuple(0.9 if count == 500 else 0.3 for count in STEP)
    per_class = {name: PerClass(values=values, unit="1") for name in PER_CLASS[:2]}
    per_class["class_accuracy"] = PerClass(values=accuracy, unit="fraction")
    conditions = row.result.conditions.model_copy(update={"counts": counts})
    result = row.result.model_copy(
        update={
            "measurements": row.result.measurements | (found if row.split == "train" else {}),
            "per_class": row.result.per_class | per_class,
            "conditions": conditions,
        }
    )
    return row.model_copy(update={"result": result})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = write_run(tmp_path / "run", snapshots=False, declarations=DECLARATIONS | DECLARED)
    return changed(path, measured_unevenly)


def section_of(path: Path) -> Section:
    section = imbalance(open_run(path, key="run-1"))
    assert section is not None
    return section


def test_balanced_runs_have_no_such_section(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", snapshots=False)
    assert imbalance(open_run(path, key="run-1")) is None
    nearly = changed(path, lambda row: measured_unevenly(row, counts=(120, 100, *(110,) * 8)))
    assert imbalance(open_run(nearly, key="run-1")) is None


def test_classes_are_put_in_order_of_size_and_accuracy_is_found_by_label(run: Path) -> None:
    one = uneven(open_run(run, key="run-1"))
    assert one is not None
    assert one.split == "train"
    assert one.counts == (500,) * 5 + (10,) * 5
    assert one.names[:2] == ("class 0, 500 samples", "class 2, 500 samples")
    assert one.ranked("class_mean_norm") == [1.0] * 5 + [0.25] * 5
    assert one.mean("class_accuracy", "tail", "test") == pytest.approx(0.3)
    assert one.mean("class_accuracy", "medium", "test") is None
    assert one.ranked("nothing") == []


def test_every_figure_and_number_is_there(run: Path) -> None:
    page = Page(write_report([run]).read_text(encoding="utf-8"))
    assert "Imbalance" in [text for _, text in page.all("h2")]
    said = (
        "Classes of the train split have 10 to 500 samples, a ratio of 50. By size, 5 of the 10 classes are the head, "
    )
    assert said + "5 the tail." in page.text
    assert "about merged_classifiers: 5 of 10 (What merged_classifiers says.)" in page.text
    figures = page.data["figures"]
    for slug in ("sizes", "weights", "means", "norms", "merged"):
        assert f"run-1-imbalance-{slug}" in figures
    cosines = figures["run-1-imbalance-weights"]["spec"]
    assert [trace["name"] for trace in cosines["data"]] == ["head", "tail", "between"]
    assert any("−1/(K−1): −0.111" in note["text"] for note in cosines["layout"]["annotations"])
    (_, table) = next(found for found in page.all("table") if "Groups of classes by size on train" in found[1])
    assert "head 5 500 2.9 2.9 1 1 2.9 0.9 0.9" in table
    assert "tail 5 10 2.9 2.9 0.25 0.25 – 0.3 0.3" in table
    assert "head to tail – – 2.9 2.9 × 2.9 × 2.9 – – –" in table


def test_signs_of_lines_that_end_together_are_moved_apart(run: Path) -> None:
    notes = section_of(run).panels["imbalance-means"].figure["layout"]["annotations"]
    assert sorted(note["yshift"] for note in notes if note["text"] in ("head", "tail", "between")) == [0, 14, 28]


def test_no_merged_class_is_a_sentence_and_no_figure(run: Path) -> None:
    section = section_of(changed(run, lambda row: measured_unevenly(row, merged=0.0)))
    assert "imbalance-merged" not in section.panels
    assert section.words["merged"][0] == "about merged_classifiers: none of 10"


def test_records_without_these_metrics_show_sizes_alone(tmp_path: Path) -> None:
    section = section_of(write_run(tmp_path / "run", snapshots=False, conditions={"counts": STEP}))
    assert list(section.panels) == ["imbalance-sizes"]
    assert section.words["merged"] is None


def test_a_single_measurement_has_sizes_norms_and_the_table(run: Path, tmp_path: Path) -> None:
    last = next(row for row in reversed(RunFolder(run).observations()) if row.split == "train").result
    last = last.model_copy(update={"declarations": DECLARATIONS | DECLARED})
    section = imbalance(view_of(last, title="m"))
    assert section is not None
    assert list(section.panels) == ["imbalance-sizes", "imbalance-norms"]
    text = Page(write_measurements_report(last, tmp_path / "m.html").read_text(encoding="utf-8")).text
    assert "Groups of classes by size on train" in text


def test_arms_share_figures_and_balanced_arms_are_left_out(tmp_path: Path) -> None:
    path = write_arms(tmp_path / "run", RATIOS[:6], epochs=(0, 30), declarations=DECLARATIONS | DECLARED)
    changed(path, lambda row: row if row.arm.startswith("r1-") else measured_unevenly(row))
    section = section_of(path)
    assert (
        section.words["lead"]
        == "In 3 arms classes differ in size: the largest has 50 times the samples of the smallest."
    )
    assert section.words["table"] is None
    assert [len(panel.figure["data"]) for panel in section.panels.values()] == [3] * 5
    assert "imbalance-merged-classifiers" in section.panels


def test_one_repetition_stands_for_all_in_figures_over_classes(tmp_path: Path) -> None:
    path = write_arms(tmp_path / "run", SEEDED, epochs=(0, 30), declarations=DECLARATIONS | DECLARED)
    section = section_of(changed(path, measured_unevenly))
    assert len(section.panels["imbalance-sizes"].figure["data"]) == 2


def test_many_classes_are_thinned_and_few_are_marked() -> None:
    many = Ranked("n", [float(5000 - at) for at in range(5000)], [f"class {at}" for at in range(5000)], "@c0")
    figure = rank_figure([many], title="t", groups=("head",) * 2000 + ("tail",) * 3000)
    (trace,) = figure["data"]
    assert (len(trace["x"]), trace["x"][0], trace["x"][-1], trace["mode"]) == (400, 1, 5000, "lines")
    assert figure["layout"]["xaxis"]["dtick"] == 500
    (border,) = figure["layout"]["shapes"]
    assert border["x0"] == 2000.5
    few = rank_figure([Ranked("n", [3.0, 1.0], ["a", "b"], "@c0", sign="A")], title="t")
    assert few["data"][0]["mode"] == "lines+markers+text"
    assert few["data"][0]["hovertext"][0] == "a: 3"


def test_metrics_that_lack_the_same_thing_take_one_row(tmp_path: Path) -> None:
    why = "needs classes of different sizes: the largest has less than 1.5 times the samples of the smallest"
    lost = {name: Measurement(undefined=why) for name in DECLARED}
    found = measurements(EPOCHS[-1])
    found = found.model_copy(
        update={"measurements": found.measurements | lost, "declarations": DECLARATIONS | DECLARED}
    )
    page = Page(write_measurements_report(found, tmp_path / "m.html").read_text(encoding="utf-8"))
    (_, table) = next(found for found in page.all("table") if "every metric in the record" in found[1])
    assert table.count(why) == 1
    assert f"Undefined: {why}. This holds for head_group_cosine_means, " in table
    (_, undefined) = next(found for found in page.all("table") if "Undefined quantities" in found[1])
    assert undefined.count(why) == 1
    assert all(name in undefined for name in DECLARED)


def test_a_comparison_says_once_what_is_undefined_everywhere(tmp_path: Path) -> None:
    why = "needs classes of different sizes"

    def balanced(row: Observation) -> Observation:
        lost = {name: Measurement(undefined=why) for name in DECLARED}
        result = row.result.model_copy(update={"measurements": row.result.measurements | lost})
        return row.model_copy(update={"result": result})

    given = {"snapshots": False, "epochs": (0, 30), "declarations": DECLARATIONS | DECLARED}
    runs = [changed(write_run(tmp_path / name, **given), balanced) for name in ("a", "b")]
    text = Page(write_comparison(runs).read_text(encoding="utf-8")).text
    assert text.count(why) == 1
    assert f"tail_group_trace_ratio. Why: {why}." in text
    assert "Undefined everywhere: bias_term" not in text  # a metric that is alone with its reason keeps its row
