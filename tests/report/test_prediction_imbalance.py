"""The page of a prediction under imbalance, and the section of a run's report: what they say and draw."""

import dataclasses
from typing import Any

import pytest

from collapselab.records.prediction import Blocks, Imbalance, ImbalanceSweep, PredictedGeometry, Prediction, Remedy
from collapselab.report.imbalance_figures import ratio_figure, remedy_figure
from collapselab.report.prediction import prediction_page
from collapselab.report.prediction_figures import matrix_map
from collapselab.report.sections.predicted import predicted
from collapselab.report.view import View
from records.samples import blocks, declaration, geometry, observation, prediction
from report.html import Page

REMEDIES = (
    Remedy(name="none", title="as it is", minority_cosine=1.0, norm_ratio=7.6, margin=0.0, merged=2, near=2),
    Remedy(
        name="oversampling", title="oversampled", minority_cosine=-0.25, norm_ratio=1.0, margin=2.5, merged=0, near=0
    ),
    Remedy(name="fixed_simplex", title="fixed simplex head", unknown="num_features must be at least 4, got 3"),
)
SWEEP = ImbalanceSweep(imbalance=(1.0, 10.0, 12.0, 30.0), minority_cosine=(-0.25, 0.5, 1.0, None), merged=(0, 0, 2, 2))


def imbalance(**changes: Any) -> Imbalance:
    given: dict[str, Any] = {
        **{"ratio": 12.0, "minority": 2, "threshold": 11.0, "weight_needed": 12 / 11, "merged": ((5, 2),)},
        **{"remedies": REMEDIES, "sweep": SWEEP},
    }
    return Imbalance(**{**given, **changes})


def uneven(**changes: Any) -> Prediction:
    found = geometry(3, 2)
    norms = prediction().norms
    assert norms is not None
    two = norms.model_copy(update={"class_weight": (1.0, 0.1), "class_mean": (1.0, 0.1)})
    settings = {"num_classes": 5, "num_samples": 190, "num_features": 4, "bias": "none", "nonnegative": False}
    given = {
        **{"geometry": found, "norms": two, "counts": ((60, 3), (5, 2)), "imbalance": imbalance(), "beside": None},
        **{"settings": settings | {"budget_head": 1.0, "budget_features": 5.0}, "sweep": None},
    }
    return prediction(**{**given, **changes})


def test_the_answer_is_in_words_figures_and_tables() -> None:
    page = Page(prediction_page(uneven()))
    for said in (
        "From a ratio of 11 on, the small classes have one class vector (minority collapse); here it is 1.091 times",
        "Classes with one class vector: 2 of 5 samples.",
        "budget of the head 1",
        "as it is 1 7.6 0 2 2",
        "fixed simplex head num_features must be at least 4, got 3",
        "dot regression has the same answer",
    ):
        assert said in page.text, said
    assert {"imbalance-ratio", "imbalance-remedies"} <= set(page.data["figures"])
    assert "#imbalance" in [attrs.get("href") for attrs, _ in page.all("a")]
    assert [text for _, text in page.all("h2")][:2] == ["Minimum", "Minority collapse"]


def test_the_picture_of_the_threshold_marks_it_and_the_problem() -> None:
    figure = ratio_figure(SWEEP, imbalance(), num_classes=5)
    line, point = figure["data"]
    assert (line["x"], line["y"]) == ([1.0, 10.0, 12.0], [-0.25, 0.5, 1.0])
    assert (point["x"], point["y"]) == ([12.0], [1.0])
    assert {shape["x0"] for shape in figure["layout"]["shapes"] if shape["xref"] == "x"} == {11.0}
    bare = ratio_figure(SWEEP, imbalance(threshold=None), num_classes=5)
    assert [shape["xref"] for shape in bare["layout"]["shapes"]] == ["paper"]


def test_remedies_that_leave_classes_merged_are_crosses() -> None:
    (dots,) = remedy_figure(REMEDIES, num_classes=5)["data"]
    assert (dots["y"], dots["marker"]["symbol"]) == (["as it is", "oversampled"], ["x", "circle"])


def test_groups_are_marked_on_matrices() -> None:
    figure = matrix_map(blocks(3, 2), unit="u", groups=["60 samples", "5 samples"])
    assert {(s["x0"], s["y0"]) for s in figure["layout"]["shapes"]} == {(2.5, 0), (0, 2.5)}
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["60 samples", "5 samples"]
    assert matrix_map(blocks(1, 1, 1), unit="u")["layout"]["shapes"] == []


def test_without_cosines_there_are_no_figures() -> None:
    page = Page(prediction_page(uneven(imbalance=imbalance(remedies=REMEDIES[2:], sweep=None, threshold=None))))
    assert not {"imbalance-ratio", "imbalance-remedies"} & set(page.data["figures"])
    assert "Minority collapse" not in [text for _, text in page.all("h2")]


def test_a_run_shows_the_prediction_that_is_kept_with_it() -> None:
    declared = {"nc1_pinv": declaration(), "weight_norm": declaration(name="weight_norm", label="Norm", family="norms")}
    view = View(
        "run-1", "A run", {}, rows=(observation(0), observation(10)), prediction=prediction(declarations=declared)
    )
    section = predicted(view)
    assert section is not None
    assert section.words["stale"] is None
    assert ("Norm", "weight_norm", "2", "undefined") in section.words["rows"]
    assert list(section.panels) == ["predicted-weight-norm"]
    later = predicted(dataclasses.replace(view, rows=(*view.rows, observation(12))))
    assert later is not None
    assert later.words["stale"] == "epoch 10, and the run is at 12"
    assert predicted(dataclasses.replace(view, prediction=None)) is None


def test_lengths_of_a_sweep_agree() -> None:
    with pytest.raises(ValueError, match="a sweep over imbalance holds a cosine and a number of classes for each"):
        ImbalanceSweep(imbalance=(1.0,), minority_cosine=(), merged=(1,))
    whole = Blocks(sizes=(1, 1), own=(1.0, 1.0), between=((0.0, 0.0), (0.0, 0.0)))
    assert PredictedGeometry(weights=whole, means=whole, logits=whole, bias=(0.0, 0.0)).groups == ()
