"""The training loop on samples in memory against a plain DataLoader loop, and a ResNet-18 step on a GPU."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from _harness import Table, Timing, paired, timed
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from collapselab.training import Samples, Splits, Training
from collapselab.training.data import Augmentation, Scaling
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.networks.cnn import CNN
from collapselab.training.networks.resnet import ResNet
from collapselab.training.optimisers.sgd import SGD
from collapselab.training.plan import Plan
from collapselab.training.schedules.step import StepSchedule

NUM_CLASSES, BATCH = 10, 128
RATE, MOMENTUM, DECAY = 0.05, 0.9, 5e-4
CROP = 4
NOTHING = Augmentation()

# Shape of one input, samples in an epoch.
SHAPES = {
    "digits-shaped": ((1, 8, 8), 4096),
    "signals of length 40": ((1, 40), 4096),
    "CIFAR-shaped": ((3, 32, 32), 768),
}

# On the GPU: steps before the clock starts, timed steps of one turn, turns of each of two; no epoch ends in between.
GPU_BATCH, WARM, STEPS, TURNS = 512, 30, 40, 5


def splits(shape: tuple[int, ...], n: int, *, kind: torch.dtype = torch.float32) -> Splits:
    """Random bytes as images, stored as asked."""
    x = torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    y, scaling = torch.arange(n) % NUM_CLASSES, Scaling.of(x)
    samples = Samples(x, y, scaling) if kind == torch.uint8 else Samples(scaling(x), y)
    return Splits(samples, samples.subset(torch.arange(min(BATCH, n))), NUM_CLASSES)


def training(
    network: nn.Module,
    data: Splits,
    *,
    augmentation: Augmentation = NOTHING,
    device: str = "cpu",
    batch: int = BATCH,
    precision: Literal["float32", "bfloat16"] = "float32",
    channels_last: bool = False,
) -> Training:
    """The project's loop, without an end."""
    plan = Plan(
        epochs=10_000,
        batch_size=batch,
        drop_last=True,
        loss=CrossEntropy(),
        optimiser=SGD(learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY),
        schedule=StepSchedule((0.5,), 0.1),
        augmentation=augmentation,
        precision=precision,
        channels_last=channels_last,
    )
    order = torch.Generator().manual_seed(0)
    return Training(network, data, plan, order=order, device=torch.device(device))  # pyright: ignore[reportArgumentType]


def advance(steps: Iterator[object], count: int) -> Callable[[], None]:
    """Some steps further."""

    def go() -> None:
        for _ in range(count):
            next(steps)

    return go


