"""The tangent kernel of 1,000 samples against one backward pass a sample, and steps on samples against a loop."""

from collections.abc import Callable

import torch
from _harness import Table, paired, peak_mb, work
from torch import Tensor, nn

from collapselab.dynamics import own_residual, stepped_relative_similarity, tangent_kernel

N, K = 1000, 10


def perceptron() -> nn.Module:
    """64 - 256 - 256 - 10."""
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, K))


def convolutional() -> nn.Module:
    """Two convolutions, whose gradients are sums of many outer products, and two linear layers."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, K),
    )  # fmt: skip


def one_by_one(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """A backward pass a sample, and the product of the gradients."""
    leaves = list(network.parameters())
    rows = []
    for one, label in zip(x, y, strict=True):
        parts = torch.autograd.grad(own_residual(network(one[None])[0], label), leaves)
        rows.append(torch.cat([part.flatten() for part in parts]))
    gradients = torch.stack(rows)
    return gradients @ gradients.T


def kernels(table: Table) -> None:
    """1,000 x 1,000 numbers, both ways."""
    for name, make, least in (("perceptron", perceptron, 20), ("two convolutions", convolutional, 3)):
        torch.manual_seed(0)
        network, x, y = make().eval(), torch.randn(N, 64), torch.arange(N) % K

        def ours(network=network, x=x, y=y):
            return tangent_kernel(network, x, y, read=own_residual)

        def loop(network=network, x=x, y=y):
            return one_by_one(network, x, y)

        before = peak_mb()
        found = ours()
        memory = peak_mb() - before
        wanted = loop()
        assert float((found - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())
        a, b, ratio = paired(ours, loop, repeats=3)
        table.add(
            f"tangent kernel {N} x {N}, {name}", ours=a, loop=b, speedup=f"{1 / ratio.median:.1f}x (aim {least}x)",
            multiply_adds=_counted(ours, loop),
            extra_memory=f"{memory:.0f} MB (gradients: {_gradients_mb(network)} MB)",
        )  # fmt: skip


def steps(table: Table) -> None:
    """A step on each of 100 samples, and a look at all of them after each."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 512), nn.ReLU(), nn.Linear(512, 1)).double()
    x, y = torch.randn(100, 3, dtype=torch.float64), torch.arange(100) % 2

    def ours() -> Tensor:
        return stepped_relative_similarity(network, x, y, step=1e-6)

    def loop() -> Tensor:
        return torch.stack([_after(network, x, y, at, 1e-6) for at in range(len(x))])

    assert float((ours() - loop()).abs().max()) < 1e-6
    a, b, ratio = paired(ours, loop, repeats=3)
    table.add("relative similarity by steps, 100 x 100", ours=a, loop=b, speedup=f"{1 / ratio.median:.1f}x")


def _after(network: nn.Module, x: Tensor, y: Tensor, at: int, step: float) -> Tensor:
    leaves = list(network.parameters())
    loss = (network(x[at : at + 1])[0, 0] - y[at]).square() / 2
    with torch.no_grad():
        before = network(x)[:, 0]
    gradients = torch.autograd.grad(loss, leaves)
    with torch.no_grad():
        torch._foreach_sub_(leaves, gradients, alpha=step)
        moved = (network(x)[:, 0] - before).abs()
        torch._foreach_add_(leaves, gradients, alpha=step)
    return moved / moved[at]


def _counted(ours: Callable[[], object], loop: Callable[[], object]) -> str:
    a, b = work(ours).multiply_adds, work(loop).multiply_adds
    return f"{a:.2g} beside {b:.2g}"


def _gradients_mb(network: nn.Module) -> int:
    return N * sum(p.nbytes for p in network.parameters()) // 2**20


def main() -> None:
    """Print the table."""
    table = Table(__doc__ or "")
    kernels(table)
    steps(table)
    table.close()


if __name__ == "__main__":
    main()
