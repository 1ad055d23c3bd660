"""Outputs of modules inside a network: by which names, as they were, and where their features are."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from collapselab.core.errors import InputError
from collapselab.training.networks import Classifier
from collapselab.training.networks._foreign import Backbone
from collapselab.training.pooling import axes_of, pooled
from collapselab.training.watched import Watched
from tolerances import EXACT


def classifier(inner: nn.Module, *, foreign: bool = True) -> Classifier:
    body = nn.Sequential()
    body.add_module("backbone", Backbone(inner) if foreign else inner)
    return Classifier(body, nn.Linear(6, 3)).eval()


class InPlace(nn.Module):
    """The layout of torchvision's models: one ReLU in place, called wherever it is needed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3)
        self.relu, self.unused = nn.ReLU(inplace=True), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv2(self.relu(self.conv1(x)))).mean((2, 3))


X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("grad", [True, False])
def test_what_comes_later_in_place_changes_nothing(grad: bool) -> None:
    network = classifier(InPlace())
    name = "backbone.model.conv1"
    with torch.set_grad_enabled(grad):
        found = Watched(network, (name,)).look(X)
    EXACT.check(found.layers[name].detach(), network.body.get_submodule(name)(X).detach())
    assert bool((found.layers[name] < 0).any())
    assert found.axes == {name: "channels"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("backbone.model.relu", "layers must be modules that are called once, got 'backbone.model.relu'"),
        ("backbone.model.unused", "layers must be modules that are called, got 'backbone.model.unused', which is not"),
        ("conv1", r"got 'conv1'; did you mean backbone\.model\.conv1"),
        ("model.conv3", r"got 'model\.conv3'; did you mean backbone\.model\.conv[12] or backbone\.model\.conv[12]"),
        ("backbone.model.conv3", r"did you mean backbone\.model\.conv2 or backbone\.model\.conv1\?"),
        ("backbone.model.conv1.x", "modules in them, and backbone.model.conv1 has none, got"),
        ("?", r"modules in them, backbone\.model\.conv1, backbone\.model\.conv2, .*, got '\?'"),
        ("backbone.model.x", r"modules in them, backbone\.model\.conv1, .*, got 'backbone\.model\.x'"),
    ],
)
def test_names_that_are_no_place(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Watched(classifier(InPlace()), (name,)).look(X)


def test_a_long_list_of_names_is_cut() -> None:
    many = nn.Sequential(*(nn.Identity() for _ in range(30)))
    with pytest.raises(InputError, match=r"backbone\.7 \.\.\. \(31 with those inside\), got '\?'"):
        Watched(classifier(many, foreign=False), ("?",))


@pytest.mark.parametrize("output", [(torch.ones(3, 2),), torch.ones(3), torch.ones(2, 2)])
def test_a_stage_that_gives_no_features(output: Any) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return output

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.odd = Odd()

        def forward(self, x: Tensor) -> Tensor:
            self.odd(x)
            return x

    with pytest.raises(InputError, match=r"stage backbone\.odd must give a tensor \(n, c, \.\.\.\) of 3 samples, got"):
        Watched(classifier(Around(), foreign=False), ("backbone.odd",)).look(torch.ones(3, 6))


LAST = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6))
CASES: list[tuple[nn.Module, tuple[int, ...], bool, str]] = [
    (nn.Linear(3, 6), (2, 6), True, "channels"),
    (nn.Conv2d(1, 6, 3), (2, 6, 5, 5), True, "channels"),
    (nn.Conv1d(1, 6, 3), (2, 6, 5), True, "channels"),
    (nn.BatchNorm2d(6), (2, 6, 5, 5), True, "channels"),
    (nn.Conv2d(1, 6, 3), (2, 6, 6), True, "unclear"),  # patches: a convolution of images, then tokens
    (LAST, (2, 5, 6), True, "last"),
    (LAST, (2, 5, 6), False, "last"),
    (LAST, (2, 4, 4, 6), True, "last"),  # channels last, as in Swin
    (nn.Sequential(nn.Conv2d(6, 6, 3), nn.LayerNorm(6)), (2, 6, 5, 6), True, "unclear"),
    (nn.Sequential(nn.Conv2d(6, 6, 3), nn.LayerNorm(6)), (2, 6, 5, 5), True, "channels"),  # as in ConvNeXt
    (nn.Embedding(9, 6), (2, 5, 6), True, "last"),
    (nn.Dropout(), (2, 5, 6), True, "unclear"),
    (nn.Dropout(), (2, 5, 6), False, "channels"),  # what every network of this library promises
]


@pytest.mark.parametrize(("module", "shape", "foreign", "axes"), CASES)
def test_where_features_are(module: nn.Module, shape: tuple[int, ...], foreign: bool, axes: str) -> None:
    assert axes_of(torch.zeros(shape), module, foreign=foreign) == axes


def test_poolings_by_hand() -> None:
    x = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1))
    EXACT.check(pooled(x, "s", "mean"), x.mean(2))
    EXACT.check(pooled(x, "s", "flatten", axes="unclear"), x.reshape(2, 30))
    for axes in ("last", "unclear"):
        EXACT.check(pooled(x, "s", "tokens", axes=axes), x.mean(1))
        EXACT.check(pooled(x, "s", "first_token", axes=axes), x[:, 0])
    maps = x.reshape(2, 5, 2, 3)
    EXACT.check(pooled(maps, "s", "tokens", axes="last"), maps.flatten(1, 2).mean(1))
    for how in ("mean", "tokens", "first_token", "flatten"):
        EXACT.check(pooled(x[:, 0], "s", how), x[:, 0])


@pytest.mark.parametrize(
    ("shape", "how", "axes", "message"),
    [
        (
            (2, 5, 6),
            "mean",
            "last",
            r"s gives \(5, 6\) for a sample, .* must be tokens or first_token .*got mean",
        ),
        ((2, 5, 6), "mean", "unclear", "pooling must be tokens or first_token"),
        ((2, 6, 5, 5), "tokens", "channels", "pooling must be mean or flatten, got tokens"),
        ((2, 5, 5, 6), "first_token", "last", "pooling must be tokens or flatten, got first_token"),
    ],
)
def test_no_mean_over_features(shape: tuple[int, ...], how: Any, axes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pooled(torch.zeros(shape), "s", how, axes=axes)
