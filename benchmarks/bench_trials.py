"""Fresh networks trained side by side against one network at a time, and estimating elasticity from what they saw."""

import time

import torch
from _harness import Table, paired, timed
from torch import nn
from torch.nn import functional

from collapselab.core.random import child_seed, generators
from collapselab.experiments.recipes._fitted_elasticity import whole
from collapselab.theory.elastic_fit import ClassSums
from collapselab.training import Plan, Samples, Splits, Training
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.networks import Network
from collapselab.training.networks.lenet import LeNet
from collapselab.training.networks.mlp import MLP
from collapselab.training.optimisers.sgd import SGD
from collapselab.training.schedules.constant import Constant
from collapselab.training.sharding import Alone
from collapselab.training.trials import Trials

RATE = 0.01

# Name, network, shape of an input, trials, steps of each.
CASES: list[tuple[str, Network, tuple[int, ...], int, int]] = [
    ("LeNet, 32 x 32, 30 trials", LeNet(), (1, 32, 32), 30, 60),
    ("MLP 64-32, 64 inputs, 30 trials", MLP((64, 32), batch_norm=False), (64,), 30, 200),
    ("MLP 64-32, 64 inputs, 100 trials", MLP((64, 32), batch_norm=False), (64,), 100, 100),
    ("MLP 16, 2 inputs, 100 trials", MLP((16,), batch_norm=False), (2,), 100, 100),
]


def data(shape: tuple[int, ...]) -> Splits:
    """600 samples of three classes."""
    x = torch.randn(600, *shape, generator=torch.Generator().manual_seed(0))
    samples = Samples(x, torch.arange(600) % 3)
    return Splits(samples, samples, 3)


def built(network: Network, splits: Splits, trial: int) -> nn.Module:
    """The network that a trial begins with."""
    torch.manual_seed(child_seed(0, f"network {trial}"))
    return network.build(splits.shape, splits.num_classes)


def plainly(network: Network, splits: Splits, trial: int, steps: int) -> None:
    """One trial by torch's own optimiser, recording what it sees."""
    model = built(network, splits, trial)
    (draw,) = generators(0, f"draws {trial}")
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
    seen = []
    for row in torch.randint(len(splits.train), (steps, 1), generator=draw):
        x, y = splits.train.take(row)
        logits = model(x)
        loss = functional.cross_entropy(logits, y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen.append((logits.detach(), y, loss.detach()))


def by_the_loop(network: Network, splits: Splits, trial: int, steps: int) -> None:
    """One trial by the training loop, on as many samples as it takes steps."""
    few = Splits(splits.train.subset(torch.arange(steps)), splits.test, splits.num_classes)
    plan = Plan(
        epochs=1,
        batch_size=1,
        drop_last=True,
        loss=CrossEntropy(),
        optimiser=SGD(learning_rate=RATE, momentum=0.0),
        schedule=Constant(),
    )
    (order,) = generators(0, "order")
    training = Training(built(network, splits, trial), few, plan, order=order, fabric=Alone(torch.device("cpu")))
    for _ in training.steps():
        pass


def trials(table: Table) -> None:
    """Steps of all trials together, against those of a tenth of them one after the other."""
    for name, network, shape, count, steps in CASES:
        splits = data(shape)
        together = Trials.fresh(network, splits, trials=count, learning_rate=RATE)

        def ours(together=together, steps=steps) -> None:
            together.steps(steps)

        for what, one in (("torch", plainly), ("the loop", by_the_loop)):

            def theirs(one=one, network=network, splits=splits, count=count, steps=steps) -> None:
                for trial in range(count // 10):
                    one(network, splits, trial, steps)

            a, b, ratio = paired(ours, theirs, repeats=3)
            table.add(
                f"{name}, against {what}",
                step=f"{a.median / steps * 1e3:.2f} ms",
                one=f"{b.median / steps / (count // 10) * 1e3:.3f} ms",
                speedup=f"{10 / ratio.median:.1f}x",
            )


def protocol(table: Table) -> None:
    """3,000 iterations of 30 trials on images, as the recipe has them."""
    together = Trials.fresh(LeNet(), data((1, 32, 32)), trials=30, learning_rate=RATE)
    start, wall = time.process_time(), time.perf_counter()
    drawn = together.steps(3000)
    spent = time.process_time() - start, time.perf_counter() - wall
    table.add("LeNet, 30 trials, 3,000 iterations", cpu=f"{spent[0]:.1f} s", wall=f"{spent[1]:.1f} s")
    sums = ClassSums.of(drawn.logits, drawn.labels, num_classes=3)
    weights = sums.again(25, torch.Generator().manual_seed(0))
    table.add(
        "all estimates, 25 draws of trials", time=timed(lambda: whole(sums.means(weights), window=151), repeats=3)
    )


def main() -> None:
    """Print the table."""
    table = Table(__doc__ or "")
    trials(table)
    protocol(table)
    table.close()


if __name__ == "__main__":
    main()
