"""Quantities by their names: in recipes, in records, and in a run that is interrupted."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import small_quantity
from collapselab.core.errors import InputError, Interrupted
from collapselab.experiments import Observed, resume_experiment, run_experiment
from collapselab.experiments.config import recipe_of
from collapselab.experiments.recipes.train import Train
from collapselab.records import RunFolder
from collapselab.training.data.digits import Digits
from collapselab.training.networks.mlp import MLP
from tiny_run import TINY, kept

TRAIN = Train(
    data=Digits(samples_per_class=8), network=MLP(widths=(12, 8)), epochs=2, batch_size=20, measurements=1, seed=3
)


@pytest.fixture(autouse=True)
def name() -> Iterator[str]:
    """A quantity that is there for a while."""
    with small_quantity.registered() as name:
        yield name


@pytest.mark.parametrize("recipe", [TINY, TRAIN], ids=["watch-collapse", "train"])
def test_a_recipe_measures_what_it_names(recipe: Any, name: str, tmp_path: Path) -> None:
    asked = dataclasses.replace(recipe, quantities=(name,))
    run = run_experiment(asked, tmp_path / "run")
    assert run.config["quantities"] == [name]
    assert recipe_of(run) == asked
    assert run.declarations["largest_logit"] == small_quantity.LARGEST
    assert run.declarations["mean_logits"] == small_quantity.MEANS
    rows = RunFolder(tmp_path / "run").observations()
    assert all(("largest_logit" in row.result.measurements) == (row.split == "train") for row in rows)
    k = len(rows[0].result.conditions.classes)
    for epoch in (0, asked.epochs):
        assert RunFolder(tmp_path / "run").read_snapshot(epoch)["matrix.mean_logits"].shape == (k, k)


def test_an_interrupted_run_goes_on_to_the_same_bits(name: str, tmp_path: Path) -> None:
    asked = dataclasses.replace(TINY, quantities=(name,))
    run_experiment(asked, tmp_path / "whole")

    def interrupting(event: Any) -> None:
        if isinstance(event, Observed) and event.observation.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        run_experiment(asked, tmp_path / "halves", listener=interrupting)
    resume_experiment(tmp_path / "halves")
    assert kept(tmp_path / "halves") == kept(tmp_path / "whole")


def test_what_is_measured_changes_nothing_of_the_training(name: str, tmp_path: Path) -> None:
    run_experiment(TINY, tmp_path / "without")
    run_experiment(dataclasses.replace(TINY, quantities=(name,)), tmp_path / "with")
    assert RunFolder(tmp_path / "with").weights_file().read_bytes() == (
        RunFolder(tmp_path / "without").weights_file().read_bytes()
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("logit_sice",), "quantities: no quantity is called 'logit_sice'; did you mean 'logit_size'"),
        (("logit_size", "logit_size"), "quantities must name each quantity once, got 'logit_size' twice"),
        ("logit_size", "quantities must be a list of names of quantities, got 'logit_size'"),
        ((3,), r"quantities must be a list of names of quantities, got \(3,\)"),
    ],
)
@pytest.mark.parametrize("recipe", [TINY, TRAIN], ids=["watch-collapse", "train"])
def test_names_are_checked_at_the_door(recipe: Any, given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(recipe, quantities=given)
