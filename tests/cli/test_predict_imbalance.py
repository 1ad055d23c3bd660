"""`predict` under imbalance: counts however they are told, budgets, runs that were balanced, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collapselab.cli import main
from collapselab.records import RunFolder
from collapselab.records.prediction import read_prediction
from collapselab.theory._imbalance.grouped_solve import Solved
from collapselab.theory.layer_peeled import LayerPeeled

Said = Callable[..., dict[str, Any]]

COUNTS = "5000,5000,5000,5000,5000,50,50,50,50,50"
LOSS = ("predict", "--loss", "cross_entropy")
BUDGETS = ("--budget-features", "5", "--budget-head", "1")
DECAYS = ("--decay-head", "5e-3", "--decay-features", "1e-3")
TRAIN = (
    *("train", "--data", "digits", "--network", "mlp", "--network.widths", "[16, 12]", "--epochs", "2"),
    *("--measurements", "2", "--imbalance.profile", "step", "--imbalance.ratio", "20"),
)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on classes of two sizes."""
    folder = tmp_path_factory.mktemp("uneven") / "run"
    assert main([*TRAIN, "--out", str(folder)]) == 0
    return folder


def changed(folder: Path, to: Path, **config: Any) -> str:
    """A copy of a run with other settings in its record."""
    shutil.copytree(folder, to)
    run = RunFolder(to).read()
    RunFolder(to).write(run.model_copy(update={"config": {**run.config, **config}}))
    return str(to)


def test_the_example_of_the_document(said: Said) -> None:
    document = said(*LOSS, "--counts", COUNTS, *BUDGETS)
    assert document["minority_collapse_threshold"] == pytest.approx(12.192, abs=5e-4)
    assert set(document["gram"]) == {"weights", "means", "logits"}
    assert {len(row) for row in document["gram"]["weights"]} == {len(document["gram"]["weights"])} == {10}
    assert document["geometry"]["weights"]["sizes"] == [5, 5]
    assert document["geometry"]["groups"] == [[0, 5], [1, 5]]
    assert document["imbalance"]["merged"] == [[50, 5]]
    assert {one["name"] for one in document["imbalance"]["remedies"]} >= {"none", "oversampling", "class_weights"}
    assert (document["settings"]["budget_features"], document["settings"]["budget_head"]) == (5.0, 1.0)
    assert set(document["declarations"]) == set(document["predicts"])


def test_the_text_says_who_merges_and_what_helps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LOSS, "--counts", COUNTS, *BUDGETS]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for said in (
        "budget of head 1, of features 5; bias none",
        "From a ratio of 12.192 on, the small classes have one class vector (minority collapse); here it is 8.202",
        "A weight of their losses above 8.202 would tell them apart.",
        "Classes with one class vector: 5 of 50 samples.",
        "as it is 1 7.58679 0 5 5",
        "fixed simplex head -0.111111 1 2.48452 0 0",
    ):
        assert said in text, said


def test_counts_are_told_by_labels_and_by_profiles(tmp_path: Path, said: Said) -> None:
    y = np.repeat(np.arange(4), (40, 40, 4, 4))
    np.savez(tmp_path / "y.npz", y=y)
    np.save(tmp_path / "y.npy", y)
    (tmp_path / "y.csv").write_text(",".join(map(str, y)))
    (tmp_path / "y.txt").write_text("\n".join(map(str, y)))
    expected = said(*LOSS, "--counts", "40,40,4,4", *BUDGETS)
    for name in ("y.npz", "y.npy", "y.csv", "y.txt"):
        assert said(*LOSS, "--labels", str(tmp_path / name), *BUDGETS)["predicts"] == expected["predicts"]
    step = ("--classes", "4", "--per-class", "40", "--imbalance.profile", "step", "--imbalance.ratio", "10")
    assert said(*LOSS, *step, *BUDGETS)["counts"] == [[40, 2], [4, 2]]


def test_beside_an_uneven_run_sizes_come_from_its_record(uneven: Path, said: Said) -> None:
    document = said("predict", "--beside", str(uneven))
    assert document["model"] == "imbalanced_cross_entropy"
    assert document["counts"] == [[120, 5], [6, 5]]
    end = RunFolder(uneven).observations()[-1]
    course = document["beside"]["courses"]["minority_cosine_weights"]
    assert (
        course["values"][-1]
        == [r for r in RunFolder(uneven).observations() if r.split == "train"][-1].result["minority_cosine_weights"]
    )
    assert document["predicts"].keys() >= {"minority_cosine_weights", "merged_classifiers", "tail_group_cosine_means"}
    assert document["imbalance"]["remedies"]
    assert end.result.conditions.num_classes == 10


def test_balanced_losses_are_other_class_sizes(uneven: Path, tmp_path: Path, said: Said) -> None:
    ran = changed(uneven, tmp_path / "over", balance={"oversample": True, "class_weights": "none", "beta": 0.999})
    document = said("predict", "--beside", ran)
    assert (document["model"], document["counts"]) == ("cross_entropy", [[120, 10]])
    assert document["predicts"]["minority_cosine_weights"] == pytest.approx(-1 / 9)
    assert "by oversampling or by weights" in " ".join(document["beside"]["notes"])
    ran = changed(uneven, tmp_path / "inverse", balance={"oversample": False, "class_weights": "inverse"})
    document = said("predict", "--beside", ran)
    assert document["counts"] == [[63, 10]]
    ran = changed(uneven, tmp_path / "some", balance={"oversample": False, "class_weights": "effective", "beta": 0.9})
    sizes = [size for size, _ in said("predict", "--beside", ran)["counts"]]
    assert 6 < sizes[1] < 63 < sizes[0] < 120


