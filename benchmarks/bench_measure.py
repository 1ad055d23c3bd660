"""`measure` on a CIFAR-shaped ResNet-18 against the bare evaluation loop over the same images."""

import torch
from _harness import Table, paired
from torch import Tensor, nn

from collapselab import measure

IMAGES, BATCH, NUM_CLASSES = 2_048, 256, 10


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch norm and a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside),
        )  # fmt: skip
        same = stride == 1 and inside == outside
        shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
        self.shortcut = nn.Identity() if same else shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Residual sum."""
        return torch.relu(self.main(x) + self.shortcut(x))


def resnet18() -> nn.Module:
    """The CIFAR variant: 3 x 3 stem, no pooling before the blocks, 512 features."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    inside = 64
    for outside, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(inside, outside, stride), Block(outside, outside, 1)]
        inside = outside
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, NUM_CLASSES))


def main() -> None:
    """Print the table."""
    table = Table(__doc__ or "")
    torch.manual_seed(0)
    model = resnet18().eval()
    images, y = torch.randn(IMAGES, 3, 32, 32), torch.arange(IMAGES) % NUM_CLASSES
    loader = list(zip(torch.split(images, BATCH), torch.split(y, BATCH), strict=True))

    def bare():
        with torch.inference_mode():
            for x, _ in loader:
                model(x)

    def ours():
        return measure(model, loader, num_classes=NUM_CLASSES)

    mine, theirs, ratio = paired(ours, bare, repeats=3)
    table.add(
        f"ResNet-18, {IMAGES} images of 32 x 32, all metrics", measure=mine, forward=theirs,
        overhead=f"{100 * (ratio.median - 1):+.1f} % [{100 * (ratio.low - 1):+.1f}, {100 * (ratio.high - 1):+.1f}]",
        aim="<= 5 %",
    )  # fmt: skip
    table.close()


if __name__ == "__main__":
    main()
