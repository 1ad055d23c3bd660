"""Small networks of every layout that the tap must understand, and data for them."""

import torch
from torch import Tensor, nn


def batches(*shape: int, classes: int = 3, samples: int = 12, size: int = 5) -> list[tuple[Tensor, Tensor]]:
    """Pairs (inputs, labels) of a fixed seed; the last batch is shorter."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(samples, *shape, generator=generator)
    y = torch.arange(samples) % classes
    return list(zip(x.split(size), y.split(size), strict=True))


def seeded(make):
    """Build a module with a fixed seed and leave the global generator alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def mlp(classes: int = 3) -> nn.Sequential:
    return seeded(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, classes)))


class Cnn(nn.Module):
    """Convolution, batch-norm and dropout, with an `nn.Sequential` head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.body(x)))


class ConvHead(nn.Module):
    """A 1 x 1 convolution as classifier, after global pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 6, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.body(x))).flatten(1)


class Distilled(nn.Module):
    """Two heads on two tokens, averaged: the layout of DeiT."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.head_dist = nn.Linear(4, 8), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        return (self.head(h) + self.head_dist(h.flip(0))) / 2


class Auxiliary(nn.Module):
    """A projection head fires after the classifier, whose output is post-processed."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc, self.projection = nn.Linear(4, 8), nn.Linear(8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.fc(h).log_softmax(1), self.projection(h)


class Cosine(nn.Module):
    """A classifier with a matrix that is not W h + b."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 8))

    def forward(self, h: Tensor) -> Tensor:
        return 16 * nn.functional.normalize(h) @ nn.functional.normalize(self.weight).T


class Transposed(nn.Module):
    """A linear layer that keeps its matrix (d, K)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8, 3)), nn.Parameter(torch.randn(3))

    def forward(self, h: Tensor) -> Tensor:
        return torch.addmm(self.bias, h, self.weight)


class InPlace(nn.Module):
    """Changes the classifier's input and output in place after the classifier ran."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        z = self.fc(h)
        h.zero_()
        return z.mul_(0.5)


class Functional(nn.Module):
    """The classifier is a bare parameter, no module."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.w = nn.Linear(4, 8), nn.Parameter(torch.randn(3, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) @ self.w.T


class Reused(nn.Module):
    """The classifier is applied twice, to two views of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) + self.fc(-x)


class SqueezeExcite(nn.Module):
    """Pointwise convolutions on pooled maps, one of which is as wide as the number of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3)
        self.reduce, self.expand = nn.Conv2d(6, 3, 1), nn.Conv2d(3, 6, 1)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        gate = self.expand(self.reduce(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.fc((x * gate).mean((2, 3))).log_softmax(1)


class Breaks(nn.Module):
    """Raises after the classifier ran, with flags and hooks in the state of a measurement."""

    def __init__(self, error: BaseException, *, after: int = 0) -> None:
        super().__init__()
        self.fc, self.dropout, self.error, self.left = nn.Linear(4, 3), nn.Dropout(), error, after

    def forward(self, x: Tensor) -> Tensor:
        z = self.dropout(self.fc(x))
        if self.left == 0:
            raise self.error
        self.left -= 1
        return z
