"""The tap finds the classifier or refuses, streams its input, and leaves the model as it was."""

import copy

import pytest
import torch
from torch import Tensor, nn

from collapselab.core.errors import InputError, UnknownName
from collapselab.evidence import FeatureTap, feature_tap
from networks import (
    Auxiliary,
    Breaks,
    Cnn,
    ConvHead,
    Cosine,
    Distilled,
    Functional,
    InPlace,
    Reused,
    SqueezeExcite,
    Transposed,
    batches,
    mlp,
    seeded,
)
from tolerances import EXACT


def collected(tap: FeatureTap, loader) -> tuple[Tensor, Tensor]:
    parts = list(tap.stream(loader))
    return torch.cat([h for h, _ in parts]), torch.cat([y for _, y in parts])


def state(model: nn.Module) -> list[tuple[str, bool, int, int]]:
    """Flags and hooks of every submodule."""
    return [(name, m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in model.named_modules()]


# ------------------------------------------------------------------------------------------------ what it finds


@pytest.mark.parametrize(
    ("make", "shape", "name", "text"),
    [
        (mlp, (4,), "4", "'4' (Linear, 6 -> 3, bias)"),
        (Cnn, (1, 6, 6), "classifier.3", "'classifier.3' (Linear, 5 -> 3, bias)"),
        (ConvHead, (1, 6, 6), "head", "'head' (Conv2d, 6 -> 3, bias)"),
        (InPlace, (4,), "fc", "'fc' (Linear, 8 -> 3, bias)"),
        (SqueezeExcite, (1, 6, 6), "fc", "'fc' (Linear, 6 -> 3, bias)"),
        (lambda: nn.Sequential(nn.Linear(4, 8), Transposed()), (4,), "1", "'1' (Transposed, 8 -> 3, bias)"),
        (lambda: nn.Sequential(nn.Linear(4, 8), Cosine()), (4,), "1", "'1' (Cosine, 8 features, not linear)"),
        (lambda: nn.Sequential(nn.Linear(4, 3, bias=False)), (4,), "0", "'0' (Linear, 4 -> 3, no bias)"),
        (lambda: nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3), nn.LogSoftmax(1)), (4,), "1", "'1' (Linear, 8 -> 3"),
    ],
)
def test_it_says_what_it_chose(make, shape, name, text):
    tap = feature_tap(seeded(make))
    layer = tap.probe(batches(*shape)[0])
    assert layer.name == name
    assert str(layer).startswith(text)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (mlp, (4,)),
        (ConvHead, (1, 6, 6)),
        (Cnn, (1, 6, 6)),
        (lambda: nn.Sequential(nn.Linear(4, 8), Transposed()), (4,)),
    ],
)
def test_head_and_features_give_the_logits(make, shape):
    model = seeded(make)
    loader = batches(*shape)
    tap = feature_tap(model)
    h, y = collected(tap, loader)
    logits = torch.cat([model.eval()(x) for x, _ in loader])
    head = tap.head()
    assert head is not None
    torch.testing.assert_close(head.logits(h), logits)
    EXACT.check(y, torch.cat([y for _, y in loader]))


def test_the_head_is_a_copy_of_the_weights_as_they_are():
    model = mlp()
    tap = feature_tap(model)
    tap.probe(batches(4)[0])
    before = tap.head()
    with torch.no_grad():
        model[4].weight.zero_()
    after = tap.head()
    assert before is not None
    assert after is not None
    assert float(before.weight.abs().sum()) > 0
    assert float(after.weight.abs().sum()) == 0


def test_operations_in_place_do_not_reach_the_features():
    model = seeded(InPlace)
    loader = batches(4)
    h, _ = collected(feature_tap(model), loader)
    EXACT.check(h, torch.cat([model.body(x).detach() for x, _ in loader]))


def test_tied_weights_are_named():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.out = nn.Embedding(7, 5), nn.Linear(5, 7, bias=False)
            self.out.weight = self.table.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.table(x))

    x = torch.arange(6).view(2, 3)
    layer = feature_tap(Tied()).probe((x, x))
    assert layer.tied_to == ("table",)
    assert str(layer) == "'out' (Linear, 5 -> 7, no bias, tied with 'table')"


def test_a_named_layer_may_be_of_any_kind():
    loader = batches(4)
    model = mlp()
    tap = feature_tap(model, "3")
    h, _ = collected(tap, loader)
    EXACT.check(h, torch.cat([model[:3](x).detach() for x, _ in loader]))
    assert tap.head() is None


