import subprocess
import sys

import pytest

from collapselab.core.errors import InputError, StorageError
from collapselab.records import Claim, Measurement, RunFolder, Verdict
from collapselab.report import write_comparison, write_measurements_report, write_report
from collapselab.report.page import as_script_data
from report.fakes import (
    DECLARATIONS,
    EPOCHS,
    PROVENANCE,
    declaration,
    measurements,
    snapshot,
    write_run,
)
from report.html import Page

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'


def read(path):
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def test_the_page_goes_into_the_run_folder_and_is_small(run):
    path = write_report([run])
    assert path == run / "report.html"
    assert path.stat().st_size < 8e6


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    assert write_report([run]).read_bytes() == write_report([run], tmp_path / "again.html").read_bytes()


def test_every_part_of_the_report_is_there(run):
    page = read(write_report([run]))
    heads = [text for _, text in page.all("h2")]
    wanted = ["Collapse over epochs", "Training", "Geometry, checkpoint by checkpoint", "Class by class"]
    wanted += ["Any metric over epochs", "All metrics", "What is undefined, and why", "What was measured how"]
    assert [head for head in heads if head in wanted] == wanted
    assert heads[-1] == "Configuration and origin"


def test_headline_has_verdict_numbers_targets_and_change(run):
    text = read(write_report([run])).text
    assert "The claim holds NC1 fell 120-fold." in text
    assert "fall 120" in text
    assert "8 at epoch 0: 1,668 times smaller; since zero training error 31.9 times smaller" in text
    assert "at collapse: 0" in text
    assert "Papyan, Han and Donoho (2020)" in text


def test_figures_of_a_verdict_bear_their_intervals(tmp_path):
    figures = {"growth": 1.5, "half_width_growth": 0.25, "half_width_at_3": 2.0, "none": None}
    verdict = Verdict(state="holds", statement="It grew.", figures=figures)
    page = read(write_report([write_run(tmp_path / "few", verdict=verdict)]))
    assert "growth 1.5 ± 0.25" in page.text
    assert "half_width_growth" not in page.text
    assert "half_width_at_3 2" in page.text  # of nothing that stands there
    assert "figures it rests on" not in page.text
    many = Verdict(state="holds", statement="It grew.", figures={f"figure_{place}": place for place in range(9)})
    page = read(write_report([write_run(tmp_path / "many", verdict=many)]))
    assert "The 9 figures it rests on" in page.text


def test_both_ends_of_the_passage_to_zero_error_are_named(run):
    text = read(write_report([run])).text
    assert "First measured epoch with zero training error: 20. Last measured epoch above zero: 13." in text


def test_the_worst_class_is_named(run):
    text = read(write_report([run])).text
    values = measurements(EPOCHS[-1]).per_class["cosine_per_class"].values
    worst = min(range(10), key=values.__getitem__)
    assert f"Worst on train: class {worst} with " in text


def test_every_undefined_value_has_its_reason(run):
    page = read(write_report([run]))
    (_, table) = next(found for found in page.all("table") if "Undefined quantities" in found[1])
    assert "bias_term train and test, last measured needs a classifier bias, the head has none" in table
    assert "lost_per_class train and test, last measured nobody knows" in table


def test_gaps_of_earlier_epochs_have_their_reasons_too(tmp_path):
    folder = RunFolder(write_run(tmp_path / "run"))
    rows = folder.observations()
    folder.series_file.unlink()
    for row in rows:
        found = dict(row.result.measurements)
        if row.epoch < 2:
            found["nc1_pinv"] = Measurement(undefined="the class means coincide")
        folder.append(row.model_copy(update={"result": row.result.model_copy(update={"measurements": found})}))
    text = read(write_report([folder.path])).text
    assert "train, 2 measurements between epochs 0 and 1 the class means coincide" in text
    assert "test, 2 measurements between epochs 0 and 1 the class means coincide" in text


