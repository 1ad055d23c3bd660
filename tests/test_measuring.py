"""The public door gives the same numbers whichever way the evidence comes in, and leaves training undisturbed."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from collapselab import ClassStats, LabelledFeatures, LinearHead, OnlineStats, feature_tap, measure, metrics
from collapselab.core.errors import InputError, UndefinedMetric, UnknownName
from collapselab.evidence import FeatureFile, write_features
from collapselab.records import Measurements
from networks import Cnn, Cosine, batches, mlp, seeded
from tolerances import EXACT, IDENTITY


def data(samples: int = 60, classes: int = 3) -> TensorDataset:
    generator = torch.Generator().manual_seed(5)
    y = torch.arange(samples) % classes
    return TensorDataset(torch.randn(samples, 4, generator=generator) + 3 * nn.functional.one_hot(y, 4), y)


def loader(**options) -> DataLoader:
    return DataLoader(data(), **{"batch_size": 16, **options})


def features_of(model: nn.Sequential) -> LabelledFeatures:
    x, y = data().tensors
    with torch.no_grad():
        return LabelledFeatures(model[:-1](x), y, 3)


def values(measured: Measurements) -> dict[str, float | str]:
    return {name: m.undefined if m.value is None else m.value for name, m in measured.measurements.items()}


def assert_alike(one: Measurements, other: Measurements) -> None:
    left, right = values(one), values(other)
    assert list(left) == list(right)
    for name, value in left.items():
        if isinstance(value, str):
            assert value == right[name]
        else:
            # Sums in another order; differences of numbers near 1 keep the rounding of what they were subtracted from.
            IDENTITY.floor(1.0).check(right[name], value)
    assert one.per_class.keys() == other.per_class.keys()


# ------------------------------------------------------------------------------------------------ ways in


def test_a_model_and_its_features_give_the_same():
    model = mlp()
    whole = measure(model, loader())
    h = features_of(model)
    head = LinearHead(model[-1].weight, model[-1].bias)
    for given in (h, (h.h, h.y), (h.h.numpy(), h.y.numpy()), (h.h.tolist(), h.y.tolist())):
        if isinstance(given, tuple) and isinstance(given[0], list):
            given = (np.asarray(given[0], dtype=np.float32), given[1])
        assert_alike(measure(given, head=head), whole)
    assert_alike(measure(FeatureFile(h, head)), whole)
    assert_alike(measure(h, head=(model[-1].weight, model[-1].bias)), whole)
    assert_alike(measure(h, head=model[-1]), whole)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_gives_the_same(tmp_path, suffix):
    model = mlp()
    path = tmp_path / f"features{suffix}"
    write_features(path, features_of(model), LinearHead(model[-1].weight, model[-1].bias))
    assert_alike(measure(path), measure(model, loader()))
    assert_alike(measure(str(path)), measure(model, loader()))


def test_moments_give_what_needs_no_features():
    h = features_of(mlp())
    online = OnlineStats(3)
    for part in h.chunks(7):
        online.update(part.h, part.y)
    whole, moments, streamed = measure(h), measure(ClassStats.of(h)), measure(online)
    assert_alike(moments, streamed)
    assert moments["nc1_pinv"] == whole["nc1_pinv"]
    assert "only their moments were given" in str(moments.measurements["ncc_accuracy"].undefined)
    assert "no" in str(moments.measurements["nc3_duality"].undefined)  # no head was given
    assert moments.conditions.feature_dtype == "unknown"


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 60}, {"shuffle": True}])
def test_any_batching_and_order(options):
    model = mlp()
    # Batches of one row take another matrix product, so features differ in their last bits.
    IDENTITY.times(1e4).check(measure(model, loader(**options))["nc1_pinv"], measure(model, loader())["nc1_pinv"])


@pytest.mark.parametrize("how", ["memory", "memory-map", "replay"])
def test_features_a_second_time(how):
    model = mlp()
    measured = measure(model, loader(), features_again=how)
    assert measured.conditions.features_again == how
    assert_alike(measured, measure(model, loader()))


def test_memory_up_to_a_budget():
    model = mlp()
    assert measure(model, loader()).conditions.features_again == "memory"
    spilled = measure(model, loader(), memory_budget=100)
    assert spilled.conditions.features_again == "memory-map"
    assert_alike(spilled, measure(model, loader()))


def test_features_are_kept_only_if_needed(monkeypatch):
    from collapselab.evidence import FeatureCache

    monkeypatch.setattr(FeatureCache, "append", lambda *_: pytest.fail("nothing asked for the features"))
    measured = measure(mlp(), loader(), metrics=["nc1_pinv"])
    assert measured.conditions.features_again == "not needed"


def test_the_scatter_is_kept_only_if_needed(monkeypatch):
    kept = []
    original = OnlineStats.__init__

    def watched(self, *args, **kwargs):
        kept.append(kwargs["scatter"])
        original(self, *args, **kwargs)

    monkeypatch.setattr(OnlineStats, "__init__", watched)
    measure(mlp(), loader(), metrics=["nc1_pinv"])
    measure(mlp(), loader(), metrics=["accuracy"])
    assert kept == [True, False]


def test_one_shot_iterators():
    model = mlp()
    whole = measure(model, loader())
    assert_alike(measure(model, iter(loader())), whole)
    assert_alike(measure(model, ((x, y) for x, y in loader())), whole)
    with pytest.raises(InputError, match=r"one-shot iterator \(generator\); use 'memory' or 'memory-map'"):
        measure(model, ((x, y) for x, y in loader()), features_again="replay")
    # nothing asks for the features a second time
    measure(model, iter(loader()), features_again="replay", metrics=["nc1_pinv"])


def test_a_second_pass_over_other_data_is_noticed():
    generator = torch.Generator().manual_seed(0)

    class Augmented(list):
        def __iter__(self):
            return ((x + torch.randn(x.shape, generator=generator), y) for x, y in super().__iter__())

    with pytest.raises(InputError, match="gave other features than the first"):
        measure(mlp(), Augmented(loader()), features_again="replay")


# ------------------------------------------------------------------------------------------------ what is recorded


def test_conditions_and_provenance_of_a_model():
    measured = measure(mlp(), loader(), split="train")
    c = measured.conditions
    assert (c.split, c.source, c.layer, c.mode) == ("train", "Sequential", "4", "eval")
    assert (c.num_samples, c.num_classes, c.num_features, c.counts) == (60, 3, 6, (20, 20, 20))
    assert (c.feature_dtype, c.accumulation_dtype, c.autocast, c.warnings) == ("float32", "float64", False, ())
    assert measured.provenance is not None
    assert (measured.provenance.device, measured.provenance.dtype) == ("cpu", "float32")
    assert set(measured.declarations) == set(measured.measurements) | set(measured.per_class)
    assert Measurements.model_validate_json(measured.model_dump_json()) == measured


def test_every_metric_is_measured_by_default():
    measured = measure(mlp(), loader())
    assert set(measured.measurements) | set(measured.per_class) == set(metrics.REGISTRY)


def test_only_what_was_asked_for():
    measured = measure(mlp(), loader(), metrics=["ncc_accuracy", "nc1_pinv", "ncc_accuracy"])
    assert list(measured.measurements) == ["ncc_accuracy", "nc1_pinv"]


def test_ignored_rows_are_counted():
    x, y = data().tensors
    masked = torch.where(torch.arange(60) < 10, -100, y)
    pairs = list(zip(x.split(8), masked.split(8), strict=True))  # the first batch is ignored whole
    model = mlp()
    measured = measure(model, pairs, ignore_index=-100)
    assert (measured.conditions.num_samples, measured.conditions.num_ignored) == (50, 10)
    plain = measure(model, [(x[10:], y[10:])])
    IDENTITY.times(1e4).check(measured["nc1_pinv"], plain["nc1_pinv"])
    h = features_of(model).h
    given = measure((h, masked), ignore_index=-100)
    assert given.conditions.num_ignored == 10
    with pytest.raises(InputError, match="pass ignore_index=-100"):
        measure(model, pairs)
    with pytest.raises(InputError, match="at least one label must differ from ignore_index=-100"):
        measure(model, [(x, torch.full((60,), -100))], ignore_index=-100)


def test_train_mode_is_recorded_with_a_warning():
    c = measure(seeded(Cnn), batches(1, 6, 6), mode="train").conditions
    assert c.mode == "train"
    assert any("measured in train mode" in sentence for sentence in c.warnings)


def test_autocast_is_recorded_with_a_warning():
    model = mlp()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain, asked = measure(model, loader()), measure(model, loader(), allow_autocast=True)
    assert (plain.conditions.autocast, plain.conditions.feature_dtype) == (False, "float32")
    assert (asked.conditions.autocast, asked.conditions.feature_dtype) == (True, "bfloat16")
    said = " | ".join(asked.conditions.warnings)
    assert "measured under autocast" in said
    assert "features are bfloat16" in said
    assert_alike(plain, measure(model, loader()))


def test_a_loader_that_leaves_samples_out_is_noted():
    c = measure(mlp(), loader(shuffle=True, drop_last=True)).conditions
    assert any("drops the last incomplete batch" in sentence for sentence in c.warnings)


def test_a_layer_that_is_no_classifier():
    measured = measure(mlp(), loader(), layer="3")
    assert "no" in str(measured.measurements["nc3_duality"].undefined)
    assert any("does not compute W h + b" in sentence for sentence in measured.conditions.warnings)
    cosine = measure(nn.Sequential(nn.Linear(4, 8), seeded(Cosine)), loader())
    assert cosine.measurements["accuracy"].value is None
    given = measure(nn.Sequential(nn.Linear(4, 8), seeded(Cosine)), loader(), head=torch.ones(3, 8))
    assert given.measurements["accuracy"].value is not None


def test_a_single_output_gives_no_classifier():
    x, y = data().tensors
    measured = measure(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1), nn.Flatten(0)), [(x, y % 2)])
    assert measured.conditions.num_classes == 2
    assert measured.measurements["accuracy"].value is None
    assert any("has a single output" in sentence for sentence in measured.conditions.warnings)


def test_classes_never_seen_are_listed():
    x, y = data().tensors
    c = measure(mlp(4), [(x, y)]).conditions
    assert (c.num_classes, c.classes, c.empty_classes) == (4, (0, 1, 2), (3,))


def test_more_classes_than_the_head_has_rows():
    with pytest.raises(InputError, match="head must have 5 rows or more"):
        measure(mlp(), loader(), num_classes=5)


def test_undefined_is_an_error_when_asked_for_as_a_number():
    measured = measure((torch.randn(6, 2), torch.arange(6) % 2), metrics=["accuracy"])
    with pytest.raises(UndefinedMetric, match="needs the linear classifier"):
        _ = measured["accuracy"]
    with pytest.raises(UnknownName, match="was not measured"):
        _ = measured["nc1_pinv"]


def test_progress_goes_to_standard_error(capsys):
    measure(mlp(), loader(), progress=True, metrics=["nc1_pinv"])
    out, err = capsys.readouterr()
    assert out == ""
    assert "measuring" in err


# ------------------------------------------------------------------------------------------------ during training


def trained(*, measured: bool) -> tuple[list[Tensor], tuple]:
    """Three epochs of a loop with batch-norm, dropout, shuffling and random augmentation from three generators."""
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global state is what is tested
    torch.manual_seed(1)
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3)))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    shuffled = loader(shuffle=True)
    tap = feature_tap(model)
    for _ in range(3):
        for x, y in shuffled:
            optimiser.zero_grad()
            noise = random.random() + np.random.rand()  # noqa: NPY002
            nn.functional.cross_entropy(model(x + noise), y).backward()
            optimiser.step()
            if measured:
                kept = [p.grad.clone() for p in model.parameters()]
                for mode in ("eval", "train"):
                    measure(model, shuffled, mode=mode)
                measure(model, shuffled, layer=tap, features_again="replay")
                for p, gradient in zip(model.parameters(), kept, strict=True):
                    EXACT.check(p.grad, gradient)
                assert model.training
    return list(model.state_dict().values()), (random.random(), np.random.rand(), float(torch.rand(1)))  # noqa: NPY002


@pytest.mark.filterwarnings("ignore")
def test_training_goes_on_to_the_same_bits():
    trained(measured=False)  # first use imports modules of PyTorch that draw random numbers
    plain, after = trained(measured=False)
    watched, after_watching = trained(measured=True)
    for one, other in zip(plain, watched, strict=True):
        EXACT.check(other, one)
    assert after == after_watching


def test_an_exception_leaves_the_generators_as_they_were():
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            torch.rand(3)
            random.random()
            raise KeyboardInterrupt

    model = Broken()
    before = torch.get_rng_state(), random.getstate()
    with pytest.raises(KeyboardInterrupt):
        measure(model, loader())
    EXACT.check(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_a_tap_is_used_again_without_a_probe():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.calls = mlp(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.net(x)

    model = Counting()
    tap = feature_tap(model)
    whole = measure(model, loader(), layer=tap)
    assert model.calls == 5  # four batches, and the first once more to find the layer
    again = measure(model, loader(), layer=tap)
    assert model.calls == 9
    assert values(again) == values(whole)


def test_a_tap_keeps_its_own_settings():
    model = seeded(Cnn)
    tap = feature_tap(model, mode="train")
    assert measure(model, batches(1, 6, 6), layer=tap).conditions.mode == "train"
    with pytest.raises(InputError, match="belong to the tap"):
        measure(model, batches(1, 6, 6), layer=tap, allow_autocast=True)
    with pytest.raises(InputError, match="belongs to another model"):
        measure(seeded(Cnn), batches(1, 6, 6), layer=tap)