def test_a_container_with_one_linear_layer_means_that_layer():
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.classifier = nn.Conv2d(1, 6, 6), nn.Sequential(nn.Flatten(), nn.Linear(6, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.classifier(self.body(x))

    tap = feature_tap(Nested(), "classifier")
    h, _ = collected(tap, batches(1, 6, 6))
    assert tap.layer.name == "classifier.1"
    assert tuple(h.shape) == (12, 6)


def test_a_container_with_several_linear_layers_gives_its_own_input():
    tap = feature_tap(seeded(Cnn), "classifier")
    h, _ = collected(tap, batches(1, 6, 6))
    assert tap.layer.name == "classifier"
    assert tuple(h.shape) == (12, 6)
    assert tap.head() is None


def test_dense_predictions_have_one_row_a_position():
    model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 3, 1))
    x = torch.randn(2, 1, 4, 5)
    y = torch.randint(0, 3, (2, 4, 5))
    tap = feature_tap(model)
    h, labels = collected(tap, [(x, y)])
    assert tuple(h.shape) == (40, 6)
    EXACT.check(labels, y.flatten())
    head = tap.head()
    assert head is not None
    torch.testing.assert_close(head.logits(h), model(x).detach().movedim(1, -1).reshape(-1, 3))


def test_several_heads_whose_outputs_are_hidden_layers_are_no_rivals():
    # widths 4 -> 3 -> 3: the hidden layer is as wide as the number of classes, and feeds the classifier
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.LogSoftmax(1))
    assert feature_tap(model).probe(batches(4)[0]).name == "2"


# ------------------------------------------------------------------------------------------------ what it refuses


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.species, self.colour = nn.Linear(4, 8), nn.Linear(8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.body(x)
        return {"species": self.species(h), "colour": self.colour(h)}


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (Heads, "more than one layer could be the classifier: 'species' (8 -> 3), 'colour' (8 -> 5); choose one with"),
        (Distilled, "more than one layer could be the classifier: 'head' (8 -> 3), 'head_dist' (8 -> 3)"),
        (Auxiliary, "more than one layer could be the classifier: 'fc' (8 -> 3), 'projection' (8 -> 5)"),
        (
            Functional,
            "the last linear layer 'body' (4 -> 8) cannot be the classifier of a model that returns [3] columns",
        ),
        (Reused, "layer 'fc' fired 2 times in one forward pass"),
        (nn.Identity, "no linear layer fired"),
        (
            lambda: nn.Sequential(nn.LazyLinear(3)),
            "uninitialised lazy parameters (0.weight): run one forward pass first",
        ),
        (lambda: torch.jit.script(mlp()), "got TorchScript, in which hooks never fire"),
        (lambda: "resnet18", "model must be a torch.nn.Module, got str"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:Lazy modules:UserWarning")
def test_it_refuses_and_says_why(make, fragment):
    with pytest.raises(InputError) as refused:
        collected(feature_tap(make()), batches(4))
    assert fragment in str(refused.value)


@pytest.mark.parametrize(("model", "layer"), [(Heads, "colour"), (Distilled, "head"), (Auxiliary, "fc")])
def test_a_name_settles_what_is_ambiguous(model, layer):
    tap = feature_tap(model(), layer)
    h, _ = collected(tap, batches(4))
    assert tap.layer.name == layer
    assert tuple(h.shape) == (12, 8)


def test_a_wrong_name_is_met_with_near_ones():
    with pytest.raises(UnknownName, match=r"no layer of Cnn is called 'clasifier.3'; did you mean 'classifier.3'"):
        feature_tap(Cnn(), "clasifier.3")
    with pytest.raises(UnknownName, match=r"linear layers: classifier.1, classifier.3"):
        feature_tap(Cnn(), "xyz")


def test_a_layer_that_does_not_run_is_refused():
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.aux = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x)

    assert feature_tap(Unused()).probe(batches(4)[0]).name == "fc"
    with pytest.raises(InputError, match="layer 'aux' did not fire in a forward pass"):
        collected(feature_tap(Unused(), "aux"), batches(4))


def test_one_label_a_sample_with_one_feature_a_position():
    model = nn.Linear(4, 3)
    with pytest.raises(InputError, match=r"sees one feature vector per position but there is one label per sample"):
        collected(feature_tap(nn.Sequential(model)), [(torch.randn(5, 7, 4), torch.zeros(5, dtype=torch.int64))])
    with pytest.raises(
        InputError, match=r"must see one feature vector per label, got features \(5, 4\), labels \(6,\)"
    ):
        collected(feature_tap(nn.Sequential(model)), [(torch.randn(5, 4), torch.zeros(6, dtype=torch.int64))])


def test_a_layer_that_stops_firing_is_noticed():
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.calls = nn.Linear(4, 3), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.fc(x) if self.calls < 3 else x[:, :3]

    with pytest.raises(InputError, match="layer 'fc' fired 0 times for one batch, expected once"):
        collected(feature_tap(Skips()), batches(4))


def test_an_empty_loader_is_refused():
    with pytest.raises(InputError, match="the loader gave no batch"):
        collected(feature_tap(mlp()), [])
    used = iter(batches(4))
    list(used)
    with pytest.raises(InputError, match="an iterator that was used up before"):
        collected(feature_tap(mlp()), used)


def test_the_layer_is_known_once_a_batch_has_passed():
    tap = feature_tap(mlp())
    with pytest.raises(InputError, match="once a batch has passed"):
        _ = tap.layer


def test_compiled_before_is_refused_and_the_original_is_fine():
    model = mlp()
    compiled = torch.compile(model, backend="eager")
    with pytest.raises(InputError, match=r"compiled before the tap was added.*model\._orig_mod"):
        feature_tap(compiled)
    assert feature_tap(compiled._orig_mod).probe(batches(4)[0]).name == "4"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="compiled parts can run eagerly from PyTorch 2.6")