def test_nothing_undefined_is_said_too(tmp_path):
    whole = {"nc1_pinv": Measurement(value=0.1, unit="1", at_collapse=0.0)}
    found = measurements(1).model_copy(update={"measurements": whole, "per_class": {}})
    page = read(write_measurements_report(found, tmp_path / "m.html"))
    assert "Every metric had a value wherever it was measured." in page.text


def test_table_has_symbol_values_target_unit_and_source(run):
    page = read(write_report([run]))
    (_, table) = next(found for found in page.all("table") if "every metric in the record" in found[1])
    assert "disagreement nc4_disagreement" in table
    assert "0 fraction Papyan, Han and Donoho (2020)" in table
    assert page.all("math")
    exact = [attrs["title"] for attrs, _ in page.all("td", class_="num") if "title" in attrs]
    assert repr(measurements(EPOCHS[-1])["nc1_pinv"]) in exact


def test_conditions_configuration_and_origin_are_shown(run):
    text = read(write_report([run])).text
    for said in ("input of head", "kept in memory", "120 in each", "float64", "torch 2.13.0", "0123abc, with changes"):
        assert said in text
    assert "hidden 256, 256" in text
    assert "collapselab run watch-collapse --seed 7" in text


def test_warnings_stand_near_the_top(tmp_path):
    run = write_run(tmp_path / "run", conditions={"warnings": ("classes are imbalanced 3:1",)}, notes=("dropped 3",))
    text = read(write_report([run])).text
    assert (
        text.index("dropped 3") < text.index("classes are imbalanced 3:1 (train, test)") < text.index("Collapse over")
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("running", "This run has not ended"),
        ("interrupted", "This run was interrupted"),
        ("failed", "This run failed"),
    ],
)
def test_a_run_that_did_not_end_says_so_on_top(tmp_path, status, said):
    run = write_run(
        tmp_path / "run", epochs=EPOCHS[:5], status=status, verdict=None, epochs_done=5, error="loss is not finite"
    )
    text = read(write_report([run])).text
    assert text.startswith(said)
    assert "5 of 300 epochs are done" in text
    assert "loss is not finite" in text


def test_a_run_with_a_single_observation(tmp_path):
    page = read(write_report([write_run(tmp_path / "run", epochs=(0,), splits=("train",))]))
    assert "the terminal phase was not reached" in page.text
    assert page.data["figures"]["run-1-nc1"]["spec"]["data"][0]["x"] == [1]


def test_a_run_without_any_observation(tmp_path):
    text = read(write_report([write_run(tmp_path / "run", epochs=(), status="running", verdict=None)])).text
    assert "Nothing has been measured yet" in text


def test_a_last_row_cut_off_by_a_kill_is_left_out(run):
    whole = write_report([run]).read_bytes()
    with open(RunFolder(run).series_file, "ab") as file:
        file.write(b'{"epoch": 301, "step"')
    assert write_report([run]).read_bytes() == whole


@pytest.mark.parametrize("k", [2, 3, 4])
def test_few_classes(tmp_path, k):
    data = read(write_report([write_run(tmp_path / "run", classes=k)])).data
    assert len(data["frames"]["run-1-frames"]["classes"]) == k


def test_several_runs_on_one_page_have_anchors_of_their_own(tmp_path):
    runs = [write_run(tmp_path / name) for name in ("a", "b")]
    path = write_report(runs)
    assert path == runs[0] / "report.html"
    page = read(path)
    assert [attrs["id"] for attrs, _ in page.all("article")] == ["run-1", "run-2"]
    assert path.stat().st_size < 8e6


def test_ids_are_unique_and_what_refers_to_one_finds_it(run, tmp_path):
    comparison = write_comparison([run, write_run(tmp_path / "b")])
    for path in (write_report([run, run], tmp_path / "two.html"), write_report([run]), comparison):
        page = read(path)
        ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
        assert len(ids) == len(set(ids))
        for _, attrs, _ in page.elements:
            for name in ("for", "aria-labelledby"):
                assert attrs.get(name) is None or attrs[name] in ids
            href = attrs.get("href") or ""
            assert not href.startswith("#") or href[1:] in ids
            assert attrs.get("data-figure") is None or attrs["data-figure"] in page.data["figures"]


