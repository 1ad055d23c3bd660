"""The page of local elasticity at one moment."""

import json

import numpy as np
import plotly.graph_objects as go
import pytest
from pydantic import ValidationError

from collapselab.core.errors import InputError
from collapselab.records.elasticity import BetweenClasses, Elasticity
from collapselab.report import write_elasticity_report
from collapselab.report.palette import themed
from report.fakes import PROVENANCE, QUANTITIES, matrices
from report.html import Page


def between(matrix):
    k = len(matrix)
    own = float(np.trace(matrix)) / k
    rows = tuple(tuple(float(x) for x in row) for row in matrix)
    return BetweenClasses(matrix=rows, intra=own, inter=(float(matrix.sum()) - k * own) / (k * (k - 1)))


def record(k=10, **changes):
    found = matrices(5, classes=k)
    given = {
        "kind": "run",
        "model": "Watch <b>a network</b> (run)",
        "arm": "sgd",
        "weights": "end of training",
        "data": "digits",
        "split": "train",
        "num_parameters": 2874,
        "num_classes": k,
        "classes": tuple(range(k)),
        "counts": (10,) * k,
        "seed": 3,
        "reading": "own_residual",
        "similarities": {"kernel": between(found["kernel"]), "similarity": between(found["similarity"])},
        "declarations": {name: QUANTITIES[name] for name in ("kernel", "similarity")},
        "provenance": PROVENANCE,
    }
    return Elasticity(**(given | changes))


def page_of(found, folder):
    return Page(write_elasticity_report(found, folder / "e.html").read_text(encoding="utf-8"))


def test_matrices_means_and_classes_are_told(tmp_path):
    found = record()
    page = page_of(found, tmp_path)
    assert [text for _, text in page.all("h2")][-3:] == [
        "From class to class",
        "Class by class",
        "What was measured how",
    ]
    assert "Local elasticity: Watch <b>a network</b> (run)" in page.text
    for name, one in found.similarities.items():
        spec = page.data["figures"][f"matrix-{name}"]["spec"]
        go.Figure(themed(spec))
        np.testing.assert_allclose(spec["data"][0]["z"], one.matrix, rtol=1e-3)
    rows = found.similarities["kernel"].rows(found.classes)
    assert len(page.all("tbody")) == 1
    assert f"class {rows[0].nearest})" in page.all("tbody")[0][1]
    assert "arm sgd" in page.text
    json.dumps(page.data, allow_nan=False)


def test_what_has_no_value_is_told_and_many_classes_make_no_picture(tmp_path):
    nothing = {name: BetweenClasses(undefined=f"no {name}") for name in ("kernel", "similarity")}
    text = page_of(record(similarities=nothing), tmp_path).text
    assert "kernel: no kernel" in text
    assert "similarity: no similarity" in text
    page = page_of(record(201), tmp_path)
    assert "So many classes make no picture" in page.text
    assert page.data["figures"] == {}
    assert "141 more classes" in page.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": (0, 1)},
        {"classes": (0,), "counts": (10,)},
        {"declarations": {}},
        {"similarities": {"kernel": {"matrix": [[1.0]], "intra": 1.0}}},
        {"similarities": {"kernel": {"matrix": [[1.0, 2.0]], "intra": 1.0, "inter": 0.0}}},
        {"similarities": {"kernel": {"intra": 1.0, "inter": 0.0, "undefined": "both"}}},
        {"similarities": {"kernel": {}}},
        {"reading": "own_logits"},
        {"more": 1},
    ],
)
def test_a_record_that_is_none_is_refused(wrong):
    with pytest.raises(ValidationError):
        record(**wrong)


def test_a_page_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match="found must be an Elasticity record, got dict"):
        write_elasticity_report({}, tmp_path / "e.html")  # pyright: ignore[reportArgumentType]
