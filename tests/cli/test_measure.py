"""`measure`: the table, the document, the files it writes, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collapselab import measure
from collapselab.cli import main
from collapselab.metrics import REGISTRY
from collapselab.records import Measurements
from tolerances import EXACT

Said = Callable[..., dict[str, Any]]


def test_the_document_holds_every_metric_with_value_or_reason(features: Path, said: Said) -> None:
    document = said("measure", str(features))
    assert {*document["measurements"], *document["per_class"]} == set(REGISTRY)
    nc1 = document["measurements"]["nc1_pinv"]
    assert nc1.keys() == {"value", "unit", "at_collapse"}
    assert (nc1["unit"], nc1["at_collapse"]) == ("1", 0.0)
    assert document["measurements"]["nc3_duality"].keys() == {"undefined"}
    assert document["provenance"]["collapselab"]
    assert document["conditions"]["num_samples"] == 80


def test_the_numbers_are_those_of_the_library(features: Path, said: Said) -> None:
    with np.load(features) as file:
        expected = measure((file["h"], file["y"]), metrics=["nc1_pinv", "cdnv"])
    document = said("measure", str(features), "--metrics", "nc1_pinv, cdnv")
    for name in ("nc1_pinv", "cdnv"):
        EXACT.check(document["measurements"][name]["value"], expected[name])
    assert list(document["measurements"]) == ["nc1_pinv", "cdnv"]


def test_a_head_split_and_number_of_classes_are_taken(features: Path, said: Said) -> None:
    head = str(features.with_name("head.npz"))
    document = said("measure", str(features), "--head", head, "--split", "test")
    assert "value" in document["measurements"]["nc3_duality"]
    assert document["conditions"]["split"] == "test"
    assert document["conditions"]["empty_classes"] == [4]
    assert said("measure", str(features), "--num-classes", "7")["conditions"]["num_classes"] == 7
    assert said("measure", str(features), "--ignore-index", "3")["conditions"]["classes"] == [0, 1, 2]


def test_the_table_groups_by_family_and_says_why_not(features: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", str(features)]) == 0
    text = capsys.readouterr().out
    assert "80 samples of 4 classes, 8 features (float32)" in text
    assert "\nNC1: variability within classes\n  nc1_pinv" in text
    assert "needs the linear classifier (head), none was given:\n    " in text
    head, row = (next(line for line in text.splitlines() if word in line) for word in ("value", " nc1_pinv "))
    assert row.split()[2] == "0"
    assert row.rindex("0") == head.index("at collapse")
    assert "(class " in text
    assert "\t" not in text


def test_record_and_page_are_written(features: Path, tmp_path: Path, said: Said) -> None:
    record, page = tmp_path / "m.json", tmp_path / "m.html"
    document = said("measure", str(features), "--out", str(record), "--report", str(page))
    assert document["written"] == [str(record), str(page)]
    kept = Measurements.model_validate_json(record.read_bytes())
    assert kept.model_dump(mode="json")["measurements"] == document["measurements"]
    assert "features.npz" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.npz"], "no file no.npz"),
        (["FILE", "--metrics", "nc1_pin"], "no metric is called 'nc1_pin'; did you mean 'nc1_pinv'"),
        (["FILE", "--metrics", " , "], "--metrics: expected names with commas between them, got ' , '"),
        (["FILE", "--num-classes", "2"], "labels must lie in 0..1, got 2 at index 2"),
        (["FILE", "--num-classes", "many"], "--num-classes: expected an integer, got many"),
        (["FILE", "--num-classes", "0"], "num_classes must be an integer of at least 1, got 0"),
        (["FILE", "--head", "no.npz"], "no file no.npz"),
        (["FILE", "--head", "FILE"], "must hold an array 'weight' (K, d)"),
        (["FILE", "FILE"], "unexpected argument"),
        (["FILE", "--metric", "nc1_pinv"], "no flag is called --metric; did you mean --metrics?"),
        (["TEXT"], "feature files are .npz, .safetensors, .parquet, got .txt"),
        (["EMPTY"], "is empty"),
        (["BROKEN"], "is not a complete .npz file"),
        (["NAMES"], "must hold arrays 'h' (N, d) and 'y' (N,), got ['x']"),
        (["NAN"], "features must be finite, got nan at index (0, 0)"),
        (["FLOATS"], "labels must be integers"),
    ],
)
def test_bad_input_is_named(
    arguments: list[str], message: str, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"FILE": features, "TEXT": tmp_path / "a.txt", "EMPTY": tmp_path / "empty.npz"}
    files |= {name: tmp_path / f"{name.lower()}.npz" for name in ("BROKEN", "NAMES", "NAN", "FLOATS")}
    files["TEXT"].write_text("hello")
    files["EMPTY"].write_bytes(b"")
    files["BROKEN"].write_bytes(features.read_bytes()[:200])
    np.savez(files["NAMES"], x=np.zeros(3))
    np.savez(files["NAN"], h=np.full((2, 2), np.nan), y=np.array([0, 1]))
    np.savez(files["FLOATS"], h=np.ones((2, 2)), y=np.array([0.0, 1.0]))
    assert main(["measure", *(str(files.get(a, a)) for a in arguments)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_an_error_is_a_document_too(said: Said) -> None:
    document = said("measure", "no.npz", code=2)
    assert document["error"] == {"kind": "InputError", "message": "no file no.npz"}


def test_undefined_numbers_are_reasons_never_nan(tmp_path: Path, said: Said) -> None:
    file = tmp_path / "collapsed.npz"
    np.savez(file, h=np.ones((6, 3)), y=np.arange(6) % 3)
    document = said("measure", str(file))
    assert document["measurements"]["nc1_pinv"] == {"undefined": "the class means coincide"}
    assert "NaN" not in json.dumps(document)
