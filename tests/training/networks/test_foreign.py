"""Models of other libraries: tiny ones of transformers from local folders; torchvision and timm by their layout."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from collapselab.core.errors import InputError, MissingExtra
from collapselab.evidence import feature_tap
from collapselab.training import NETWORKS
from collapselab.training._choice import chosen_from, settings_of
from collapselab.training.networks import Classifier, Network
from collapselab.training.networks.from_timm import Timm
from collapselab.training.networks.from_torchvision import Torchvision
from collapselab.training.networks.from_transformers import Transformers
from collapselab.training.pooling import pooled
from collapselab.training.watched import Watched
from tolerances import EXACT

# ------------------------------------------------------------------------------------------------ their layouts


class Residual(nn.Module):
    """torchvision's and timm's ResNet: a pooled feature vector and one linear layer called ``fc``, ReLUs in place."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.relu, self.avgpool, self.fc = nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Linear(6, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.avgpool(self.relu(self.bn1(self.conv1(x)))), 1))

    def reset_classifier(self, num_classes: int) -> None:
        assert num_classes == 0
        self.fc = nn.Identity()


class Deep(nn.Module):
    """torchvision's VGG: dense layers in a ``Sequential`` whose last one is the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.avgpool = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)), nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(nn.Linear(16, 8), nn.ReLU(True), nn.Dropout(), nn.Linear(8, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Squeezed(nn.Module):
    """torchvision's SqueezeNet: a 1 x 1 convolution classifies every place, ReLU and pooling follow."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.classifier = nn.Sequential(nn.Conv2d(4, 1000, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)


class Auxiliary(Residual):
    """torchvision's Inception: a second classifier's logits come along in training."""

    def forward(self, x: Tensor) -> Any:
        logits = super().forward(x)
        return (logits, logits) if self.training else logits


class Hidden(nn.Module):
    """timm's MobileNetV3: layers between the pooling and the classifier, so ``num_features`` is not what comes out."""

    num_features = 6

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv_stem, self.global_pool = nn.Conv2d(channels, 6, 3), nn.AdaptiveAvgPool2d(1)
        self.conv_head, self.flatten, self.classifier = nn.Conv2d(6, 10, 1), nn.Flatten(), nn.Linear(10, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.conv_head(self.global_pool(self.conv_stem(x))).relu()))

    def reset_classifier(self, num_classes: int) -> None:
        assert num_classes == 0
        self.classifier = nn.Identity()


class Sized(Residual):
    """A vision transformer: made for one size of image."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2] == 224, f"Input height ({x.shape[2]}) doesn't match model (224)."
        return super().forward(x)


TORCHVISION = {"resnet18": Residual, "vgg11": Deep, "squeezenet1_0": Squeezed, "inception_v3": Auxiliary}
TIMM = {"resnet18": Residual, "mobilenetv3_small_050": Hidden, "vit_tiny_patch16_224": Sized}


@pytest.fixture
def _libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for torchvision and timm with the functions that are called of them."""
    torchvision, models, timm = ModuleType("torchvision"), ModuleType("torchvision.models"), ModuleType("timm")
    vars(models).update(list_models=lambda: list(TORCHVISION), get_model=lambda name, weights: TORCHVISION[name]())
    vars(torchvision).update(models=models)
    vars(timm).update(
        is_model=lambda name: name in TIMM, create_model=lambda name, *, pretrained, in_chans: TIMM[name](in_chans)
    )
    for module in (torchvision, models, timm):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def built(network: Network, shape: tuple[int, ...], *, seed: int = 0) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network.build(shape, 5)


