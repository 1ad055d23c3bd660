"""`predict`: the example of the document, beside a run, the files it writes, and what it refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collapselab.cli import main
from collapselab.metrics import REGISTRY
from collapselab.records import Arm, RunFolder
from collapselab.records.prediction import Prediction, read_prediction
from small_run import SMALL
from tolerances import IDENTITY

Said = Callable[..., dict[str, Any]]

DECAYS = ("--decay-head", "5e-3", "--decay-features", "1e-3")
EXAMPLE = ("predict", "--loss", "cross_entropy", "--classes", "10", "--per-class", "5", "--features", "16", *DECAYS)
KEYS = {"minimum", "norms", "predicts", "thresholds", "assumptions", "source"}


def changed(folder: Path, **config: Any) -> None:
    """Give a run's record other settings."""
    run = RunFolder(folder).read()
    RunFolder(folder).write(run.model_copy(update={"config": {**run.config, **config}}))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with more features than classes."""
    folder = tmp_path_factory.mktemp("predict") / "wide"
    assert main(["run", "watch-collapse", *SMALL, "--widths", "[16, 12]", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(wide: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(wide, tmp_path / "run"))


def test_the_example_of_the_document(said: Said) -> None:
    document = said(*EXAMPLE)
    assert document.keys() >= KEYS
    assert document["minimum"] == pytest.approx(0.2823962428, abs=1e-10)
    assert document["source"] == "zhu2021"
    assert {"weight", "features", "bias", "class_weight", "class_mean"} == document["norms"].keys()
    assert document["predicts"]["nc2_max_angle_means"] == 0
    assert set(document["declarations"]) == set(document["predicts"]) <= set(REGISTRY)
    assert document["settings"]["per_class"] == 5
    assert document["sweep"]["vanishes_at"] == pytest.approx(20)
    assert document["provenance"]["collapselab"]


@pytest.mark.parametrize("bias", [("none",), ("free",), ("decay", "--decay-bias", "0.1")])
def test_a_bias_changes_nothing_under_cross_entropy_and_something_under_mse(bias: tuple[str, ...], said: Said) -> None:
    assert said(*EXAMPLE, "--bias", *bias)["minimum"] == pytest.approx(0.2823962428, abs=1e-10)
    mse = said(
        "predict", "--loss", "mse", "--classes", "4", "--per-class", "6", "--features", "9", *DECAYS, "--bias", *bias
    )
    c = 4 * (6 * 5e-3 * 1e-3) ** 0.5
    closed = {"none": c - c * c / 2, "free": 0.75 * (c - c * c / 2)}
    if bias[0] in closed:
        assert mse["minimum"] == pytest.approx(closed[bias[0]], rel=1e-12)
    else:
        assert closed["free"] < mse["minimum"] < closed["none"]


def test_settings_of_a_loss_are_flags(said: Said) -> None:
    small = ("--classes", "4", "--per-class", "6", *DECAYS)
    smoothed = said("predict", "--loss", "label_smoothing", "--smoothing", "0.2", *small)
    assert smoothed["loss_settings"] == {"smoothing": 0.2}
    plain = said("predict", "--loss", "label_smoothing", "--smoothing", "0", *small)
    assert plain["minimum"] == pytest.approx(said("predict", "--loss", "cross_entropy", *small)["minimum"], rel=1e-12)


def test_a_loss_without_a_model_of_its_own_is_asked_as_a_function(said: Said) -> None:
    document = said("predict", "--loss", "bce", "--classes", "4", "--per-class", "6", *DECAYS, "--bias", "free")
    assert (document["model"], document["loss"]) == ("symmetric", "bce")
    assert document["geometry"]["cosines_weights"]["between"] == [[pytest.approx(-1 / 3, abs=1e-6)]]
    assert document["sweep"] is None


def test_unequal_classes_have_their_sizes_in_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--loss", "mse", "--counts", "50,50,10", "--features", "5", *DECAYS, "--bias", "none"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  mse; 2 classes of 50, 1 class of 10; 5 features; decay of head 0.005")
    assert any(line.startswith("  each of 1 class of 10 ") for line in lines)
    assert any(line.startswith("  2 classes of 50 with 1 class of 10 ") for line in lines)


def test_the_text_says_what_the_document_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(list(EXAMPLE)) == 0
    text = capsys.readouterr().out
    for line in (
        "cross-entropy on unconstrained features",
        "attained; every local minimiser is a global one",
        "  all together             6.87535     15.3738   0",
        "NC3: weights against means",
        "  strength_times_classes  0.05",
        "  cK, which must be below 1 for anything but zero, and the decays at which it is 1.",
        "  All classes have the same number of samples.",
    ):
        assert line in text.splitlines(), line
    assert "Zhu et al. (2021)" in text
    assert "\t" not in text


def test_record_and_page_are_written(tmp_path: Path, said: Said) -> None:
    record, page = tmp_path / "p.json", tmp_path / "p.html"
    document = said(*EXAMPLE, "--out", str(record), "--report", str(page))
    assert document["written"] == [str(record), str(page)]
    kept = read_prediction(record)
    assert isinstance(kept, Prediction)
    assert json.loads(kept.model_dump_json())["predicts"] == document["predicts"]
    assert "Cross-entropy on unconstrained features" in page.read_text()


# ------------------------------------------------------------------------------------------------ beside a run


def test_beside_a_run_takes_and_fits_what_is_not_given(run: Path, said: Said) -> None:
    document = said("predict", "--beside", str(run))
    rows = [row for row in RunFolder(run).observations() if row.split == "train"]
    end = rows[-1].result
    settings, beside = document["settings"], document["beside"]
    assert document["loss"] == "cross_entropy"
    assert settings["num_features"] == end.conditions.num_features
    assert document["counts"] == [[20, 10]]
    assert settings["decay_head"] == settings["decay_bias"] == RunFolder(run).read().config["weight_decay"]
    weight, features = end["weight_norm"], end["feature_norm"]
    fitted = settings["decay_head"] * weight**2 / (end.conditions.num_samples * features**2)
    IDENTITY.check(beside["fitted"]["decay_features"], fitted)
    assert settings["decay_features"] == beside["fitted"]["decay_features"]
    # The balance that was fitted is that of the prediction.
    norms = document["norms"]
    IDENTITY.check(norms["weight"] / norms["features"], weight / (features * end.conditions.num_samples**0.5))
    course = beside["courses"]["nc1_pinv"]
    assert course["moments"] == [row.epoch for row in rows]
    assert course["values"] == [row.result["nc1_pinv"] for row in rows]
    assert set(beside["courses"]) == {"loss", *document["predicts"]}
    assert any("stands in for the weight decay of all other layers" in note for note in beside["notes"])


def test_a_run_of_the_model_itself_ends_at_the_prediction(tmp_path: Path, said: Said) -> None:
    """Features that are parameters, solved to the end: the fit finds their decay, and all else is predicted."""
    folder = str(tmp_path / "free")
    data = ("--data", "one_hot", "--data.num_classes", "4", "--data.samples_per_class", "5")
    network = ("--network", "unconstrained_features", "--network.num_features", "6", "--head.bias", "false")
    solver = ("--optimiser", "lbfgs", "--optimiser.weight_decay", "5e-3", "--schedule", "constant", "--epochs", "60")
    how = ("--precision", "float64", "--measurements", "2", "--out", folder)
    assert main(["train", *data, *network, *solver, *how]) == 0
    document = said("predict", "--beside", folder)
    assert document["settings"]["bias"] == "none"
    assert document["beside"]["fitted"]["decay_features"] == pytest.approx(5e-3, rel=1e-6)
    courses = document["beside"]["courses"]
    for name, expected in {**document["predicts"], "loss": document["mean_loss"]}.items():
        assert courses[name]["values"][-1] == pytest.approx(expected, rel=1e-6, abs=1e-6), name


def test_flags_win_over_the_record(run: Path, said: Said) -> None:
    document = said("predict", "--beside", str(run), "--loss", "mse", "--bias", "none", "--decay-features", "1e-4")
    assert (document["loss"], document["settings"]["decay_features"]) == ("mse", 1e-4)
    assert document["beside"]["fitted"] == {}
    assert {"loss", "bias", "decay_features"} & document["beside"]["taken"].keys() == set()
    assert not any("stands in" in note for note in document["beside"]["notes"])


def test_parts_of_a_training_are_read_where_it_has_them(run: Path, said: Said) -> None:
    parts = {
        "loss": {"name": "label_smoothing", "smoothing": 0.2},
        "optimiser": {"name": "adamw", "weight_decay": 3e-3},
        "penalty": {"name": "feature_decay", "decay_features": 0.4},
        "head": {"name": "learnable", "bias": True},
        "neck": {"normalise": True, "centre": "none"},
        "balance": {"oversample": True},
        "decay_on": "weights",
    }
    changed(run, **parts)
    document = said("predict", "--beside", str(run))
    assert (document["loss"], document["loss_settings"]) == ("label_smoothing", {"smoothing": 0.2})
    assert document["settings"]["decay_head"] == 3e-3
    assert document["settings"]["decay_features"] == pytest.approx(0.4 / 200)
    assert document["settings"]["bias"] == "free"
    assert document["beside"]["fitted"] == {}
    notes = " ".join(document["beside"]["notes"])
    for word in ("AdamW", "neck", "oversampling"):
        assert word in notes
    changed(run, head={"name": "learnable", "bias": False})
    assert said("predict", "--beside", str(run))["settings"]["bias"] == "none"


def test_beside_a_run_classes_are_as_many_as_there(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--beside", str(run), "--loss", "mse", "--counts", "5,5"]) == 2
    assert "num_classes must be 10, as in watch-collapse, got 2" in capsys.readouterr().err


def test_the_text_lays_both_beside_each_other(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--beside", str(run)]) == 0
    text = capsys.readouterr().out
    assert "predicted" in text
    assert "at the end of run" in text
    assert "fitted to the run\n  decay_features: " in text
    assert "note: The prediction is a limit of infinite training" in text


def test_an_arm_is_chosen_by_its_name(run: Path, said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(run)
    rows = folder.observations()
    arms = (Arm(name="a", title="arm A", settings={"loss": "mse"}), Arm(name="b", title="arm B"))
    folder.write(folder.read().model_copy(update={"arms": arms}))
    folder.series_file.write_text(
        "".join(row.model_copy(update={"arm": arm.name}).model_dump_json() + "\n" for arm in arms for row in rows)
    )
    document = said("predict", "--beside", str(run), "--arm", "a")
    assert (document["loss"], document["beside"]["arm"]) == ("mse", "arm A")
    assert said("predict", "--beside", str(run), "--arm", "b")["loss"] == "cross_entropy"
    assert main(["predict", "--beside", str(run)]) == 2
    assert "arm must be one of those of" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ what is refused

FOUR = ("--classes", "4", "--per-class", "3")
CE = ("--loss", "cross_entropy", *FOUR)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", "4"], "--loss must be given (--beside RUN takes it from a run), got nothing"),
        ([*CE], "--decay-head must be given, or both budgets (--beside RUN takes it from a run), got nothing"),
        ([*CE, "--decay-head", "1"], "--decay-features must be given (--beside RUN fits it to a run), got nothing"),
        (["--loss", "cross_entropi", *FOUR, *DECAYS], "did you mean 'cross_entropy'?"),
        (
            ["--loss", "mcr2", "--classes", "4", "--per-class", "3", *DECAYS],
            "it looks at features, not at logits alone",
        ),
        ([*CE, *DECAYS, "--gamma", "2"], "cross_entropy has no setting 'gamma'; its settings: none"),
        ([*CE, *DECAYS, "--features", "2"], "num_features must be at least 3, got 2"),
        ([*CE, *DECAYS, "--bias", "decay"], "decay_bias must be given for a bias that is decayed, got nothing"),
        ([*CE, *DECAYS, "--bias", "maybe"], "--bias: expected one of 'none', 'free', 'decay', got maybe"),
        ([*CE, *DECAYS, "--nonnegative"], "nonnegative must be false: the answer with non-negative features"),
        ([*CE, "--decay-head", "nan", "--decay-features", "1"], "--decay-head: expected a finite number, got nan"),
        ([*CE, "--decay-head", "-1", "--decay-features", "1"], "decay_head must be a finite number of at least 0"),
        (
            ["--loss", "focal", "--counts", "4,4,5", *DECAYS],
            "classes must have one size here",
        ),
        (["--loss", "mse", "--counts", "4,x", *DECAYS], "--counts: expected whole numbers with commas between them"),
        (["--loss", "mse", "--counts", "4", *DECAYS], "counts must be those of two classes or more"),
        ([*CE, *DECAYS, "--arm", "a"], "--arm: expected --beside with the run that the training is of, got a alone"),
        (["--beside", "nowhere"], "no run folder nowhere"),
        (["--beside", "RUN", "--arm", "a"], "none, it is one training"),
        (["--beside", "FIXED"], "the head of the run must be learnable for free features and a free head"),
        (
            ["--beside", "UNDECAYED"],
            "decay_head must be given: the record of watch-collapse has none above 0",
        ),
        (["--beside", "UNNAMED"], "loss must be given: the record of watch-collapse does not name it"),
        (["--beside", "OLD"], "decay_features must be given: it cannot be fitted to watch-collapse"),
        (["--beside", "EMPTY"], "must hold measurements of the training split to predict them, got none"),
    ],
)
def test_bad_input_is_named(
    arguments: list[str], message: str, wide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"RUN": wide}
    for name in set(arguments) & {"FIXED", "UNDECAYED", "UNNAMED", "OLD", "EMPTY"}:
        places[name] = Path(shutil.copytree(wide, tmp_path / name))
        _spoilt(places[name], name)
    assert main(["predict", *(str(places.get(a, a)) for a in arguments)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def _spoilt(folder: Path, how: str) -> None:
    """A run that cannot be predicted, for one reason."""
    if how == "FIXED":
        changed(folder, head={"name": "simplex_etf"})
    elif how == "UNDECAYED":
        changed(folder, weight_decay=0.0)
    elif how == "UNNAMED":
        changed(folder, loss=None)
    elif how == "EMPTY":
        RunFolder(folder).series_file.write_text("")
    else:
        rows = []
        for row in RunFolder(folder).observations():
            kept = {name: one for name, one in row.result.measurements.items() if name != "feature_norm"}
            result = row.result.model_copy(update={"measurements": kept})
            rows.append(row.model_copy(update={"result": result}).model_dump_json() + "\n")
        RunFolder(folder).series_file.write_text("".join(rows))
