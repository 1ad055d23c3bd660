"""Layers measured in one pass: the same numbers as from features taken out by hand."""

from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor

import collapselab
from collapselab.core.errors import InputError
from collapselab.experiments import Observed, Probe, looking
from collapselab.experiments.looking import Places, look
from collapselab.experiments.probe import observed
from collapselab.metrics import REGISTRY
from collapselab.records import Observation
from collapselab.training import Training
from collapselab.training.data.digits import Digits
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.networks.cnn import CNN
from collapselab.training.optimisers import SGD
from collapselab.training.penalties.nearest_centre import NearestCentre
from collapselab.training.plan import Plan
from collapselab.training.schedules import StepSchedule
from tolerances import IDENTITY

CPU = torch.device("cpu")


def training(**changes: Any) -> Training:
    data = Digits(samples_per_class=10).load(torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    network = CNN(widths=(4, 6)).build(data.shape, data.num_classes)
    plan = Plan(
        epochs=2,
        batch_size=50,
        drop_last=True,
        loss=CrossEntropy(),
        optimiser=SGD(learning_rate=0.05),
        schedule=StepSchedule(),
        **changes,
    )
    return Training(network, data, plan, order=torch.Generator().manual_seed(1), device=CPU)


def rows_of(made: Training, places: Places) -> list[Observation]:
    return [event.observation for event in observed(made, places=places) if isinstance(event, Observed)]


def by_hand(made: Training, stage: str, x: Tensor) -> Tensor:
    """Output of a stage, by calling the stages one after the other."""
    made.network.eval()
    with torch.no_grad():
        for name, module in made.network.body.named_children():
            x = module(x)
            if name == stage:
                return x
    raise AssertionError(stage)


@pytest.mark.parametrize("pooling", ["mean", "flatten"])
def test_layers_by_hand(pooling: Any) -> None:
    made = training()
    rows = rows_of(made, Places(("*",), pooling))
    stages = [name for name, _ in made.network.body.named_children()]
    assert [(row.split, row.layer) for row in rows] == [
        (split, layer) for split in ("train", "test") for layer in ("", *stages)
    ]
    for row in rows:
        if not row.layer:
            continue
        samples = made.data.train if row.split == "train" else made.data.test
        h = by_hand(made, row.layer, samples.x)  # pyright: ignore[reportArgumentType]
        h = h.mean(tuple(range(2, h.ndim))) if h.ndim > 2 and pooling == "mean" else h.reshape(len(h), -1)
        expected = collapselab.measure((h, samples.y), metrics=["cdnv", "ncc_accuracy", "nc1_trace_ratio"])
        for name, found in expected.measurements.items():
            assert row.result[name] == pytest.approx(found.value, rel=1e-5)  # the mean of float32 in another order
        assert row.result.conditions.num_features == h.shape[1]
        assert not any({"head", "bias"} & set(REGISTRY[name].needs) for name in row.result.measurements)
        assert row.result.conditions.layer == (
            f"output of body.{row.layer}, {'mean over places' if pooling == 'mean' else 'all places'}"
        )


def test_the_classifier_s_features_are_those_of_measure() -> None:
    made = training()
    rows = {row.split: row for row in rows_of(made, Places(("*",))) if not row.layer}
    for split, samples in (("train", made.data.train), ("test", made.data.test)):
        expected = collapselab.measure(made.network, samples.batches(), split=split, layer="head", num_classes=10)
        found = rows[split].result
        assert found.conditions == expected.conditions
        assert found.measurements.keys() == expected.measurements.keys()
        for name, value in expected.measurements.items():
            assert found.measurements[name].value == (
                None if value.value is None else pytest.approx(value.value, rel=IDENTITY.rtol)
            )


def test_one_pass_over_the_data_for_all_layers() -> None:
    made = training()
    seen: list[int] = []
    made.network.body.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    rows_of(made, Places(("*",)))
    assert sum(seen) == len(made.data.train) + len(made.data.test)


def test_looking_leaves_the_training_as_it_was() -> None:
    """With and without layers the weights end the same, also with a loss that looks at layers itself."""
    ends = []
    for layers in ((), ("*",)):
        made = training(penalty=NearestCentre(strength=0.1))
        events = list(Probe.on(CPU).watch(made, at=(0, 1), layers=layers))
        losses = [e.observation.loss for e in events if isinstance(e, Observed) and not e.observation.layer]
        ends.append((losses, {name: tensor.clone() for name, tensor in made.network.state_dict().items()}))
        assert made.network.training
    assert ends[0][0] == ends[1][0]
    assert all(torch.equal(ends[0][1][name], ends[1][1][name]) for name in ends[0][1])


def test_wide_layers_are_spared_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "WIDEST", 20)
    made = training()
    for row in rows_of(made, Places(("*",), "flatten")):
        wide = bool(row.layer) and row.result.conditions.num_features > 20
        undefined = row.result.measurements["nc1_pinv"].undefined
        assert (undefined == "needs the pooled within-class scatter, which was not accumulated") == wide
        assert ("coding_rate" in row.result.measurements) != wide
        assert row.result.measurements["ncc_accuracy"].value is not None