def test_the_page_is_accessible_without_sight(run):
    page = read(write_report([run]))
    assert len(page.all("h1")) == 1
    assert len(page.all("main")) == len(page.all("nav")) == len(page.all("header")) == len(page.all("footer")) == 1
    assert page.all("a", class_="skip")[0][0]["href"] == "#main"
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(text for _, text in page.all("caption"))
    assert len(page.all("figcaption")) == len(page.all("figure"))
    plots = [attrs for attrs, _ in page.all("div", role="img")]
    assert len(plots) >= 10
    assert all(attrs["aria-label"] for attrs in plots)
    assert page.all("html")[0][0]["lang"] == "en"


def test_nothing_is_loaded_from_anywhere(run):
    page = read(write_report([run]))
    for tag, attrs, _ in page.elements:
        assert "src" not in attrs
        assert not (attrs.get("href") or "#").startswith(("http", "//")), tag
    (policy,) = [attrs["content"] for attrs, _ in page.all("meta") if attrs.get("http-equiv")]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert policy.count("sha256-") == 2


def test_text_from_a_record_stays_text(tmp_path):
    hostile = {
        "title": HOSTILE,
        "claim": Claim(sentence=HOSTILE, source=HOSTILE),
        "verdict": Verdict(state="fails", statement=HOSTILE, figures={HOSTILE: HOSTILE}),
        "config": {HOSTILE: HOSTILE, "nested": {"a": [HOSTILE]}},
        "error": HOSTILE,
        "status": "failed",
        "notes": (HOSTILE,),
        "declarations": DECLARATIONS
        | {
            "nc1_pinv": declaration("nc1_pinv", label=HOSTILE, summary=HOSTILE, symbol=HOSTILE, source=HOSTILE),
        },
        "provenance": PROVENANCE.model_copy(update={"command": (HOSTILE,), "git_commit": HOSTILE}),
    }
    conditions = {"layer": HOSTILE, "source": HOSTILE, "warnings": (HOSTILE,)}
    runs = [write_run(tmp_path / name, conditions=conditions, **hostile) for name in ("a", "b")]
    single = measurements(3, HOSTILE, **conditions).model_copy(update={"declarations": hostile["declarations"]})
    paths = [write_report(runs[:1]), write_comparison(runs)]
    paths.append(write_measurements_report(single, tmp_path / "m.html", title=HOSTILE))
    for path in paths:
        page = read(path)
        assert len(page.all("script")) == 3
        assert page.all("img") == []
        assert not any(name.startswith("on") for _, attrs, _ in page.elements for name in attrs)
        assert "alert(1)" in page.text
        assert page.data["figures"]


def test_script_data_holds_no_angle_bracket():
    text = as_script_data({"a": "</script><!-- &\u2028"})
    assert not set(text) & set("<>&\u2028")


def test_foreign_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="no run folder"):
        write_report([tmp_path / "absent"])
    with pytest.raises(InputError, match=r"holds no run: there is no run\.json"):
        write_report([tmp_path])
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="is not a run record"):
        write_report([tmp_path])