def test_compiled_parts_run_as_they_were_written():
    plain, _ = collected(feature_tap(mlp()), batches(4))
    part = nn.Sequential(torch.compile(mlp(), backend="eager"), nn.Identity())
    whole = mlp()
    whole.compile(backend="eager")
    for model, name in ((part, "0._orig_mod.4"), (whole, "4")):
        model(batches(4)[0][0])
        tap = feature_tap(model)
        EXACT.check(collected(tap, batches(4))[0], plain)
        assert tap.layer.name == name


def test_compiled_parts_are_refused_where_they_cannot_run_as_they_were_written(monkeypatch):
    monkeypatch.delattr(torch.compiler, "set_stance", raising=False)
    with pytest.raises(InputError, match=r"part '1' of the model was compiled before .* use PyTorch 2\.6 or later"):
        feature_tap(nn.Sequential(nn.Identity(), torch.compile(mlp(), backend="eager")))
    model = mlp()
    model.compile(backend="eager")
    with pytest.raises(InputError, match="model was compiled before"):
        feature_tap(model)


# ------------------------------------------------------------------------------------------------ what it leaves behind


def test_flags_hooks_buffers_and_gradients_are_restored():
    model = seeded(Cnn)
    model.train()
    model.body[1].eval()  # frozen batch-norm in a training model
    model(torch.randn(4, 1, 6, 6)).sum().backward()
    before, weights = state(model), copy.deepcopy(model.state_dict())
    gradients = [p.grad.clone() for p in model.parameters()]
    collected(feature_tap(model), batches(1, 6, 6))
    assert state(model) == before
    EXACT.check(list(weights), list(model.state_dict()))
    for name, tensor in model.state_dict().items():
        EXACT.check(tensor, weights[name])
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        EXACT.check(p.grad, gradient)


def test_train_mode_moves_no_batch_statistics():
    model = seeded(Cnn).eval()
    before = copy.deepcopy(model.state_dict())
    tap = feature_tap(model, mode="train")
    h, _ = collected(tap, batches(1, 6, 6))
    again, _ = collected(feature_tap(model), batches(1, 6, 6))
    assert not torch.equal(h, again)  # dropout and batch statistics
    assert not any(m.training for m in model.modules())
    for name, tensor in model.state_dict().items():
        EXACT.check(tensor, before[name])


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_nothing_is_left_behind_by_an_exception(error, after):
    model = Breaks(error, after=after)
    before = state(model)
    with pytest.raises(type(error)):
        collected(feature_tap(model), batches(4))
    assert state(model) == before


def test_a_stream_that_is_given_up_leaves_nothing():
    model = seeded(Cnn).train()
    before = state(model)
    running = feature_tap(model).stream(batches(1, 6, 6))
    next(running)
    assert state(model) == before


def test_a_model_that_does_more_than_flags_in_train_is_switched_back():
    class Merges(nn.Linear):
        merged = False

        def train(self, mode: bool = True) -> "Merges":
            self.merged = not mode
            return super().train(mode)

    model = nn.Sequential(Merges(4, 3))
    collected(feature_tap(model), batches(4))
    assert model[0].merged is False
    assert model[0].training


# ------------------------------------------------------------------------------------------------ precision