def test_features_that_do_not_fit_go_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows_of(training(), Places(("*",)))
    monkeypatch.setattr(looking, "_BUDGET", 0)
    after = rows_of(training(), Places(("*",)))
    assert {row.result.conditions.features_again for row in after} == {"memory-map"}
    assert [row.result.measurements for row in after] == [row.result.measurements for row in before]


def test_only_some_metrics_and_layers() -> None:
    made = training()
    stages = [name for name, _ in made.network.body.named_children()]
    events = Probe.on(CPU).watch(made, layers=(stages[1], stages[0]), metrics=["cdnv", "nc3_duality"])
    rows = [event.observation for event in events if isinstance(event, Observed)]
    assert [row.layer for row in rows] == ["", stages[0], stages[1]] * 2
    assert [list(row.result.measurements) for row in rows[:2]] == [["cdnv", "nc3_duality"], ["cdnv"]]


def test_training_flags_are_put_back_after_an_error() -> None:
    made = training()
    made.network.train()
    with torch.no_grad():
        made.network.head.weight.fill_(float("nan"))
    with ExitStack() as caches, pytest.raises(collapselab.core.errors.CollapselabError):
        look(made, made.data.train, places=Places(), caches=caches)
    assert made.network.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ("nowhere",)}, "layers must be stages of the body or modules in them, layer1, .*, got 'nowhere'"),
        ({"layers": ("layer1.9",)}, r"modules in them, layer1\.0, layer1\.1, .*, got 'layer1\.9'"),
        ({"layers": ("layer9",)}, "got 'layer9'; did you mean layer"),
        ({"layers": ("",)}, "modules in them, .*, got ''"),
        ({"layers": "*"}, r"layers must be a tuple of names, got the string '\*'"),
        ({"pooling": "max"}, "pooling must be one of mean, tokens, first_token, flatten, got 'max'"),
        ({"metrics": ["nc9"]}, "no metric is called 'nc9'"),
    ],
)
def test_what_is_not_there_is_noticed_before_the_first_step(options: Any, message: str) -> None:
    made = training()
    with pytest.raises((InputError, LookupError), match=message):
        next(Probe.on(CPU).watch(made, at=(2,), **options))
    assert made.step == 0


def test_modules_inside_stages_by_hand() -> None:
    """Each comes after what it is made of, and beside ``*``; the numbers are those of its own output."""
    made = training()
    first, *others = [name for name, _ in made.network.body.named_children()]
    inside = [name for name, _ in made.network.body.get_submodule(first).named_children()][:2]
    rows = rows_of(made, Places((f"{first}.{inside[1]}", "*", f"{first}.{inside[0]}")))
    train = [row for row in rows if row.split == "train" and row.layer]
    assert [row.layer for row in train] == [*(f"{first}.{name}" for name in inside), first, *others]
    h = made.data.train.x
    assert isinstance(h, Tensor)
    made.network.eval()
    for row, name in zip(train, inside, strict=False):
        with torch.no_grad():
            h = made.network.body.get_submodule(f"{first}.{name}")(h)
        expected = collapselab.measure((h.mean((2, 3)), made.data.train.y), metrics=["cdnv", "nc1_trace_ratio"])
        for metric, found in expected.measurements.items():
            assert row.result[metric] == pytest.approx(found.value, rel=1e-5)
        assert row.result.conditions.layer == f"output of body.{first}.{name}, mean over places"