def keeps_the_contract(network: Network, x: Tensor, num_features: int, stages: list[str]) -> None:
    """Shapes, stages, head, settings, gradients, loss, state and seed, as for the networks of this library."""
    shape, y = tuple(x.shape[1:]), torch.arange(len(x)) % 5
    model, other = built(network, shape), built(network, shape, seed=1)
    assert chosen_from(NETWORKS, settings_of(NETWORKS, network)) == network
    assert [name for name, _ in model.body.named_children()] == stages
    assert all(module.training for module in model.modules())
    assert model.features(x).shape == (len(x), num_features)
    assert model.head.in_features == num_features
    assert feature_tap(model).probe((x, y)).name == "head"
    optimiser, losses = torch.optim.SGD(model.parameters(), lr=0.01), []
    for _ in range(4):
        loss = nn.functional.cross_entropy(model.eval()(x), y)  # without dropout the loss falls for certain
        optimiser.zero_grad()
        loss.backward()
        assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[3] < losses[0]
    other.load_state_dict(model.state_dict())
    EXACT.check(other.eval()(x).detach(), model(x).detach())
    again = built(network, shape).state_dict()
    for name, values in built(network, shape).state_dict().items():
        EXACT.check(again[name], values)


def images(channels: int = 3) -> Tensor:
    return torch.randn(10, channels, 16, 16, generator=torch.Generator().manual_seed(2))


# ------------------------------------------------------------------------------------------------ torchvision, timm


@pytest.mark.usefixtures("_libraries")
@pytest.mark.parametrize(
    ("network", "channels", "given"),
    [
        (Torchvision("resnet18"), 3, 6),
        (Torchvision("vgg11"), 3, 8),
        (Timm("resnet18"), 1, 6),
        (Timm("mobilenetv3_small_050"), 3, 10),
    ],
)
def test_vision_models(network: Torchvision | Timm, channels: int, given: int) -> None:
    keeps_the_contract(network, images(channels), given, ["backbone"])
    projected = type(network)(network.model, num_features=3)
    keeps_the_contract(projected, images(channels), 3, ["backbone", "project"])


@pytest.mark.usefixtures("_libraries")
@pytest.mark.parametrize("make", [Torchvision, Timm])
@pytest.mark.parametrize("num_classes", [1000, 7])
def test_weights_from_a_file(make: Callable[..., Network], num_classes: int, tmp_path: Path) -> None:
    """A file of the whole model, whatever its number of classes; one of another model is refused."""
    source, file = Residual(), str(tmp_path / "model.safetensors")
    source.fc = nn.Linear(6, num_classes)
    save_file(source.state_dict(), file)
    expected, given = source.eval(), images()
    source.fc = nn.Identity()
    EXACT.check(built(make("resnet18", weights=file), (3, 16, 16)).body.eval()(given), expected(given))
    for wrong in ({"conv1.weight": torch.zeros(6, 3, 3, 3)}, source.state_dict() | {"layer9.weight": torch.zeros(1)}):
        save_file(wrong, file)
        with pytest.raises(InputError, match=r"weights must be those of (torchvision|timm)'s resnet18: "):
            built(make("resnet18", weights=file), (3, 16, 16))


@pytest.mark.usefixtures("_libraries")
@pytest.mark.parametrize("make", [Torchvision, Timm])
def test_pickles_are_not_read(make: Callable[..., Network], tmp_path: Path) -> None:
    file = str(tmp_path / "model.pth")
    torch.save(Residual().state_dict(), file)
    with pytest.raises(InputError, match=r"weights must be a file in the safetensors format, got '.*model\.pth'"):
        built(make("resnet18", weights=file), (3, 16, 16))
    with pytest.raises(InputError, match="no such file"):
        built(make("resnet18", weights=str(tmp_path / "nothing.safetensors")), (3, 16, 16))


