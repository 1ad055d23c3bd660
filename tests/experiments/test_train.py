"""Every part there is, once through the recipe `train`: trained, measured, and built again from its record."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.config import recipe_of
from collapselab.experiments.recipes.train import Train
from collapselab.records import RunFolder
from collapselab.training.data import DATA
from collapselab.training.data.augmentation import Augmentation
from collapselab.training.data.balance import Balance
from collapselab.training.data.digits import Digits
from collapselab.training.data.imbalance import Imbalance
from collapselab.training.data.labels import Labels
from collapselab.training.data.subsample import Subsample
from collapselab.training.heads import HEADS, Neck
from collapselab.training.losses import LOSSES
from collapselab.training.networks import NETWORKS
from collapselab.training.networks.mlp import MLP
from collapselab.training.optimisers import OPTIMISERS
from collapselab.training.penalties import PENALTIES
from collapselab.training.schedules import SCHEDULES, StepSchedule
from collapselab.training.stop import Stop

TINY = Train(
    data=Digits(samples_per_class=8), network=MLP(widths=(16, 12)), epochs=2, batch_size=20, measurements=1, seed=3
)

FOREIGN = ("timm", "torchvision", "transformers")
"""Networks of other libraries need the name of a model; they have tests of their own."""

SMALL: dict[str, dict[str, Any]] = {
    "vgg": {"depth": 11, "width": 4},
    "resnet": {"depth": 20, "width": 4},
    "wide_resnet": {"depth": 10, "widen": 1},
    "densenet": {"depth": 40, "growth": 4},
    "templates1d": {"samples_per_class": 20, "test_per_class": 10},
    "gaussian": {"samples_per_class": 20, "test_per_class": 10},
    "geomnist": {"samples_per_class": 20, "test_per_class": 10},
    "mnist1d": {"samples_per_class": 20},
}
"""Settings that make a part small."""


def finished(recipe: Train, folder: Path) -> Path:
    """The folder of a run that is whole: measured at its ends, finite, and its record gives the recipe again."""
    run = run_experiment(recipe, folder)
    assert run.status == "done"
    assert recipe_of(run) == recipe
    rows = RunFolder(folder).observations()
    assert [(row.epoch, row.split) for row in rows if not row.layer][:2] == [(0, "train"), (0, "test")]
    assert rows[-1].epoch == run.epochs_done
    for row in rows:
        assert math.isfinite(row.loss)
        assert row.result["nc1_pinv"] > 0
    return folder


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, tmp_path: Path) -> None:
    finished(dataclasses.replace(TINY, loss=LOSSES[name].make()), tmp_path / "run")


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties(name: str, tmp_path: Path) -> None:
    finished(dataclasses.replace(TINY, penalty=PENALTIES[name].make()), tmp_path / "run")


@pytest.mark.parametrize("name", HEADS)
def test_heads(name: str, tmp_path: Path) -> None:
    neck = Neck(linear=11, centre="mean", normalise=True, radius=3.0)
    finished(dataclasses.replace(TINY, head=HEADS[name].make(), neck=neck), tmp_path / "run")


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers(name: str, tmp_path: Path) -> None:
    """Without batch normalisation, for which not all are defined."""
    network = MLP(widths=(16, 12), batch_norm=False)
    plain = dataclasses.replace(TINY, network=network, schedule=StepSchedule(()), optimiser=OPTIMISERS[name].make())
    finished(plain, tmp_path / "run")


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str, tmp_path: Path) -> None:
    finished(dataclasses.replace(TINY, schedule=SCHEDULES[name].make(), warmup_epochs=0.5), tmp_path / "run")


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in (*FOREIGN, "convnet1d", "lenet")])
def test_networks(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name].make(**SMALL.get(name, {}))
    finished(dataclasses.replace(TINY, network=network, epochs=1), tmp_path / "run")


@pytest.mark.parametrize("name", [name for name, choice in DATA.items() if choice.make.comes_along])
def test_data(name: str, tmp_path: Path) -> None:
    data = DATA[name].make(**SMALL.get(name, {}))
    network = NETWORKS["convnet1d" if name in ("mnist1d", "templates1d") else "mlp"].make()
    finished(dataclasses.replace(TINY, data=data, network=network, epochs=1), tmp_path / "run")


CHANGES: dict[str, dict[str, Any]] = {
    "noisy labels": {"labels": Labels(noise=0.2)},
    "random labels": {"labels": Labels(random=True)},
    "coarse labels": {"labels": Labels(coarse=3)},
    "fewer samples": {"subsample": Subsample(per_class=5)},
    "long tail, oversampled": {
        "imbalance": Imbalance("exponential", ratio=4),
        "balance": Balance(oversample=True),
    },
    "step, weighted": {
        "imbalance": Imbalance("step", ratio=4),
        "balance": Balance(class_weights="effective"),
    },
    "augmentation": {"augmentation": Augmentation(crop=1, flip=True, noise=0.1)},
    "bfloat16 in pieces, clipped": {"precision": "bfloat16", "micro_batch": 7, "clip_norm": 1.0},
    "float64": {"precision": "float64"},
    "only the head decays": {"decay_on": "head"},
    "all stages, by steps": {"layers": ("*",), "clock": "steps", "measurements": 3},
}


@pytest.mark.parametrize("change", CHANGES)
def test_settings(change: str, tmp_path: Path) -> None:
    finished(dataclasses.replace(TINY, **CHANGES[change]), tmp_path / "run")


def test_a_stop_rule_ends_the_run_early(tmp_path: Path) -> None:
    recipe = dataclasses.replace(TINY, epochs=50, stop=Stop(zero_error_epochs=2))
    run = RunFolder(finished(recipe, tmp_path / "run")).read()
    assert 2 <= run.epochs_done < 50
    assert any("no training error for 2 epochs" in note for note in run.notes)
    last = RunFolder(tmp_path / "run").observations()[-1]
    assert last.epoch == run.epochs_done


def test_stages_are_measured_in_their_order(tmp_path: Path) -> None:
    rows = RunFolder(finished(dataclasses.replace(TINY, layers=("*",)), tmp_path / "run")).observations()
    assert [row.layer for row in rows if row.epoch == 0 and row.split == "train"] == ["", "layer1", "layer2"]
    last = {row.layer: row.result["nc1_pinv"] for row in rows if row.epoch == 2 and row.split == "train"}
    np.testing.assert_allclose(last[""], last["layer2"], rtol=1e-9)  # the last stage gives the features


def test_purposes_do_not_share_randomness(tmp_path: Path) -> None:
    """Other labels leave the split, the initial weights and the order as they were."""
    first = RunFolder(finished(TINY, tmp_path / "a")).observations()
    relabelled = dataclasses.replace(TINY, labels=Labels(random=True))
    second = RunFolder(finished(relabelled, tmp_path / "b")).observations()
    before = [next(row for row in rows if row.epoch == 0 and row.split == "test") for rows in (first, second)]
    assert before[0].result.measurements == before[1].result.measurements


BAD: list[tuple[dict[str, Any], str]] = [
    ({"clock": "hours"}, "clock must be one of epochs, steps, got 'hours'"),
    ({"pooling": "max"}, "pooling must be one of mean, tokens, first_token, flatten, got 'max'"),
    ({"layers": "layer1"}, "layers must be names of stages of the network, got 'layer1'"),
    ({"measurements": 0}, "measurements must be an integer of at least 1, got 0"),
    ({"precision": "float16"}, "precision must be one of float32, bfloat16, float64, got 'float16'"),
    ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
    ({"micro_batch": 4, "loss": LOSSES["supervised_contrastive"].make()}, "micro_batch must be None with a loss"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(TINY, **change)


LATER: list[tuple[dict[str, Any], str]] = [
    (
        {"layers": ("layer9",)},
        "modules in them, got 'layer9'; did you mean layer2 or layer1",
    ),
    ({"batch_size": 500}, "batch_size must be at most 80"),
    ({"head": HEADS["simplex_etf"].make(), "network": MLP(widths=(16, 8))}, "num_features must be"),
    ({"network": NETWORKS["convnet1d"].make()}, "network convnet1d needs inputs"),
    ({"optimiser": OPTIMISERS["noisy_gradient_descent"].make()}, "batch normalisation"),
]


@pytest.mark.parametrize(("change", "message"), LATER)
def test_what_does_not_fit_the_data_or_the_network(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        run_experiment(dataclasses.replace(TINY, **change), tmp_path / "run")
