"""`elasticity`: the network of a run rebuilt, any network by a file, and what is refused."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import tiny_arms
from collapselab.cli import main
from collapselab.core.errors import InputError
from collapselab.experiments import REGISTRY, run_experiment
from collapselab.experiments.config import config_of
from collapselab.experiments.elastic import Samples, measured
from collapselab.experiments.rebuilding import rebuilt
from collapselab.records import RunFolder, read_elasticity
from small_run import SMALL

Said = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that followed the elasticity of its network; only to be read."""
    folder = tmp_path_factory.mktemp("elastic") / "run"
    assert main(["run", "watch-collapse", *SMALL, "--quantities", '["local_elasticity"]', "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty samples of three classes of five; classes 1 and 3 are not there."""
    draw = np.random.default_rng(0)
    y = np.arange(40) % 3 * 2
    x = np.eye(5, 6)[y] + 0.4 * draw.normal(size=(40, 6))
    np.savez(tmp_path / "data.npz", x=x.astype(np.float32), y=y)
    return tmp_path / "data.npz"


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5))


def one_output() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def dead() -> nn.Module:
    layers = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 5, bias=False))
    for p in layers.parameters():
        nn.init.zeros_(p)
    return layers


def leaving() -> nn.Module:
    raise SystemExit(3)


def of_one() -> nn.Module:
    """Gives a tuple, as some networks of others do."""

    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (x,)

    return Pair()


def no_network() -> int:
    return 3


def failing() -> nn.Module:
    raise OSError("no such disk")