@pytest.mark.usefixtures("_libraries")
@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (Torchvision("resnet19"), (3, 16, 16), r"model must be a name from torchvision\.models\.list_models\(\)"),
        (Timm("resnet19"), (3, 16, 16), r"model must be a name from timm\.list_models\(\), got 'resnet19'"),
        (Torchvision("squeezenet1_0"), (3, 16, 16), "squeezenet1_0 must end in a linear layer, got Conv2d"),
        (Torchvision("resnet18"), (1, 8, 8), r"resnet18 does not take inputs of shape \(1, 8, 8\): .*channels"),
        (Timm("vit_tiny_patch16_224"), (3, 32, 32), r"does not take inputs of shape \(3, 32, 32\): Input height"),
        (Torchvision("resnet18"), (1, 40), r"network torchvision needs inputs \(channels, height, width\)"),
        (Timm("resnet18"), (40,), r"network timm needs inputs \(channels, height, width\)"),
    ],
)
def test_what_vision_models_refuse(network: Network, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network.build(shape, 5)


@pytest.mark.usefixtures("_libraries")
def test_a_second_classifier_in_training_is_refused() -> None:
    model = built(Torchvision("inception_v3"), (3, 16, 16))
    with pytest.raises(InputError, match="must give one row a sample, Auxiliary gave tuple"):
        model(images())


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_a_library_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=f"a model of {name} needs {name}: pip install {name}$"):
        NETWORKS[name].make("resnet18").build((3, 16, 16), 5)


def test_a_library_that_does_not_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match=r"timm does not work beside torch .*: operator torchvision::nms"):
        Timm("resnet18").build((3, 16, 16), 5)


@pytest.mark.parametrize("make", [Torchvision, Timm, Transformers])
@pytest.mark.parametrize("model", ["", None, 7])
def test_a_model_needs_a_name(make: Any, model: object) -> None:
    with pytest.raises(InputError, match=f"model must be a name .*, got {model!r}"):
        make(model)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "best"}, "weights must be one of pretrained, random, got 'best'"),
        ({"num_features": 0}, "num_features must be an integer of at least 1, got 0"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Transformers("somewhere", **settings)


# ------------------------------------------------------------------------------------------------ transformers

of_transformers = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # what that library warns of is its affair


def _resnet(library: Any) -> Any:
    config = library.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")
    return library.ResNetForImageClassification(config)


def _vit(library: Any) -> Any:
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    return library.ViTForImageClassification(library.ViTConfig(**sizes, image_size=16, patch_size=8, num_labels=4))


def _bert(library: Any) -> Any:
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = library.BertConfig(**sizes, vocab_size=11, max_position_embeddings=16, num_labels=4)
    return library.BertForSequenceClassification(config)


def _roberta(library: Any) -> Any:
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = library.RobertaConfig(**sizes, vocab_size=11, max_position_embeddings=16, num_labels=4)
    return library.RobertaForSequenceClassification(config)


def _gpt2(library: Any) -> Any:
    config = library.GPT2Config(vocab_size=11, n_positions=8, n_embd=12, n_layer=2, n_head=2, num_labels=4)
    return library.GPT2ForSequenceClassification(config)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[Callable[[Any], Any]], str]:
    """Saves a tiny model with random weights, and says where."""
    library = pytest.importorskip("transformers")

    def saved(make: Callable[[Any], Any]) -> str:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            make(library).save_pretrained(tmp_path)
        return str(tmp_path)

    return saved