def test_weights_beside_a_decay_of_features_are_weights(uneven: Path, tmp_path: Path, said: Said) -> None:
    parts = {"balance": {"class_weights": "inverse"}, "penalty": {"name": "feature_decay", "decay_features": 0.01}}
    document = said("predict", "--beside", changed(uneven, tmp_path / "run", **parts))
    assert document["model"] == "weighted_cross_entropy"
    assert document["settings"]["decay_features"] == pytest.approx(0.01 / 630)
    assert document["imbalance"]["remedies"] == []
    assert "loss" not in document["beside"]["courses"]
    document = said("predict", "--beside", str(tmp_path / "run"), "--loss", "mse", "--bias", "none")
    assert any("weights of classes" in note for note in document["beside"]["notes"])


def test_a_prediction_is_kept_for_the_report(uneven: Path, tmp_path: Path, said: Said) -> None:
    folder = Path(shutil.copytree(uneven, tmp_path / "run"))
    document = said("predict", "--beside", str(folder), "--keep")
    assert document["written"] == [str(RunFolder(folder).prediction_file)]
    assert read_prediction(RunFolder(folder).prediction_file).minimum == document["minimum"]
    page = Path(said("report", str(folder))["page"]).read_text()
    assert "Beside theory" in page
    assert "make it again" not in page
    rows = RunFolder(folder).series_file.read_text().splitlines(keepends=True)
    RunFolder(folder).series_file.write_text("".join(rows[:-2]))
    assert "make it again" in Path(said("report", str(folder))["page"]).read_text()
    RunFolder(folder).clear()
    assert not RunFolder(folder).prediction_file.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--counts", "5,0,3", *BUDGETS], "counts[1] must be an integer of at least 1, got 0"),
        (["--counts", "5,-1,3", *DECAYS], "counts[1] must be an integer of at least 1, got -1"),
        (["--counts", "5,2.5", *BUDGETS], "--counts: expected whole numbers with commas between them, got '5,2.5'"),
        (["--counts", "5", *BUDGETS], "counts must be those of two classes or more, got (5,)"),
        (["--counts", "5,4", *BUDGETS, *DECAYS], "decay_head must not be given beside budgets"),
        (
            ["--counts", "5,4", "--budget-head", "1"],
            "budget_features must be given beside the other budget, got nothing",
        ),
        (
            ["--counts", "5,4", "--budget-head", "0", "--budget-features", "1"],
            "budget_head must be a finite number above 0",
        ),
        (["--counts", "5,4,3", "--features", "1", *BUDGETS], "num_features must be at least 2, the rank of the best"),
        (["--counts", "5,4", *BUDGETS, "--bias", "free"], "bias must not be given beside budgets"),
        (["--counts", "5,4", "--labels", "y.npy", *BUDGETS], "--labels: expected one way to tell the sizes of classes"),
        (["--labels", "y.npy", *BUDGETS], "no file y.npy"),
        (["--labels", "y.doc", *BUDGETS], "y.doc: files of labels are .npz, .safetensors"),
        (["--labels", "GAP", *BUDGETS], "every class must have samples, got none of class 1 of 3"),
        (["--labels", "WORDS", *BUDGETS], "must hold whole numbers: invalid literal"),
        (["--labels", "BELOW", *BUDGETS], "y must lie in 0..1, got -1 at index 1"),
        (["--labels", "NOTHING", *BUDGETS], "y must hold labels, got none"),
        (["--labels", "BROKEN", *BUDGETS], "is not a complete .npy file"),
        (["--labels", "NAMELESS", *BUDGETS], "must hold an array 'y' (N,), got ['z']"),
        (["--labels", "REAL", *BUDGETS], "y must be integers, got"),
        (["--classes", "4", "--imbalance.profile", "step", *BUDGETS], "--per-class must be given beside"),
        (["--counts", "4,5", "--imbalance.ratio", "3", *BUDGETS], "--imbalance.ratio: expected --imbalance.profile"),
        (["--counts", "4,5", *BUDGETS, "--keep"], "--keep: expected --beside with a run of one training"),
        (["--beside", "RUN", *BUDGETS], "--budget-head: expected decays beside a run"),
    ],
)
def test_bad_input_is_named(
    arguments: list[str], message: str, uneven: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"RUN": uneven} | {name: tmp_path / f"{name}.csv" for name in ("GAP", "WORDS", "BELOW", "NOTHING")}
    for name, text in (("GAP", "0,2,2"), ("WORDS", "0,one"), ("BELOW", "1,-1"), ("NOTHING", "\n")):
        places[name].write_text(text)
    places |= {"BROKEN": tmp_path / "b.npy", "NAMELESS": tmp_path / "z.npz", "REAL": tmp_path / "r.npy"}
    places["BROKEN"].write_bytes(b"\x93NUMPY")
    np.savez(places["NAMELESS"], z=np.arange(3))
    np.save(places["REAL"], np.array([0.5, 1.0]))
    assert main([*LOSS, *(str(places.get(a, a)) for a in arguments)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_solver_that_stops_early_gives_no_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    solved = LayerPeeled((9, 9, 2, 2), 4).solution.solved
    stopped = Solved(solved.logits, solved.value, 0.5, "stopped", solved.price, 3)
    monkeypatch.setattr("collapselab.theory.layer_peeled.solve", lambda program: stopped)
    assert main([*LOSS, "--counts", "9,9,2,2", *BUDGETS]) == 1
    captured = capsys.readouterr()
    assert "the solver stopped after 3 steps, at most 0.5 above the minimum: not an optimum" in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")