def slow_kernel(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Slow twin: gradients sample by sample, and every inner product."""
    rows = []
    for one, label in zip(x, y, strict=True):
        z = net(one[None])[0]
        k = len(z)
        read = z[0] if k == 1 else (z[label] - z.mean()) / np.sqrt((k - 1) / k)
        grads = torch.autograd.grad(read, list(net.parameters()))
        rows.append(np.concatenate([g.flatten().numpy() for g in grads]))
    return np.array([[np.dot(a, b) for b in rows] for a in rows])


def slow_classes(kernel: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Slow twin: means over pairs of different samples."""
    labels = sorted(set(y.tolist()))
    found = np.zeros((len(labels), len(labels)))
    for a, one in enumerate(labels):
        for b, other in enumerate(labels):
            pairs = [
                kernel[i, j] for i in range(len(y)) for j in range(len(y)) if y[i] == one and y[j] == other and i != j
            ]
            found[a, b] = sum(pairs) / len(pairs)
    return found


def test_a_run_is_seen_as_it_saw_itself(run: Path, said: Said) -> None:
    """The same samples, so the numbers of the last row; here in float64."""
    document = said("elasticity", str(run))
    (*_, last) = [row for row in RunFolder(run).observations() if row.split == "train"]
    for name, one in (("intra", "intra_similarity"), ("inter", "inter_similarity")):
        assert document["similarities"]["normalised_kernel"][name] == pytest.approx(last.result[one], abs=1e-5)
        whole = document["similarities"]["jacobian_similarity"][name]
        assert whole == pytest.approx(last.result[f"{name}_jacobian_similarity"], abs=1e-5)
    assert document["similarities"]["elasticity"]["intra"] == pytest.approx(last.result["intra_elasticity"], rel=1e-4)
    assert (document["kind"], document["split"], document["weights"]) == ("run", "train", "end of training")
    assert document["data"] == "digits"
    assert document["classes"] == list(range(10))
    assert len(document["rows"]["normalised_kernel"]) == 10


def test_numbers_are_those_of_the_definitions(data: Path, tmp_path: Path, said: Said) -> None:
    arrays = tmp_path / "all.safetensors"
    asked = (f"{__name__}:network", str(data), "--samples-per-class", "4", "--arrays", str(arrays))
    document = said("elasticity", *asked)
    held, kept = np.load(data), {name: tensor.numpy() for name, tensor in load_file(arrays).items()}
    x, y = held["x"][kept["rows"]], held["y"][kept["rows"]]
    assert kept["y"].tolist() == y.tolist()
    kernel = slow_kernel(network().double(), torch.from_numpy(x).double(), torch.from_numpy(y))
    own = np.diagonal(kernel)
    for name, wanted in (
        ("kernel", kernel),
        ("normalised_kernel", kernel / np.sqrt(np.outer(own, own))),
        ("relative_similarity", np.abs(kernel) / own[:, None]),
    ):
        np.testing.assert_allclose(kept[name], wanted, rtol=1e-9, atol=1e-12)
        matrix = slow_classes(wanted, y)
        found = document["similarities"]["elasticity" if name == "kernel" else name]
        np.testing.assert_allclose(found["matrix"], matrix, rtol=1e-9, atol=1e-12)
        assert found["intra"] == pytest.approx(np.trace(matrix) / 3, rel=1e-10)
        assert found["inter"] == pytest.approx((matrix.sum() - np.trace(matrix)) / 6, rel=1e-10, abs=1e-14)
        rows = document["rows"]["elasticity" if name == "kernel" else name]
        assert [row["own"] for row in rows] == pytest.approx(np.diagonal(matrix).tolist(), rel=1e-9)
    assert (document["classes"], document["counts"], document["num_classes"]) == ([0, 2, 4], [4, 4, 4], 5)
    assert document["reading"] == "own_residual"
    row = document["rows"]["normalised_kernel"][0]
    assert row["label"] == 0
    assert row["nearest"] in (2, 4)
    assert row["to_nearest"] >= row["others"]


def test_a_network_with_one_output_is_read_as_it_is(data: Path, said: Said) -> None:
    document = said("elasticity", f"{__name__}:one_output", str(data), "--samples-per-class", "3")
    assert (document["kind"], document["reading"]) == ("function", "single_logit")
    assert document["similarities"]["normalised_kernel"]["intra"] > 0
    assert document["declarations"]["elasticity"]["summary"].endswith("moves the output of one of the column's.")


def test_a_network_by_name_with_weights_is_that_of_the_run(run: Path, tmp_path: Path, said: Said) -> None:
    found = rebuilt(run)
    x, y = found.training.data.test.take(torch.arange(100))
    save_file({"x": x, "y": y}, tmp_path / "test.safetensors")
    asked = (str(tmp_path / "test.safetensors"), "--samples-per-class", "3", "--seed", "5")
    ours = said("elasticity", str(run), *asked)
    weights = str(run / "weights.safetensors")
    theirs = said("elasticity", "mlp", *asked, "--weights", weights, "--network", "{widths: [16, 8]}")
    assert theirs["similarities"] == ours["similarities"]
    assert (theirs["kind"], theirs["weights"], theirs["data"]) == ("network", "weights.safetensors", "test.safetensors")
    other = said("elasticity", "mlp", *asked, "--network", "{widths: [16, 8]}")
    assert other["weights"] == "as made"
    assert other["similarities"] != ours["similarities"]


def test_a_module_of_the_folder_one_is_in_will_do(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    """A console script finds its own folder, not that in which it was called."""
    (tmp_path / "found_beside.py").write_text("from torch import nn\n\ndef f():\n    return nn.Linear(6, 5)\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert said("elasticity", "found_beside:f", str(data))["num_parameters"] == 35
    assert sys.path == before
    del sys.modules["found_beside"]


def test_flags_may_stand_before_the_data(data: Path, said: Said) -> None:
    flags = ("--samples-per-class", "2", "--seed=3")
    found = said("elasticity", f"{__name__}:network", *flags, str(data))
    assert found["counts"] == [2, 2, 2]
    assert found["seed"] == 3
    after = said("elasticity", f"{__name__}:network", str(data), *flags)
    assert after["similarities"] == found["similarities"]


def test_feature_files_will_do(features: Path, said: Said) -> None:
    document = said("elasticity", "mlp", str(features), "--network", "{widths: [6], batch_norm: false}")
    assert document["counts"] == [10] * 4


def test_each_arm_of_a_run_has_a_network_of_its_own(tmp_path: Path, said: Said, capsys: Any) -> None:
    with tiny_arms.registered():
        run_experiment(tiny_arms.TinyArms(epochs=1), tmp_path / "arms")
        found = [said("elasticity", str(tmp_path / "arms"), "--arm", arm) for arm in ("adam", "sgd")]
        assert [one["arm"] for one in found] == ["adam", "sgd"]
        assert found[0]["similarities"] != found[1]["similarities"]
        for arguments, message in (
            ((), "arm must be given for .*arms, a run of several: adam, sgd"),
            (("--arm", "adm"), "arm must be one of those of .*arms .adam, sgd., got 'adm'"),
        ):
            _refused(capsys, str(tmp_path / "arms"), *arguments, message=message)


def test_what_is_written_is_read_back(run: Path, tmp_path: Path, said: Said) -> None:
    out, page = tmp_path / "e.json", tmp_path / "e.html"
    document = said("elasticity", str(run), "--split", "test", "--out", str(out), "--report", str(page))
    record = read_elasticity(out)
    assert {**record.model_dump(mode="json"), "rows": document["rows"], "written": [str(out), str(page)]} == {
        key: value for key, value in document.items()
    }
    assert "Local elasticity" in page.read_text()
    assert read_elasticity(str(out)) == record
    for old, new, message in (
        ('"kind": "run"', '"kind": "walk"', "is no record of elasticity: kind"),
        ('"schema_version": 1', '"schema_version": 2', "schema_version"),
        ('"seed"', '"sead"', "is no record of elasticity"),
    ):
        (tmp_path / "wrong.json").write_text(out.read_text().replace(old, new, 1))
        with pytest.raises(InputError, match=message):
            read_elasticity(tmp_path / "wrong.json")


def test_the_text_tells_means_and_classes(run: Path, capsys: Any) -> None:
    assert main(["elasticity", str(run), "--samples-per-class", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"digits, split train: 3 samples of each of 10 classes, seed {rebuilt(run).training.seed}"
    assert [line.split()[0] for line in lines[3:8]] == [
        "within",
        "normalised_kernel",
        "relative_similarity",
        "jacobian_similarity",
        "elasticity",
    ]
    assert lines[10].startswith("class 0")


def test_what_has_no_value_says_why(data: Path, said: Said, capsys: Any) -> None:
    asked = (f"{__name__}:dead", str(data))
    document = said("elasticity", *asked)
    why = "the gradient of sample 0 is zero: it has no direction"
    assert document["similarities"]["normalised_kernel"] == {
        "matrix": None,
        "intra": None,
        "inter": None,
        "undefined": why,
    }
    assert document["rows"]["normalised_kernel"] == []
    assert main(["elasticity", *asked]) == 0
    assert f"  normalised_kernel: {why}" in capsys.readouterr().out.splitlines()


def _refused(capsys: Any, *arguments: str, message: str) -> None:
    capsys.readouterr()
    assert main(["elasticity", *arguments]) == 2, arguments
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "DATA must be given beside a network, got 'nowhere' alone, which is no run folder"),
        (("mlq", "DATA"), "MODEL: no run folder and no network is called 'mlq'; did you mean mlp?"),
        (("mlp", "nope.npz"), "no file nope.npz"),
        (("net.pt", "DATA"), "MODEL: expected a network .* would run whatever code is in it"),
        (("no_such_module:f", "DATA"), "MODEL: expected package.module:function"),
        (("HERE:missing", "DATA"), "MODEL: expected package.module:function"),
        (("HERE:no_network", "DATA"), "must give a torch.nn.Module, got int"),
        (("HERE:failing", "DATA"), "must give a network, it raised OSError: no such disk"),
        (("HERE:leaving", "DATA"), "must give a network, it raised SystemExit: 3"),
        (("HERE:of_one", "DATA"), r"Pair must give logits \(n, k\), got tuple for 2 samples"),
        (("broken:f", "DATA"), "that Python can import, got broken:f: SyntaxError: "),
        (("..here:f", "DATA"), "that Python can import, got ..here:f: TypeError: "),
        (("mlp", "DATA", "--network", "{name: cnn}"), "--network: expected settings without a name, which is MODEL"),
        (("HERE:network", "DATA", "--out", "."), "--out: expected a file to write, got the folder ."),
        (("HERE:network", "DATA", "--report", "."), "--report: expected a file to write, got the folder ."),
        (("HERE:network", "DATA", "--arrays", "a.npz"), "--arrays: expected FILE.safetensors, got a.npz"),
        (("HERE:network", "DATA", "--network", "{}"), "--network: expected a network of collapselab by its name"),
        (("mlp", "DATA", "--network", "[3"), "--network: expected settings such as"),
        (("mlp", "DATA", "--network", "{width: 3}"), "network mlp has the settings widths, .*, got 'width'"),
        (("mlp", "DATA", "--weights", "nope.safetensors"), "--weights: no file nope.safetensors"),
        (("mlp", "DATA", "--weights", "DATA"), "--weights: expected a file in the safetensors format"),
        (("HERE:network", "DATA", "--weights", "OTHER"), "--weights: .* must hold the weights of this network"),
        (("mlp", "DATA", "--samples-per-class", "1"), "--samples-per-class: expected at least 2, got 1"),
        (("mlp", "DATA", "--seed", "-1"), "--seed: expected a number from 0, got -1"),
        (("mlp", "--samples-per-class", "3", "DATA", "extra"), "unexpected argument 'extra'"),
        (("mlp", "DATA", "--seed"), "--seed needs a value, got none"),
        (("mlp", "DATA", "--arm", "a"), "--arm: expected a run folder, got the network mlp"),
        (("RUN", "--arm", "a"), r"arm must be one of those of .* \(none, it is one training\), got 'a'"),
        (("RUN", "--weights", "w"), "--weights: expected MODEL with DATA, got the run"),
        (("RUN", "DATA", "--split", "test"), "--split: expected the data of the run, got those of"),
        (("RUN", "DATA"), r"Classifier must take inputs in float64 of shape \(6,\)"),
        (("RUN", "--split", "both"), "--split: expected one of 'train', 'test', got both"),
        (("HERE:network", "nan.npz"), r"DATA: nan.npz: x must be finite, got nan at index \(0, 0\)"),
        (("HERE:network", "bytes.npz"), "x must be as the network takes it, in floating point"),
        (("HERE:network", "flat.npz"), r"x must hold inputs \(N, ...\)"),
        (("HERE:network", "short.npz"), "y must be one per row: 8 rows, 7 labels"),
        (("HERE:network", "negative.npz"), "y must "),
        (("HERE:network", "alone.npz"), "must have at least 2 samples of each class, got 1 of class 1"),
        (("HERE:network", "same.npz"), "must have samples of at least two classes, got 1"),
        (("HERE:network", "beyond.npz"), "labels must lie in 0..4 as the network has 5 logits, got 5"),
        (("HERE:network", "nothing.npz"), r"must hold x \(N, ...\) and y \(N,\), got \['z'\]"),
    ],
)
def test_refused(
    arguments: tuple[str, ...],
    message: str,
    run: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("def f(:")
    x, y = np.ones((8, 6), dtype=np.float32), np.arange(8) % 2
    files: dict[str, dict[str, Any]] = {
        "nan": {"x": np.full((8, 6), np.nan, dtype=np.float32), "y": y},
        "bytes": {"x": np.ones((8, 6), dtype=np.uint8), "y": y},
        "flat": {"x": np.ones(8, dtype=np.float32), "y": y},
        "short": {"x": x, "y": y[:7]},
        "negative": {"x": x, "y": y - 1},
        "alone": {"x": x, "y": np.array([0] * 7 + [1])},
        "same": {"x": x, "y": 0 * y},
        "beyond": {"x": x, "y": 5 * y},
        "nothing": {"z": x},
    }
    for name, held in files.items():
        if arguments[1:2] == (f"{name}.npz",):
            np.savez(f"{name}.npz", **held)
    words = {"RUN": str(run), "DATA": str(data), "OTHER": str(run / "weights.safetensors")}
    _refused(capsys, *(words.get(a, a.replace("HERE", __name__)) for a in arguments), message=message)


def test_a_device_without_float64_is_refused(
    run: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("collapselab.training.environment.find_device", lambda name: torch.device(name))
    for what in ((str(run),), ("mlp", str(data))):
        _refused(capsys, *what, "--device", "mps", message="--device: expected one that computes in float64, got mps")


def test_runs_without_a_network_or_its_weights_are_refused(run: Path, tmp_path: Path, capsys: Any) -> None:
    record = RunFolder(run).read()
    RunFolder(tmp_path / "young").write(record)
    _refused(capsys, str(tmp_path / "young"), message="must have kept the weights of a training that has ended")
    solving = REGISTRY["softmax-codes"]
    config = config_of(solving.cls.smoke())
    RunFolder(tmp_path / "solved").write(record.model_copy(update={"name": solving.name, "config": config}))
    _refused(
        capsys, str(tmp_path / "solved"), message="a recipe that trains networks and keeps .* got one of softmax-codes"
    )
    other = record.model_copy(update={"config": record.config | {"widths": [12, 8]}})
    RunFolder(tmp_path / "other").write(other)
    (tmp_path / "other" / "weights.safetensors").write_bytes((run / "weights.safetensors").read_bytes())
    _refused(capsys, str(tmp_path / "other"), message="must hold the weights of the network of its record")


def test_a_run_that_is_older_than_a_setting_is_read_with_a_note(run: Path, tmp_path: Path, said: Said) -> None:
    """It cannot go on, but what it kept can be looked at."""
    record = RunFolder(run).read()
    config = {name: value for name, value in record.config.items() if name != "quantities"}
    RunFolder(tmp_path / "old").write(record.model_copy(update={"config": config}))
    (tmp_path / "old" / "weights.safetensors").write_bytes((run / "weights.safetensors").read_bytes())
    page = tmp_path / "old.html"
    old, new = said("elasticity", str(tmp_path / "old"), "--report", str(page)), said("elasticity", str(run))
    assert old["similarities"] == new["similarities"]
    assert old["notes"] == ["The run is older than the setting quantities: taken at the default."]
    assert new["notes"] == []
    assert old["notes"][0] in page.read_text()


def test_global_randomness_is_left_alone(run: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert main(["elasticity", str(run), "--samples-per-class", "2"]) == 0
    assert torch.equal(torch.get_rng_state(), before)


def test_a_line_says_that_it_takes_long(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    asked = ["elasticity", f"{__name__}:network", str(data), "--samples-per-class", "2"]
    assert main(asked) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("collapselab.cli.elasticity._MANY", 0)
    assert main(asked) == 0
    assert capsys.readouterr().err == "gradients of 6 samples by 101 parameters: this may take a while\n"


def test_samples_that_make_too_large_a_kernel_are_refused() -> None:
    with pytest.raises(InputError, match=r"samples_per_class must make at most 4 samples .* together, got 6"):
        measured(network(), Samples(torch.ones(6, 6), torch.arange(6) % 2, torch.arange(6)), seed=0, budget=1000)
