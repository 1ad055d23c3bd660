"""The page of a prediction: what it says, what it draws, without torch; and in a browser."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from collapselab.core.errors import InputError
from collapselab.records import as_json
from collapselab.records.prediction import Beside, MeasuredCourse, Prediction
from collapselab.report import write_prediction_report
from collapselab.report.prediction import prediction_page
from collapselab.report.prediction_figures import matrix_map, representatives, sweep_figure
from records.samples import blocks, declaration, geometry, prediction
from report.html import Page

ALONE = {"beside": None}
NAMES = {"nc1_pinv": "NC1, within / between", "weight_norm": "Norm of the classifier"}


def declared(**changes: Any) -> Prediction:
    found = {name: declaration(name=name, label=label, summary=f"What {name} is.") for name, label in NAMES.items()}
    return prediction(declarations=found, **changes)


def page_of(found: Prediction) -> Page:
    return Page(prediction_page(found))


def test_the_answer_is_in_the_words_and_tables() -> None:
    page = page_of(declared(**ALONE))
    assert page.all("h1")[0][1] == "Cross-entropy on unconstrained features"
    for said in (
        "The minimum is attained, and every local minimiser is a global one.",
        "decay of the head 0.005",
        "classes 5 of 3 samples",
        "strength times classes 0.05",
        "5 classes of 3 1 1 0",
        "within 5 classes of 3 −0.25 −0.25",
        "All classes have the same number of samples.",
        "What nc1_pinv is.",
        "Zhu et al. (2021)",
    ):
        assert said in page.text, said
    assert "Beside the run" not in page.text
    assert [attrs["href"] for attrs, _ in page.all("a") if "href" in attrs][1:] == [
        *("#answer", "#thresholds", "#geometry", "#metrics", "#assumptions"),
    ]


def test_figures_of_the_answer() -> None:
    figures = page_of(declared(**ALONE)).data["figures"]
    assert set(figures) == {"sweep-margin", "sweep-minimum", "gram-weights", "gram-means", "gram-logits"}
    margin = figures["sweep-margin"]["spec"]
    assert margin["data"][0]["y"] == [4.0, 1.25, 0.0]
    assert (margin["data"][1]["x"], margin["data"][1]["y"]) == ([1], [1.25])
    assert {shape["x0"] for shape in margin["layout"]["shapes"]} == {20.0}
    heat = figures["gram-weights"]["spec"]["data"][0]
    assert heat["z"][0] == [1.0, -0.25, -0.25, -0.25, -0.25]
    assert (heat["zmin"], heat["zmax"]) == (-1.0, 1.0)


def test_beside_a_run_are_limit_and_course() -> None:
    page = page_of(declared())
    assert "Fitted to the end of the run: decay features = 0.001." in page.text
    assert "A note." in page.text
    figures = page.data["figures"]
    assert {"beside-nc1_pinv", "any-nc1_pinv", "beside-weight_norm"} <= set(figures)
    notes = [note["text"] for note in figures["beside-nc1_pinv"]["spec"]["layout"]["annotations"]]
    assert notes == ["↓ predicted: 0"]
    assert figures["beside-weight_norm"]["caption"].endswith("Predicted 2, undefined at the end.")
    row = next(text for _, text in page.all("tr") if "nc1_pinv" in text)
    assert "1 × 10⁻³⁰⁰" in row
    assert next(attrs["title"] for attrs, text in page.all("td") if text == "undefined") == "nobody knows"


def test_the_mean_loss_is_laid_beside_that_of_the_run() -> None:
    courses = {"loss": MeasuredCourse(moments=(0, 1), values=(2.0, 0.2))}
    beside = Beside(run="r", title="R", split="train", unit="step", courses=courses)
    page = page_of(declared(beside=beside))
    figure = page.data["figures"]["beside-loss"]
    assert figure["spec"]["layout"]["xaxis"]["title"]["text"] == "step"
    assert "predicted 0.1" in figure["label"]
    assert "not measured" in page.text


def test_many_classes_are_shown_by_some_of_each_group() -> None:
    many = blocks(100_000)
    assert len(representatives(many)) == 24
    figure = matrix_map(many, unit="inner product")
    assert len(figure["data"][0]["z"]) == 24
    assert not figure["layout"]["xaxis"]["showticklabels"]
    two = blocks(90, 1)
    assert representatives(two) == [*((0, at) for at in range(12)), (1, 0)]
    text = prediction_page(declared(counts=((5, 100_000),), geometry=geometry(100_000), **ALONE))
    assert "24 of 100,000 classes" in text


def test_a_sweep_without_threshold_has_no_mark() -> None:
    found = prediction().sweep
    assert found is not None
    sweep = found.model_copy(update={"vanishes_at": None})
    assert sweep_figure(sweep, sweep.margin, title="margin")["layout"]["shapes"] == []


def test_what_is_not_known_is_left_out() -> None:
    bare = prediction(
        norms=None,
        geometry=None,
        margin=None,
        mean_loss=None,
        sweep=None,
        predicts={},
        thresholds={},
        attained=False,
        benign=False,
        **ALONE,
    )
    page = page_of(bare)
    assert page.data["figures"] == {}
    assert "The infimum is approached as norms grow, never attained, and not every local minimiser" in page.text
    assert [text for _, text in page.all("h2")] == ["Minimum", "Assumptions and source"]
    zero = prediction(norms=prediction().norms.model_copy(update={"weight": 0.0}), **ALONE)  # pyright: ignore[reportOptionalMemberAccess]
    assert "Decay is so strong here that classifier and features are zero." in page_of(zero).text


def test_text_from_the_record_stays_text() -> None:
    hostile = "</script><script>alert(1)</script>"
    page = page_of(prediction(label=hostile, assumptions=(hostile,), loss=hostile, thresholds={hostile: 1.0}))
    assert "alert(1)" in page.text
    assert len(page.all("script")) == 3


def test_only_a_prediction_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prediction must be a Prediction record, got dict"):
        write_prediction_report({}, tmp_path / "p.html")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="out must be a file to write"):
        write_prediction_report(prediction(), tmp_path)


def test_the_page_is_written_without_torch(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(as_json(declared().model_dump(mode="json")))
    code = (
        "import sys; sys.modules['torch'] = None; from pathlib import Path\n"
        "from collapselab.records.prediction import read_prediction\n"
        "from collapselab.report import write_prediction_report\n"
        f"write_prediction_report(read_prediction(Path({str(file)!r})), {str(tmp_path / 'p.html')!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert (tmp_path / "p.html").stat().st_size > 100_000


# ------------------------------------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("predictions")
    many = declared(counts=((5, 100_000),), geometry=geometry(100_000), **ALONE)
    found = {"alone": declared(**ALONE), "beside": declared(), "many": many}
    return {name: write_prediction_report(one, folder / f"{name}.html") for name, one in found.items()}


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, True)])
@pytest.mark.parametrize("kind", ["alone", "beside", "many"])
def test_pages_are_quiet_offline_and_fit_the_window(
    browser: Any, pages: dict[str, Path], kind: str, width: int, dark: bool
) -> None:
    driver = browser.open(pages[kind], width=width, dark=dark)
    drawn = "return [...document.querySelectorAll('[data-figure]')].every((e) => e.querySelector('svg'))"
    WebDriverWait(driver, 30).until(lambda d: d.execute_script(drawn))
    assert browser.errors() == []
    assert browser.requests() == []
    assert browser.overflow() == 0


@pytest.mark.browser
@pytest.mark.slow
def test_any_predicted_metric_can_be_chosen(browser: Any, pages: dict[str, Path]) -> None:
    driver = browser.open(pages["beside"])
    WebDriverWait(driver, 30).until(lambda d: d.execute_script("return document.documentElement.dataset.drawn"))
    Select(driver.find_element(By.ID, "any-list")).select_by_value("any-weight_norm")
    title = "return document.getElementById('any').layout.yaxis.title.text"
    WebDriverWait(driver, 30).until(lambda d: d.execute_script(title) == "Norm of the classifier")
    assert driver.find_element(By.ID, "any-caption").text.startswith("What weight_norm is.")
