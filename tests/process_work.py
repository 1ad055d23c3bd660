"""What the tests of several processes let them do: functions that other processes can import."""

import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from collapselab.core.errors import InputError
from collapselab.evidence import ClassStats, LabelledFeatures
from collapselab.training import Classifier, Samples, Splits, Training
from collapselab.training.data.augmentation import Augmentation
from collapselab.training.data.balance import Balance
from collapselab.training.heads import Neck
from collapselab.training.losses import Outputs
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.optimisers import OPTIMISERS, Optimiser
from collapselab.training.plan import Plan
from collapselab.training.schedules import StepSchedule
from collapselab.training.sharding import gathered, merged, share
from collapselab.training.stop import Stop

NUM_SAMPLES, NUM_CLASSES = 251, 5


def clusters(offset: float) -> tuple[Tensor, Tensor]:
    """Features of classes of unequal sizes, the first of which is in one process alone."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(1, NUM_CLASSES, (NUM_SAMPLES,), generator=generator)
    y[:9] = 0
    h = torch.randn(NUM_SAMPLES, 7, generator=generator, dtype=torch.float64)
    return h + 3 * y[:, None] + offset, y


def statistics(fabric: Any, offset: float = 0.0) -> tuple[ClassStats, Tensor]:
    """Class moments, each process looking at its share; and the shares put together again."""
    h, y = clusters(offset)
    mine = share(NUM_SAMPLES, fabric)
    part = LabelledFeatures.of(h[mine], y[mine], num_classes=NUM_CLASSES)
    return merged(ClassStats.of(part), fabric), gathered(h[mine], fabric)


def few(fabric: Any) -> tuple[ClassStats, Tensor]:
    """The same with one sample, which leaves nothing for the others."""
    h, y = clusters(0.0)
    mine = share(1, fabric)
    part = None
    if mine.stop > mine.start:
        part = ClassStats.of(LabelledFeatures.of(h[mine], y[mine], num_classes=NUM_CLASSES))
    return merged(part, fabric), gathered(h[mine], fabric)


class Half(nn.Module):
    """Uses one of its two layers, so that the other one never has a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 6), nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.used(x.flatten(1)))


def training(
    fabric: Any,
    *,
    optimiser: Optimiser,
    batch_size: int = 8,
    norm: bool = False,
    centre: bool = False,
    dropout: float = 0.0,
    augmentation: Augmentation | None = None,
    balance: Balance | None = None,
    micro_batch: int | None = None,
    clip_norm: float | None = None,
    epochs: int = 3,
) -> Training:
    """A training in float64 on 21 signals of three classes."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(31, 1, 4, generator=generator), torch.randint(0, 3, (31,), generator=generator)
    torch.manual_seed(1 + fabric.global_rank)  # other weights in each process, until they are made the same
    body = nn.Sequential(Half(), *([nn.BatchNorm1d(6)] if norm else []), nn.Dropout(dropout))
    neck = Neck(centre="mean" if centre else "none").build(6)[0]
    plan = Plan(
        epochs=epochs,
        batch_size=batch_size,
        drop_last=False,
        loss=CrossEntropy(),
        optimiser=optimiser,
        schedule=StepSchedule((0.5,), 0.1),
        precision="float64",
        augmentation=augmentation,
        balance=balance,
        micro_batch=micro_batch,
        clip_norm=clip_norm,
        stop=Stop(zero_error_epochs=1),
    )
    data = Splits(Samples(x[:21], y[:21]), Samples(x[21:], y[21:]), 3)
    order = torch.Generator().manual_seed(2 + fabric.global_rank)
    return Training(Classifier(body, nn.Linear(6, 3), neck), data, plan, order=order, fabric=fabric)


def trained(fabric: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """What a training ends with, in the first process; the others must have the same bits."""
    made = training(fabric, **settings)
    losses = [progress.loss for progress in made.steps()]
    weights = torch.cat([tensor.double().flatten() for tensor in made.network.state_dict().values()])
    everywhere = gathered(weights[None], fabric)
    assert bool((everywhere == weights).all()), "the processes ended with different weights"
    return {"weights": weights, "losses": losses, "each": made.evaluate(), "wrong": int(made.state()["wrong"])}


def cut_and_gone_on(fabric: Any, settings: dict[str, Any], cut: int) -> Tensor:
    """Weights after a training that is cut and gone on with from the state of the first process."""
    first = training(fabric, **settings)
    steps = first.steps()
    for _ in range(cut):
        next(steps)
    state = fabric.broadcast(first.state())
    torch.manual_seed(99)
    second = training(fabric, **settings)
    second.restore(state)
    for _ in second.steps():
        pass
    return torch.cat([tensor.double().flatten() for tensor in second.network.state_dict().values()])


def gradients(fabric: Any) -> list[Tensor]:
    """Two gradients added in one step, of a loss of its own and of rows that leave a process without any."""
    made = training(fabric, optimiser=OPTIMISERS["sgd"].make())

    def half_square(outputs: Outputs, y: Tensor) -> Tensor:
        return 0.5 * outputs.features.square().sum(1) + y

    for parameter in made.network.parameters():
        parameter.grad = None
    made.accumulate(torch.tensor([3, 5, 8]), weights=torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    total = made.accumulate(torch.tensor([4]), each=half_square)
    found = [p.grad for p in made.network.parameters() if p.grad is not None]
    return [*found, total]


def failing(fabric: Any, how: str) -> None:
    """Something goes wrong in one process while the other waits for it."""
    if fabric.global_rank == 1:
        if how == "input":
            raise InputError("widths must be positive, got -1")
        if how == "bug":
            raise ZeroDivisionError("division by zero")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
    if how == "first":
        if fabric.global_rank == 0:
            raise RuntimeError("the first went wrong")
        fabric.barrier()
    gathered(torch.zeros(3), fabric)


def interrupted(fabric: Any, folder: str) -> None:
    """Ctrl-C arrives in all processes; only the first reacts, and may still write what it has."""
    made = training(fabric, optimiser=OPTIMISERS["sgd"].make(), epochs=10**6, batch_size=21)
    try:
        for progress in made.steps():
            if progress.step == 5:
                os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        Path(folder, str(fabric.global_rank)).write_text(str(made.step))
        raise


def settings_here(fabric: Any) -> dict[str, Any]:
    """What the environment is like in a process."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    mine = torch.tensor([[torch.get_num_threads(), int(deterministic), fabric.global_rank]])
    return {"seen": gathered(mine, fabric).tolist(), "world": fabric.world_size, "device": str(fabric.device)}