class Changed(Dataset):
    """Crop and flip sample by sample, as transforms of a data set are."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        x = nn.functional.pad(self.x[i], (CROP,) * 4)
        top, left = torch.randint(0, 2 * CROP + 1, (2,)).tolist()
        x = x[:, top : top + self.x.shape[2], left : left + self.x.shape[3]]
        return (x.flip(2) if torch.rand(()) < 0.5 else x), self.y[i]


def plain_loop(network: nn.Module, dataset: Dataset, *, workers: int) -> Callable[[], None]:
    """One epoch of the loop that everybody writes."""
    loader = DataLoader(
        dataset, BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    optimiser = torch.optim.SGD(network.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
    network.train()

    def epoch() -> None:
        total = torch.zeros(())
        for x, y in loader:
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(network(x), y)
            loss.backward()
            optimiser.step()
            total += loss.detach()

    return epoch


def one_batch_again(network: nn.Module, samples: Samples, *, steps: int) -> Callable[[], None]:
    """Nothing but the steps: no data, no order, no sums."""
    x, y = samples.take(torch.arange(BATCH))
    optimiser = torch.optim.SGD(network.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
    network.train()

    def epoch() -> None:
        for _ in range(steps):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimiser.step()

    return epoch


def fresh(shape: tuple[int, ...]) -> nn.Module:
    """The same small network each time."""
    torch.manual_seed(0)
    return CNN().build(shape, NUM_CLASSES)


def faster(ratio: Timing) -> str:
    """How many times as many images a second, from the ratio of the times."""
    return f"{1 / ratio.median:5.2f} times the images/s [{1 / ratio.high:.2f}, {1 / ratio.low:.2f}]"


def rates(count: int, timing: Timing) -> str:
    """Images a second."""
    return f"{count / timing.median:,.0f} images/s"


def both_clocks(ours: Callable[[], object], loop: Callable[[], object], *, repeats: int = 5) -> tuple[str, str]:
    """Ratios of ours to the loop: by the clock on the wall, and by the CPU time of this process without its workers."""
    ours(), loop()
    wall, cpu = [], []
    for _ in range(repeats):
        marks = [(time.perf_counter(), time.process_time())]
        for fn in (ours, loop):
            fn()
            marks.append((time.perf_counter(), time.process_time()))
        for ratios, at in ((wall, 0), (cpu, 1)):
            ratios.append((marks[1][at] - marks[0][at]) / (marks[2][at] - marks[1][at]))
    found = [Timing(min(ratios), statistics.median(ratios), max(ratios)) for ratios in (wall, cpu)]
    return faster(found[0]), faster(found[1])


def pass_over(data: Splits) -> Callable[[], None]:
    """The batches of an epoch in random order, and nothing done with them."""

    def epoch() -> None:
        for rows in torch.randperm(len(data.train)).split(BATCH):
            data.train.take(rows)

    return epoch


def pass_over_loader(data: Splits, *, workers: int) -> Callable[[], None]:
    """Likewise, by a DataLoader."""
    assert isinstance(data.train.x, Tensor)
    dataset = TensorDataset(data.train.x, data.train.y)
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


def against_loaders(table: Table) -> None:
    """An epoch here and there, float32 in memory on both sides: with the network, and the data alone."""
    crop = Augmentation(crop=CROP, flip=True)
    for name, (shape, n) in SHAPES.items():
        data = splits(shape, n)
        assert isinstance(data.train.x, Tensor)
        plain = TensorDataset(data.train.x, data.train.y)
        cases = [("", NOTHING, plain)]
        if len(shape) == 3 and shape[0] == 3:
            cases.append((", crop and flip", crop, Changed(data.train.x, data.train.y)))
        for workers in (0, 2):
            for what, augmentation, dataset in cases:
                ours = advance(training(fresh(shape), data, augmentation=augmentation).steps(), n // BATCH)
                wall, cpu = both_clocks(ours, plain_loop(fresh(shape), dataset, workers=workers))
                table.add(f"{name}{what}: training, {workers} workers", wall=wall, cpu=cpu)
            wall, cpu = both_clocks(pass_over(data), pass_over_loader(data, workers=workers))
            table.add(f"{name}: the data alone, {workers} workers", wall=wall, cpu=cpu)


def overheads(table: Table) -> None:
    """What the loop adds to the bare steps of its network, and the parts of the pipeline on their own: CPU time."""
    for name, (shape, n) in SHAPES.items():
        steps = n // BATCH
        for kind in (torch.float32, torch.uint8):
            data = splits(shape, n, kind=kind)
            ours = advance(training(fresh(shape), data).steps(), steps)
            mine, bare, ratio = paired(ours, one_batch_again(fresh(shape), data.train, steps=steps))
            added = f"{100 * (ratio.median - 1):+.1f} % [{100 * (ratio.low - 1):+.1f}, {100 * (ratio.high - 1):+.1f}]"
            each = f"{1e6 * (mine.median - bare.median) / steps:.0f} us a step of {1e6 * bare.median / steps:.0f} us"
            table.add(f"{name}, {str(kind).removeprefix('torch.')} in memory", loop_over_bare_steps=added, more=each)
    shape, _ = SHAPES["CIFAR-shaped"]
    rows = torch.randperm(8192)[:BATCH]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, *shape)
    floats, bytes_ = (splits(shape, 8192, kind=kind).train for kind in (torch.float32, torch.uint8))
    parts: dict[str, Callable[[], object]] = {
        "order of 50,000 samples, an epoch": lambda: torch.randperm(50_000, generator=generator),
        f"take {BATCH} of float32": lambda: floats.take(rows),
        f"take {BATCH} of uint8, standardise": lambda: bytes_.take(rows),
        "crop and flip": lambda: Augmentation(crop=CROP, flip=True)(x, generator),
        "crop with reflect": lambda: Augmentation(crop=CROP, padding="reflect")(x, generator),
        "cutout": lambda: Augmentation(cutout=16)(x, generator),
        "noise": lambda: Augmentation(noise=0.1)(x, generator),
    }
    for name, part in parts.items():
        seconds = timed(lambda part=part: [part() for _ in range(200)], repeats=5)
        table.add(f"CIFAR-shaped, {name}", us_each=f"{1e6 * seconds.median / 200:.0f}")


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """Whatever waits for the device inside is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def on_gpu(table: Table) -> None:
    """Steps of one epoch, so many that none ends inside the clock."""
    shape = (3, 32, 32)
    data = splits(shape, GPU_BATCH * (WARM + (TURNS + 1) * STEPS + 2), kind=torch.uint8)

    def timed_steps(**settings: object) -> Callable[[], None]:
        torch.manual_seed(0)
        network = ResNet(depth=18).build(shape, NUM_CLASSES)
        steps = training(network, data, device="cuda", batch=GPU_BATCH, **settings).steps()  # pyright: ignore
        go = advance(steps, STEPS)
        advance(steps, WARM)()

        def turn() -> None:
            torch.cuda.synchronize()
            with no_waiting():
                go()
            torch.cuda.synchronize()

        return turn

    crop = Augmentation(crop=CROP, flip=True)
    for what, augmentation in (("", NOTHING), (", crop and flip", crop)):
        for tf32 in (True, False):
            torch.backends.cudnn.allow_tf32 = tf32
            ours = timed_steps(precision="bfloat16", channels_last=True, augmentation=augmentation)
            plain = timed_steps(augmentation=augmentation)
            mine, theirs, ratio = paired(ours, plain, repeats=TURNS, clock=time.perf_counter)
            count = GPU_BATCH * STEPS
            table.add(
                f"ResNet-18, batch {GPU_BATCH}{what}; tf32 {'on' if tf32 else 'off'}",
                bf16_channels_last=rates(count, mine), float32=rates(count, theirs), ratio=faster(ratio),
            )  # fmt: skip
    torch.backends.cudnn.allow_tf32 = True


def main() -> None:
    """Print the table."""
    table = Table(__doc__ or "")
    against_loaders(table)
    overheads(table)
    if torch.cuda.is_available():
        print(f"{torch.cuda.get_device_name()}: wall-clock time; nothing in the timed steps waits for the device")
        on_gpu(table)
    else:
        print("ResNet-18 on a GPU: left out, there is no CUDA device")
    table.close()


if __name__ == "__main__":
    main()