def test_autocast_around_it_is_switched_off():
    model = mlp()
    plain, _ = collected(feature_tap(model), batches(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tap = feature_tap(model)
        h, _ = collected(tap, batches(4))
    EXACT.check(h, plain)
    assert not tap.autocast


def test_autocast_if_asked():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tap = feature_tap(mlp(), allow_autocast=True)
        h, _ = collected(tap, batches(4))
    assert h.dtype == torch.bfloat16
    assert tap.autocast


class CastsInside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.net(x)


def test_autocast_inside_the_model_is_refused_unless_asked():
    with pytest.raises(InputError, match=r"is bfloat16 though its weight is float32.*allow_autocast=True"):
        collected(feature_tap(CastsInside()), batches(4))
    tap = feature_tap(CastsInside(), allow_autocast=True)
    h, _ = collected(tap, batches(4))
    assert h.dtype == torch.bfloat16
    assert tap.autocast
    assert tap.head() is not None


def test_a_model_of_half_precision_is_measured_in_it():
    tap = feature_tap(mlp().to(torch.bfloat16))
    h, _ = collected(tap, [(x.bfloat16(), y) for x, y in batches(4)])
    assert h.dtype == torch.bfloat16
    assert tap.head() is not None
    assert not tap.autocast


# ------------------------------------------------------------------------------------------------ batches and wrappers


@pytest.mark.parametrize("key", ["labels", "label", "y"])
def test_mappings_with_labels(key):
    model = mlp()
    plain, _ = collected(feature_tap(model), batches(4))
    named = [{"input": x, key: y} for x, y in batches(4)]  # nn.Sequential calls it `input`
    foreign = [{"image": x, key: y.tolist()} for x, y in batches(4)]
    EXACT.check(collected(feature_tap(model), named)[0], plain)
    EXACT.check(collected(feature_tap(model), foreign)[0], plain)


def test_several_inputs():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.fc(a + b)

    data = batches(4)
    plain, _ = collected(feature_tap(Two()), [((x, x), y) for x, y in data])
    mapped, _ = collected(feature_tap(Two()), [({"a": x, "b": x}, y) for x, y in data])
    flat, _ = collected(feature_tap(Two()), [{"a": x, "b": x, "labels": y} for x, y in data])
    arrays, _ = collected(feature_tap(Two()), [({"a": x.numpy(), "b": x.numpy()}, y.numpy()) for x, y in data])
    for h in (mapped, flat, arrays):
        EXACT.check(h, plain)
    EXACT.check(plain, torch.cat([2 * x for x, _ in data]))


@pytest.mark.parametrize(
    ("batch", "fragment"),
    [
        (torch.zeros(2, 4), "loader must give pairs (inputs, labels) or mappings with 'labels' or 'label' or 'y'"),
        ((torch.zeros(2, 4),), "got a tuple of 1"),
        ((torch.zeros(2, 4), torch.zeros(2), torch.zeros(2)), "got a tuple of 3; to choose from a longer batch"),
        ({"x": torch.zeros(2, 4), "target": torch.zeros(2)}, "got the keys ['target', 'x']"),
        ((torch.zeros(2, 4), torch.zeros(2)), "labels must be integers, got Tensor of shape (2,) and dtype float32"),
        ((torch.zeros(2, 4), ["cat", "dog"]), "labels must hold numbers"),
        ((torch.zeros(2, 4), torch.zeros(2, 3, dtype=torch.int64)), "must see one feature vector per label"),
    ],
)
def test_batches_of_another_kind_are_refused(batch, fragment):
    with pytest.raises(InputError) as refused:
        collected(feature_tap(mlp()), [batch])
    assert fragment in str(refused.value)


def test_data_parallel_is_looked_through():
    model = mlp()
    wrapped = nn.DataParallel(model)
    plain, _ = collected(feature_tap(model), batches(4))
    for layer in ("auto", "4", "module.4"):
        tap = feature_tap(wrapped, layer)
        EXACT.check(collected(tap, batches(4))[0], plain)
        assert tap.layer.name == "4"
        assert tap.belongs_to(wrapped)
        assert tap.belongs_to(model)


def test_names_inside_and_outside_of_the_wrapper():
    inner = nn.Sequential()
    inner.add_module("module", mlp())
    for layer in ("module.2", "module.module.2"):
        assert feature_tap(nn.DataParallel(inner), layer).probe(batches(4)[0]).name == "module.2"


def test_a_wrapper_of_ones_own():
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = mlp()

        def forward(self, x: Tensor) -> Tensor:
            return self.module(x)

    assert feature_tap(Wrapper()).probe(batches(4)[0]).name == "module.4"
    assert feature_tap(Wrapper(), "module.2").probe(batches(4)[0]).name == "module.2"
