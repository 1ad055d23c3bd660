"""What recipes have in common: data with changed labels and sizes, and a training on them, all from one seed."""

import torch

from collapselab.core.random import child_seed, generators
from collapselab.experiments.probe import Probe
from collapselab.training import Training
from collapselab.training.data import DataSet, Splits
from collapselab.training.data.balance import Balance
from collapselab.training.data.imbalance import Imbalance
from collapselab.training.data.labels import Labels
from collapselab.training.data.subsample import Subsample
from collapselab.training.heads import Head, Neck
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.networks import Network
from collapselab.training.optimisers.sgd import SGD
from collapselab.training.plan import Plan
from collapselab.training.schedules.step import StepSchedule


def data_of(
    data: DataSet,
    *,
    seed: int,
    labels: Labels | None = None,
    subsample: Subsample | None = None,
    imbalance: Imbalance | None = None,
) -> Splits:
    """Load the data, then change labels, then sizes; each draws from a generator of its own.

    Args:
        data: Where the data come from.
        seed: Seed of the run.
        labels: What is done to the labels.
        subsample: How many samples of each class are left.
        imbalance: How unequal the classes become.

    Returns:
        Both splits on the CPU.
    """
    load, relabel, fewer, uneven = generators(seed, "data", "labels", "subsample", "imbalance")
    splits = data.load(load)
    if labels is not None:
        splits = labels.apply(splits, relabel)
    if subsample is not None:
        splits = subsample.apply(splits, fewer)
    return splits if imbalance is None else imbalance.apply(splits, uneven)


def sgd_plan(
    *, epochs: int, batch_size: int, learning_rate: float, weight_decay: float, balance: Balance | None = None
) -> Plan:
    """The usual training of a small classifier: cross-entropy, SGD with momentum, two cuts of the rate, full batches.

    Args:
        epochs: Passes over the training data.
        batch_size: Samples in an optimiser step.
        learning_rate: Rate before any cut.
        weight_decay: Coefficient of one half of the squared norm of all trained parameters.
        balance: What makes up for unequal classes.

    Returns:
        The plan.
    """
    return Plan(
        epochs=epochs,
        batch_size=batch_size,
        drop_last=True,
        loss=CrossEntropy(),
        optimiser=SGD(learning_rate=learning_rate, weight_decay=weight_decay),
        schedule=StepSchedule(),
        balance=balance,
    )


def training_of(
    network: Network,
    data: Splits,
    plan: Plan,
    *,
    seed: int,
    probe: Probe,
    head: Head | None = None,
    neck: Neck | None = None,
) -> Training:
    """A training that has not begun.

    Args:
        network: Makes the features.
        data: What it is trained on.
        plan: How.
        seed: Seed of the run: initial weights, and the order of the samples.
        probe: Where to compute.
        head: The classifier; a learnable linear layer by default.
        neck: What stands between the two; nothing by default.

    Returns:
        The training.
    """
    torch.manual_seed(child_seed(seed, "network"))
    built = network.build(data.shape, data.num_classes, head=head, neck=neck)
    (order,) = generators(seed, "order")
    return Training(built, data, plan, order=order, fabric=probe.fabric)
