"""`train`: parts as flags, and configurations that nest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import small_quantity
from collapselab.cli import main
from collapselab.experiments import REGISTRY
from collapselab.experiments.config import recipe_from, recipe_of
from collapselab.records import RunFolder

Said = Callable[..., dict[str, Any]]

QUICK = (
    *("--epochs", "2", "--measurements", "1", "--batch_size", "50"),
    *("--data.samples_per_class", "20", "--network.widths", "[16, 8]"),
)


def printed(said: Said, *arguments: str) -> dict[str, Any]:
    return said("train", *arguments, "--print_config")["config"]


def test_a_part_is_chosen_by_name_and_has_flags_of_its_own(said: Said) -> None:
    config = printed(
        said, "--loss", "mse", "--network.name", "cnn", "--network.widths", "[8, 4]", "--optimiser.momentum", "0"
    )
    assert config["loss"] == {"name": "mse"}
    assert config["network"]["name"] == "cnn"
    assert config["network"]["widths"] == [8, 4]
    assert config["optimiser"]["momentum"] == 0.0
    assert config["optimiser"]["learning_rate"] == REGISTRY["train"].cls().optimiser.learning_rate


def test_a_part_that_is_replaced_starts_from_its_own_defaults(said: Said) -> None:
    """The learning rate of 0.04 belongs to the SGD of the recipe."""
    assert printed(said, "--optimiser", "adam")["optimiser"]["learning_rate"] != 0.04


def test_a_configuration_file_in_both_forms_and_flags_over_it(tmp_path: Path, said: Said) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("loss: {name: focal, gamma: 1.5}\nhead: simplex_etf\nnetwork:\n  widths: [16, 8]\n  name: mlp\n")
    config = printed(said, "--config", str(file), "--epochs", "7")
    assert config["loss"] == {"name": "focal", "gamma": 1.5}
    assert config["head"]["name"] == "simplex_etf"
    assert config["network"]["widths"] == [16, 8]
    assert config["epochs"] == 7
    assert printed(said, f"--config={file}", "--loss.gamma", "3")["loss"]["gamma"] == 3.0
    assert printed(said, "--config", str(file), "--loss", "mse")["loss"] == {"name": "mse"}
    assert printed(said, "--config", str(file), "--loss", "focal")["loss"]["gamma"] == 1.5


def test_what_is_printed_is_read_back(tmp_path: Path, said: Said) -> None:
    first = printed(said, "--loss", "focal", "--penalty", "feature_decay", "--head", "simplex_etf", *QUICK)
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(first))
    assert printed(said, "--config", str(file)) == first
    assert printed(said, "--config", str(file), "--penalty", "none")["penalty"] == {"name": "none"}


def test_the_folder_holds_the_configuration_that_reproduces_it(tmp_path: Path, said: Said) -> None:
    first = said("train", *QUICK, "--loss", "mse", "--out", str(tmp_path / "a"))
    run = RunFolder(tmp_path / "a").read()
    assert run.config["loss"] == {"name": "mse"}
    assert run.config["penalty"] is None
    assert recipe_of(run) == recipe_from(REGISTRY["train"], run.config)
    file = tmp_path / "again.yaml"
    file.write_text(yaml.safe_dump(run.config))
    again = said("train", "--config", str(file), "--out", str(tmp_path / "b"))
    assert again["last"] == first["last"]
    assert (tmp_path / "a" / "series.jsonl").read_bytes() == (tmp_path / "b" / "series.jsonl").read_bytes()


@pytest.mark.parametrize("record", ["", "run.json"])
def test_a_run_is_the_configuration_of_the_next(record: str, tmp_path: Path, said: Said) -> None:
    """Named by its folder or its record; flags win, and a part that a flag replaces takes its settings along."""
    said("train", *QUICK, "--loss", "focal", "--loss.gamma", "1.5", "--seed", "3", "--out", str(tmp_path / "a"))
    config = str(tmp_path / "a" / record)
    said("train", "--config", config, "--out", str(tmp_path / "b"))
    assert RunFolder(tmp_path / "a").read().config == RunFolder(tmp_path / "b").read().config
    assert (tmp_path / "a" / "series.jsonl").read_bytes() == (tmp_path / "b" / "series.jsonl").read_bytes()
    assert printed(said, f"--config={config}", "--seed", "4")["seed"] == 4
    assert printed(said, "--config", config, "--epochs", "3")["loss"]["gamma"] == 1.5
    assert printed(said, "--config", config, "--loss", "mse")["loss"] == {"name": "mse"}


@pytest.mark.parametrize("record", ["", "run.json"])
def test_a_run_of_another_recipe_is_no_configuration(record: str, finished: Path, said: Said) -> None:
    message = said("train", "--config", str(finished / record), code=2)["error"]["message"]
    assert message == f"--config: {finished / record} must be a run of train, got one of watch-collapse"
    same = said("run", "watch-collapse", "--config", str(finished / record), "--print_config")["config"]
    assert same["epochs"] == RunFolder(finished).read().epochs


def test_a_folder_without_a_run_is_no_configuration(tmp_path: Path, said: Said) -> None:
    message = said("train", "--config", str(tmp_path), code=2)["error"]["message"]
    assert message == f"--config: {tmp_path} holds no run: there is no run.json in it"
    (tmp_path / "c.yaml").write_text("config: {epochs: 3}")
    message = said("train", "--config", str(tmp_path / "c.yaml"), code=2)["error"]["message"]
    assert message.startswith(f"--config: {tmp_path / 'c.yaml'} is not a run record: ")


def test_a_run_goes_on_with_its_own_parts(tmp_path: Path, said: Said) -> None:
    folder = str(tmp_path / "a")
    said("train", *QUICK, "--loss", "focal", "--loss.gamma", "1.5", "--out", folder)
    assert said("train", "--out", folder, "--resume", "--loss.gamma", "1.5")["run"]["status"] == "done"
    error = said("train", "--out", folder, "--resume", "--loss.gamma", "2", code=2)["error"]
    assert "loss.gamma was 1.5, now 2.0" in error["message"]
    error = said("train", "--out", folder, "--resume", "--loss", "mse", code=2)["error"]
    assert "loss was 'focal', now 'mse'" in error["message"]


BAD = [
    (["--loss", "focl"], "--loss: no loss is called 'focl'; did you mean focal?"),
    (["--loss=what"], "--loss: no loss is called 'what'; known: "),
    (["--loss.gamma", "2"], "--loss.gamma: loss cross_entropy has no such setting; it has none"),
    (["--network.width", "[8]"], "--network.width: network mlp has no such setting; did you mean widths?"),
    (["--penalty", "decay"], "--penalty: no penalty is called 'decay'"),
    (["--optimiser.momentum", "1.5"], "momentum must be a finite number of at least 0 and below 1, got 1.5"),
    (["--optimiser.learning_rate", "fast"], "--optimiser.learning_rate: expected a finite number, got fast"),
    (["--data", "arrays"], "data.path must name a file of arrays, got None"),
    (["--network.widths", "[]"], "network.widths must be one positive integer for each hidden layer, got ()"),
    (["--warmup_epochs", "9", "--epochs", "8"], "warmup_epochs must be at most 8, all epochs, got 9"),
    (["--epochs", "0"], "epochs must be an integer of at least 1, got 0"),
    (["--loss"], "--loss needs a value, got none"),
    (["--optimise", "sgd"], "no flag is called --optimise; did you mean --optimiser?"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_flags(arguments: list[str], message: str, said: Said) -> None:
    assert message in said("train", *arguments, code=2)["error"]["message"]


BAD_FILES = [
    ("loss: [mse]", "--config: loss must be a name or a mapping with the key name, got ['mse']"),
    ("loss: {gamma: 2}", "--config: loss must be a name or a mapping with the key name, got {'gamma': 2}"),
    ("loss: {name: focal, gama: 2}", "--config: no key is called 'loss.gama'; did you mean loss.gamma?"),
    ("los: mse", "--config: no key is called 'los'"),
    ("loss: {name: focal, gamma: x}", "gamma must be a finite number of at least 0, got 'x'"),
    ("loss: what", "no loss is called 'what'"),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_bad_files(text: str, message: str, tmp_path: Path, said: Said) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    assert message in said("train", "--config", str(file), code=2)["error"]["message"]


LATER = [
    (
        ["--network.widths", "[8, 3]", "--head", "simplex_etf"],
        "it is the last of network.widths, or neck.linear",
    ),
    (["--optimiser", "noisy_gradient_descent"], "BatchNorm1d at body.layer1.2; set network.batch_norm to false"),
    (
        ["--data", "hub", "--data.path", "./nowhere"],
        "data.path must be a file or a folder that exists, got",
    ),
    (["--head", "simplex_etf", "--decay_on", "head"], "decay_on must be another than head: the network has nothing of"),
]


@pytest.mark.parametrize(("arguments", "message"), LATER)
def test_what_the_parts_refuse_together_names_the_setting(
    arguments: list[str], message: str, tmp_path: Path, said: Said
) -> None:
    if "hub" in arguments:
        pytest.importorskip("datasets")
    assert message in said("train", *arguments, "--out", str(tmp_path / "a"), code=2)["error"]["message"]


def test_help_shows_the_settings_of_the_parts_that_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--loss", "focal", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: collapselab train ")
    assert "--loss.gamma" in text
    assert "--network.widths" in text


def test_sources_of_all_parts_are_cited(tmp_path: Path, said: Said) -> None:
    said("train", *QUICK, "--loss", "focal", "--out", str(tmp_path / "a"))
    assert "lin2017" in said("cite", str(tmp_path / "a"))["keys"][str(tmp_path / "a")]


def test_description_names_parts_with_their_settings(said: Said) -> None:
    fields = {field["name"]: field for field in said("describe", "train")["fields"]}
    assert fields["loss"]["type"] == "loss"
    assert fields["penalty"]["type"] == "penalty or none"
    assert fields["optimiser"]["default"]["learning_rate"] == 0.04


def test_quantities_are_named_by_a_flag_or_a_file(tmp_path: Path, said: Said, capsys: Any) -> None:
    file = tmp_path / "c.yaml"
    with small_quantity.registered() as name:
        first = said("train", *QUICK, "--quantities", f'["{name}"]', "--out", str(tmp_path / "a"))
        assert first["last"]["train"]["measurements"]["largest_logit"]["value"] > 0
        file.write_text(f"quantities: [{name}]\n")
        again = said("train", *QUICK, "--config", str(file), "--out", str(tmp_path / "b"))
        assert again["last"] == first["last"]
        assert main(["train", "--quantities", '["logit_sise"]']) == 2
        assert "no quantity is called 'logit_sise'; did you mean 'logit_size'" in capsys.readouterr().err


def test_a_quantity_is_listed_described_and_cited(said: Said, capsys: Any) -> None:
    with small_quantity.registered() as name:
        assert name in [entry["name"] for entry in said("list", "quantities")["quantities"]]
        document = said("describe", name)
        assert (document["kind"], document["splits"]) == ("quantity", ["train"])
        assert [one["name"] for one in document["numbers"]] == ["largest_logit"]
        assert [one["name"] for one in document["matrices"]] == ["mean_logits"]
        assert document["fields"] == [{"name": "per_class", "default": 3, "help": "Samples of each class."}]
        assert main(["describe", name]) == 0
        assert f"  collapselab train --quantities '[\"{name}\"]'" in capsys.readouterr().out.splitlines()
        assert said("cite", name)["keys"] == {name: ["papyan2020"]}


def test_described_quantities_tell_of_their_matrices(said: Said) -> None:
    document = said("describe", "local_elasticity")
    assert [one["name"] for one in document["matrices"]] == ["class_similarity", "class_jacobian_similarity"]