def tokens(dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.randint(2, 11, (10, 8), generator=torch.Generator().manual_seed(2)).to(dtype)


class TestTransformers:
    """Image and sequence classifiers; the head is a layer, in a container, or applied before the pooling."""

    pytestmark = of_transformers

    @pytest.mark.parametrize(
        ("make", "x"),
        [(_resnet, images()), (_vit, images()), (_bert, tokens()), (_roberta, tokens()), (_gpt2, tokens())],
    )
    @pytest.mark.parametrize("weights", ["pretrained", "random"])
    def test_contract(self, folder: Any, make: Any, x: Tensor, weights: Any) -> None:
        place = folder(make)
        keeps_the_contract(Transformers(place, weights), x, 12, ["backbone"])
        keeps_the_contract(Transformers(place, weights, num_features=3), x, 3, ["backbone", "project"])

    @pytest.mark.parametrize("make", [_resnet, _vit, _bert, _roberta, _gpt2])
    def test_pretrained_features_are_what_the_saved_classifier_saw(self, folder: Any, make: Any) -> None:
        import transformers

        place, of_images = folder(make), make in (_resnet, _vit)
        x = images() if of_images else tokens()
        auto = "AutoModelForImageClassification" if of_images else "AutoModelForSequenceClassification"
        saved = getattr(transformers, auto).from_pretrained(place).eval()
        if make is _gpt2:
            saved.config.pad_token_id = -1  # it refuses more than one sequence without a padding token
        head = [module for module in saved.modules() if isinstance(module, nn.Linear)][-1]
        logits = (saved(pixel_values=x) if of_images else saved(input_ids=x)).logits
        h = built(Transformers(place), tuple(x.shape[1:])).body.eval()(x)
        torch.testing.assert_close(head(h), logits)

    def test_random_weights_are_made_for_the_data(self, folder: Any) -> None:
        place, x = folder(_vit), torch.zeros(2, 1, 8, 24)
        assert built(Transformers(place, "random"), (1, 8, 24)).features(x).shape == (2, 12)
        with pytest.raises(InputError, match=r"does not take inputs of shape \(1, 8, 24\)"):
            built(Transformers(place), (1, 8, 24))

    def test_padding_is_not_looked_at(self, folder: Any) -> None:
        body = built(Transformers(folder(_bert)), (8,)).body.eval()
        x = tokens()
        x[:, 5:] = 0
        torch.testing.assert_close(body(x.float()), body(x[:, :5]))

    def test_half_precision_files_are_computed_in_single(self, folder: Any) -> None:
        place = folder(lambda library: _vit(library).half())
        body = built(Transformers(place), (3, 16, 16)).body
        assert {parameter.dtype for parameter in body.parameters()} == {torch.float32}

    @pytest.mark.parametrize("make", [_vit, _bert])
    def test_features_of_inner_layers(self, folder: Any, make: Any) -> None:
        """Tokens are pooled as is said, and never by the mean over features."""
        of_images = make is _vit
        x = images() if of_images else tokens()
        network = built(Transformers(folder(make)), tuple(x.shape[1:])).eval()
        block = next(name for name, _ in network.body.named_modules() if name.endswith(".1") and "layer" in name)
        with pytest.raises(InputError, match=f"did you mean .*{block}"):
            Watched(network, (block.removeprefix("backbone.model."),))
        seen = Watched(network, (block,)).look(x)
        output = seen.layers[block]
        assert output.ndim == 3
        assert output.shape[2] == 12
        with pytest.raises(InputError, match=r"pooling must be tokens or first_token if"):
            pooled(output, block, "mean", axes=seen.axes[block])
        EXACT.check(pooled(output, block, "tokens", axes=seen.axes[block]), output.mean(1))
        first = pooled(output, block, "first_token", axes=seen.axes[block])
        if of_images:  # what the classifier of a ViT sees is the first token of the last block, normalised
            torch.testing.assert_close(network.body.get_submodule("backbone.model.vit.layernorm")(first), seen.features)

    def test_pickles_are_not_read(self, folder: Any) -> None:
        place = folder(_vit)
        torch.save({}, Path(place) / "pytorch_model.bin")
        (Path(place) / "model.safetensors").unlink()
        with pytest.raises(InputError, match=r"model must be a classifier of images .* in the safetensors format, got"):
            built(Transformers(place), (3, 16, 16))

    @pytest.mark.parametrize(
        ("make", "shape", "message"),
        [
            (_bert, (3, 16, 16), "model must be a classifier of images"),
            (_vit, (8,), "model must be a classifier of sequences"),
            (_vit, (1, 40), r"needs inputs \(channels, height, width\) or \(length,\), got \(1, 40\)"),
            (_bert, (99,), r"does not take inputs of shape \(99,\)"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, folder: Any, make: Any, shape: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            built(Transformers(folder(make)), shape)

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"model must be a classifier of images .*nowhere"):
            built(Transformers(str(tmp_path / "nowhere")), (3, 16, 16))