def test_arguments_are_checked(run, tmp_path):
    with pytest.raises(InputError, match="run_folders must name at least 1 run folder"):
        write_report([])
    with pytest.raises(InputError, match="at least 2"):
        write_comparison([run])
    with pytest.raises(InputError, match="must be a list of folders, got the single path"):
        write_report(str(run))
    with pytest.raises(InputError, match="out must be a file to write, got the folder"):
        write_report([run], tmp_path)
    with pytest.raises(InputError, match="measurements must be a Measurements record, got dict"):
        write_measurements_report({}, tmp_path / "m.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_report([run], tmp_path / "file" / "report.html")


def test_a_single_measurement_has_a_page_with_figures(tmp_path):
    found = measurements(30, num_ignored=4, layer=None, mode=None, empty_classes=(11, 12))
    found = found.model_copy(update={"declarations": DECLARATIONS, "provenance": PROVENANCE})
    page = read(write_measurements_report(found, tmp_path / "m.html", title="features.npz"))
    assert page.all("h1")[0][1] == "features.npz"
    for said in (
        "(4 ignored)",
        "features given directly",
        "11, 12",
        "How far from collapse",
        "needs a classifier bias",
    ):
        assert said in page.text
    assert {"run-1-distances", "run-1-bars-cosine_per_class"} <= page.data["figures"].keys()


def test_a_measurement_of_an_unnamed_split(tmp_path):
    found = measurements(30).model_copy(update={"declarations": DECLARATIONS})
    found = found.model_copy(update={"conditions": found.conditions.model_copy(update={"split": None})})
    assert "measured" in read(write_measurements_report(found, tmp_path / "m.html")).text


def test_comparison_overlays_runs_and_names_what_differs(tmp_path):
    one = write_run(tmp_path / "one", config={"lr": 0.05, "loss": "ce"})
    two = write_run(tmp_path / "two", config={"lr": 0.1, "loss": "ce", "extra": None}, epochs=EPOCHS[:6])
    path = write_comparison([one, two])
    assert path == one / "comparison.html"
    page = read(path)
    (_, table) = next(found for found in page.all("table") if "not the same in all runs" in found[1])
    assert "lr 0.05 0.1" in table
    assert "extra no such field none" in table
    assert "2 other fields are the same" in page.text
    names = [trace["name"] for trace in page.data["figures"]["nc1"]["spec"]["data"]]
    assert names == ["A one, train", "A one, test", "B two, train", "B two, test"]
    (_, values) = next(found for found in page.all("table") if "Last measured values" in found[1])
    assert "needs a classifier bias" in values


def test_comparison_of_equal_runs_says_so(tmp_path):
    runs = [write_run(tmp_path / sub / "same") for sub in ("x", "y")]
    text = read(write_comparison(runs)).text
    assert "fields are the same in these runs" in text
    assert "same #1" in text
    assert "same #2" in text


def test_comparison_of_runs_of_which_one_measured_nothing(tmp_path):
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", epochs=(), status="running", verdict=None)]
    assert "no verdict" in read(write_comparison(runs)).text


def test_targets_that_differ_are_not_drawn(tmp_path):
    other = DECLARATIONS | {"nc1_pinv": declaration("nc1_pinv", at_collapse=0.5)}
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", declarations=other)]
    page = read(write_comparison(runs))
    notes = page.data["figures"]["nc1"]["spec"]["layout"]["annotations"]
    assert not any("at collapse" in note["text"] for note in notes)
    assert "differs" in page.text


def test_weights_are_optional_in_snapshots(tmp_path):
    folder = RunFolder(write_run(tmp_path / "run"))
    for epoch in EPOCHS:
        folder.write_snapshot(epoch, snapshot(epoch, weights=False))
    frames = read(write_report([folder.path])).data["frames"]["run-1-frames"]["frames"]
    assert all("weights" not in frame for frame in frames)


def test_writing_a_report_never_imports_torch(run, tmp_path):
    code = (
        "import sys\n"
        "import collapselab.report as report\n"
        "assert not {'jinja2', 'plotly', 'matplotlib'} & sys.modules.keys()\n"
        f"report.write_report([{str(run)!r}], {str(tmp_path / 'r.html')!r})\n"
        f"report.write_comparison([{str(run)!r}, {str(run)!r}], {str(tmp_path / 'c.html')!r})\n"
        "assert not {'torch', 'lightning', 'matplotlib'} & sys.modules.keys(), 'torch was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
