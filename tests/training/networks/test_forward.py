"""What the networks compute, against slow twins in NumPy that follow the papers layer by layer."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.training.networks import Network
from collapselab.training.networks.cnn import CNN
from collapselab.training.networks.convnet1d import ConvNet1d
from collapselab.training.networks.densenet import DenseNet
from collapselab.training.networks.lenet import LeNet
from collapselab.training.networks.mlp import MLP
from collapselab.training.networks.resnet import ResNet
from collapselab.training.networks.vgg import VGG
from collapselab.training.networks.wide_resnet import WideResNet
from tolerances import REFERENCE

Array = np.ndarray


class Weights:
    """The state of a body by name, and the operations that read it. Maps are (n, channels, height, width)."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        self.state = {name: values.detach().numpy() for name, values in state.items()}

    def norm(self, x: Array, name: str) -> Array:
        """Batch normalisation with the running statistics: (x - mean) / sqrt(variance + 1e-5) scaled and shifted."""
        at = (slice(None),) + (None,) * (x.ndim - 2)
        mean, variance = (self.state[f"{name}.running_{which}"][at] for which in ("mean", "var"))
        scale, shift = (self.state[f"{name}.{which}"][at] for which in ("weight", "bias"))
        return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift

    def linear(self, x: Array, name: str) -> Array:
        """W x + b, one number after the other."""
        weight = self.state[f"{name}.weight"]
        bias = self.state.get(f"{name}.bias", np.zeros(len(weight)))
        return np.array([[math.fsum(w * row) + b for w, b in zip(weight, bias, strict=True)] for row in x])

    def conv(self, x: Array, name: str, *, stride: int = 1, padding: int | None = None) -> Array:
        """Each place of the output from the places below the kernel; the border is zero."""
        weight = self.state[f"{name}.weight"]
        flat = weight.ndim == 3
        if flat:  # a signal is an image of height one
            weight, x = weight[:, :, None], x[:, :, None]
        rows, columns = weight.shape[2:]
        padding = columns // 2 if padding is None else padding
        above = 0 if flat else padding
        x = np.pad(x, ((0, 0), (0, 0), (above, above), (padding, padding)))
        height, width = (x.shape[2] - rows) // stride + 1, (x.shape[3] - columns) // stride + 1
        out = np.zeros((len(x), len(weight), height, width))
        for i in range(height):
            for j in range(width):
                patch = x[:, :, i * stride : i * stride + rows, j * stride : j * stride + columns]
                out[:, :, i, j] = np.tensordot(patch, weight, axes=((1, 2, 3), (1, 2, 3)))
        out += self.state.get(f"{name}.bias", np.zeros(len(weight)))[:, None, None]
        return out[:, :, 0] if flat else out


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def pooled(x: Array, how: Callable[..., Array], size: int = 2) -> Array:
    """Windows of size x size side by side; those at the lower and right border may be smaller."""
    height, width = (-(-side // size) for side in x.shape[2:])
    out = np.zeros((*x.shape[:2], height, width))
    for i in range(height):
        for j in range(width):
            out[:, :, i, j] = how(x[:, :, size * i : size * (i + 1), size * j : size * (j + 1)], axis=(2, 3))
    return out


def mlp(network: MLP, w: Weights, x: Array) -> Array:
    x = x.reshape(len(x), -1)
    for layer in range(1, len(network.widths) + 1):
        at = 1 if layer == 1 else 0  # the first stage flattens
        x = relu(w.norm(w.linear(x, f"layer{layer}.{at}"), f"layer{layer}.{at + 1}"))
    return x


def cnn(network: CNN, w: Weights, x: Array) -> Array:
    for layer in range(1, len(network.widths) + 1):
        x = relu(w.norm(w.conv(x, f"layer{layer}.0", stride=1 if layer == 1 else 2), f"layer{layer}.1"))
    return x.mean(axis=tuple(range(2, x.ndim)))


def lenet(network: LeNet, w: Weights, x: Array) -> Array:
    """Convolutions without border, each followed by ReLU and the largest of 2 x 2; then dense layers with ReLU."""
    for position in range(len(network.channels)):
        x = relu(w.conv(x, f"conv{position + 1}.0", padding=0))
        x = pooled(x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2], np.max)
    x = x.reshape(len(x), -1)
    for position in range(len(network.widths)):
        x = relu(w.linear(x, f"dense{position + 1}.{int(position == 0)}"))
    return x


def convnet1d(network: ConvNet1d, w: Weights, x: Array) -> Array:
    for layer in range(1, len(network.widths) + 1):
        x = relu(w.conv(x, f"layer{layer}.0", stride=2, padding=1))
    x = x.reshape(len(x), -1)
    return x if network.num_features is None else relu(w.linear(x, "dense.0"))


def vgg(network: VGG, w: Weights, x: Array) -> Array:
    # simonyan2015, table 1, columns A and D.
    for group, count in enumerate({11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3)}[network.depth], start=1):
        for place in range(count):
            x = relu(w.norm(w.conv(x, f"layer{group}.{3 * place}"), f"layer{group}.{3 * place + 1}"))
        x = pooled(x, np.max)
    return x.mean((2, 3))