SGD = OPTIMISERS["sgd"].make()

# 21 samples in batches of 8: shares of 4 and 4, and of 3 and 2; in batches of 20, one process has none of the last.
TRAININGS: dict[str, dict[str, Any]] = {
    **{name: {"optimiser": OPTIMISERS[name].make()} for name in ("sgd", "adam", "svag", "lbfgs", "loss_based")},
    "a process left out": {"optimiser": SGD, "batch_size": 20},
    "one sample a step": {"optimiser": OPTIMISERS["adam"].make(), "batch_size": 1},
    "pieces": {"optimiser": SGD, "micro_batch": 3},
    "clipped": {"optimiser": SGD, "clip_norm": 0.05},
    "augmented": {"optimiser": SGD, "augmentation": Augmentation(shift=1, noise=0.1)},
    "oversampled": {"optimiser": SGD, "balance": Balance(oversample=True)},
    "weighted": {"optimiser": SGD, "balance": Balance(class_weights="inverse")},
}

# Layers that look at their share alone, or draw: other weights than in one process, but the same in both.
OWN: dict[str, dict[str, Any]] = {
    "batch norm": {"optimiser": SGD, "norm": True, "batch_size": 7},
    "centring": {"optimiser": SGD, "centre": True, "batch_size": 7},
    "dropout": {"optimiser": SGD, "dropout": 0.5},
}


def everything(fabric: Any) -> dict[str, Any]:
    """What one process and two do alike."""
    return {
        "statistics": statistics(fabric),
        "far": statistics(fabric, 1e6),
        "few": few(fabric),
        "gradients": gradients(fabric),
        "trained": {name: trained(fabric, settings) for name, settings in TRAININGS.items()},
    }


def together(fabric: Any) -> dict[str, Any]:
    """What two processes do besides."""
    mixed = {"optimiser": OPTIMISERS["adam"].make(), "dropout": 0.5, "norm": True, "batch_size": 7}
    return {
        **everything(fabric),
        "own": {name: trained(fabric, settings) for name, settings in OWN.items()},
        "unbroken": trained(fabric, mixed)["weights"],
        "cut": cut_and_gone_on(fabric, mixed, 4),
        "settings": settings_here(fabric),
    }