def resnet(network: ResNet, w: Weights, x: Array) -> Array:
    bottleneck = network.depth == 50
    counts = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 20: (3, 3, 3)}[network.depth]
    if network.stem == "cifar":
        x = relu(w.norm(w.conv(x, "stem.0"), "stem.1"))
    else:
        x = relu(w.norm(w.conv(x, "stem.0", stride=2), "stem.1"))
        x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))  # zero is no larger than what ReLU gives
        corners = [x[:, :, i:, j:][:, :, ::2, ::2] for i in range(3) for j in range(3)]
        size = min(corner.shape[2] for corner in corners)
        x = np.max([corner[:, :, :size, :size] for corner in corners], axis=0)
    for stage, count in enumerate(counts, start=1):
        for block in range(count):
            at, stride = f"layer{stage}.{block}", 2 if block == 0 and stage > 1 else 1
            if bottleneck:  # he2016, figure 5, with the stride in the middle
                y = relu(w.norm(w.conv(x, f"{at}.branch.0"), f"{at}.branch.1"))
                y = relu(w.norm(w.conv(y, f"{at}.branch.3", stride=stride), f"{at}.branch.4"))
                y = w.norm(w.conv(y, f"{at}.branch.6"), f"{at}.branch.7")
            else:
                y = relu(w.norm(w.conv(x, f"{at}.branch.0", stride=stride), f"{at}.branch.1"))
                y = w.norm(w.conv(y, f"{at}.branch.3"), f"{at}.branch.4")
            if y.shape != x.shape:  # eq. 2: a projection where dimensions differ; eq. 1 elsewhere
                x = w.norm(w.conv(x, f"{at}.shortcut.0", stride=stride), f"{at}.shortcut.1")
            x = relu(x + y)
    return x.mean((2, 3))


def wide_resnet(network: WideResNet, w: Weights, x: Array) -> Array:
    x = w.conv(x, "stem")
    for stage in (1, 2, 3):
        for block in range((network.depth - 4) // 6):
            at, stride = f"layer{stage}.{block}", 2 if block == 0 and stage > 1 else 1
            ready = relu(w.norm(x, f"{at}.before.0"))
            y = relu(w.norm(w.conv(ready, f"{at}.branch.0", stride=stride), f"{at}.branch.1"))
            y = w.conv(y, f"{at}.branch.3")
            x = y + (x if y.shape == x.shape else w.conv(ready, f"{at}.shortcut", stride=stride))
    return relu(w.norm(x, "norm.0")).mean((2, 3))


def densenet(network: DenseNet, w: Weights, x: Array) -> Array:
    counts = {40: (12, 12, 12), 121: (6, 12, 24, 16)}[network.depth]
    x = w.conv(x, "stem")
    for stage, count in enumerate(counts, start=1):
        maps = [x]  # huang2017, eq. 2: every layer sees all maps before it
        for place in range(count):
            at = f"layer{stage}.{place}.branch"
            y = w.conv(relu(w.norm(np.concatenate(maps, axis=1), f"{at}.0")), f"{at}.2")
            maps.append(y if network.depth == 40 else w.conv(relu(w.norm(y, f"{at}.3")), f"{at}.5"))
        x = np.concatenate(maps, axis=1)
        if stage < len(counts):
            at = f"layer{stage}.{count}.0"
            x = pooled(w.conv(relu(w.norm(x, f"{at}.0")), f"{at}.2"), np.mean)
        elif network.num_features is not None:
            at = f"layer{stage}.{count}"
            x = w.conv(relu(w.norm(x, f"{at}.0")), f"{at}.2")
    return relu(w.norm(x, "norm.0")).mean((2, 3))


@pytest.mark.parametrize(
    ("network", "twin", "shape"),
    [
        (MLP((6, 5)), mlp, (2, 3, 3)),
        (CNN((4, 5, 3)), cnn, (2, 9)),
        (CNN((4, 5, 3)), cnn, (2, 7, 7)),
        (LeNet((3, 4), (6, 5)), lenet, (2, 19, 17)),
        (ConvNet1d((4, 5, 3)), convnet1d, (1, 40)),
        (ConvNet1d((4, 5), num_features=3), convnet1d, (2, 9)),
        (VGG(11, width=2), vgg, (3, 32, 32)),
        (VGG(16, width=2, num_features=3), vgg, (1, 7, 9)),
        (ResNet(18, width=2), resnet, (3, 8, 8)),
        (ResNet(18, width=2, num_features=3), resnet, (1, 7, 7)),
        (ResNet(50, width=4, num_features=9), resnet, (1, 8, 8)),
        (ResNet(18, width=2, stem="imagenet"), resnet, (3, 32, 32)),
        (ResNet(20, width=2), resnet, (3, 8, 8)),
        (WideResNet(16, 1), wide_resnet, (3, 8, 8)),
        (WideResNet(10, 2, num_features=3), wide_resnet, (1, 7, 7)),
        (DenseNet(40, growth=2), densenet, (1, 8, 8)),
        (DenseNet(40, growth=2, num_features=3), densenet, (1, 5, 5)),
        (DenseNet(121, growth=2), densenet, (1, 7, 7)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Network) else "",
)
def test_features(network: Any, twin: Callable[..., Array], shape: tuple[int, ...], generator: torch.Generator) -> None:
    """Features in eval mode, after a pass in train mode that has moved the running statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = network.body(shape)[0].double()
    body(torch.randn(8, *shape, dtype=torch.float64, generator=generator))
    x = torch.randn(2, *shape, dtype=torch.float64, generator=generator)
    expected = twin(network, Weights(body.state_dict()), x.numpy())
    assert expected.any()
    REFERENCE.floor(float(np.abs(expected).max())).check(body.eval()(x), expected)
