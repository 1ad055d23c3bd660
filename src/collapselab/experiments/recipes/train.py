"""Any network on any data with any loss: the parts of a training, chosen one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import data_of, training_of
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.config import naming
from collapselab.experiments.events import Event
from collapselab.experiments.probe import Probe
from collapselab.experiments.quantities import chosen
from collapselab.experiments.verdicts import FALL_CLAIM, fall_after_zero_error
from collapselab.records.schema import Observation, Verdict
from collapselab.training.data import DataSet
from collapselab.training.data.augmentation import Augmentation
from collapselab.training.data.balance import Balance
from collapselab.training.data.digits import Digits
from collapselab.training.data.imbalance import Imbalance
from collapselab.training.data.labels import Labels
from collapselab.training.data.subsample import Subsample
from collapselab.training.heads import Head, Neck
from collapselab.training.heads.learnable import Learnable
from collapselab.training.losses import Loss
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.networks import Network
from collapselab.training.networks.mlp import MLP
from collapselab.training.optimisers import Optimiser
from collapselab.training.optimisers.sgd import SGD
from collapselab.training.penalties import Penalty
from collapselab.training.plan import Plan
from collapselab.training.pooling import Pooling
from collapselab.training.schedules import Schedule
from collapselab.training.schedules.step import StepSchedule
from collapselab.training.stop import Stop


@experiment(
    source="papyan2020",
    claim=FALL_CLAIM,
    title="Train a network of your choice",
)
@dataclass(frozen=True)
class Train:
    """Train any network on any data with any loss, head and optimiser, and measure neural collapse on the way.

    Attributes:
        data: Data set.
        labels: What is done to the labels: noise, labels that mean nothing, super-classes.
        subsample: How many training samples of each class are used.
        imbalance: How unequal the training classes are made.
        balance: What makes up for unequal classes: oversampling, weights on the losses.
        augmentation: What changes the inputs at random each time they are seen.
        network: Network that makes the features.
        neck: What is done to the features before the head sees them.
        head: Classifier on top of the features.
        loss: What is minimised.
        penalty: What is added to the loss.
        optimiser: How it is minimised.
        schedule: How the learning rate changes.
        warmup_epochs: Epochs over which the learning rate rises linearly from nothing.
        decay_on: What weight decay acts on: all parameters, weights but no biases and normalisation layers, or the head
            alone.
        epochs: Passes over the training data.
        stop: When to end before that.
        batch_size: Samples in a minibatch, of all processes together.
        micro_batch: Samples that each process takes forward at once, the gradients of the pieces adding up; null for
            all.
        drop_last: Leave out the incomplete last batch of each epoch.
        clip_norm: Largest norm of the gradient of a step; null for no limit.
        precision: Of the training; measurements never use bfloat16.
        channels_last: Keep images and the weights of convolutions channels last in memory.
        sync_batch_norm: Let batch normalisation go over the shares of all processes; on CUDA only.
        measurements: Number of log-spaced moments at which to measure, besides the one before training.
        clock: Whether those are epochs or optimiser steps.
        layers: Stages of the network to measure besides the features, or modules inside them by their names with dots;
            ["*"] for all stages.
        pooling: What becomes of a stage that has places: their mean, or all numbers as one long vector; of one that
            gives tokens, their mean or the first.
        quantities: What to measure on the network itself besides, from its gradients: names that collapselab list
            quantities shows. Each takes gradients of single samples, at every moment that is measured.
        seed: Where all randomness comes from.
    """

    data: DataSet = field(default_factory=Digits)
    labels: Labels = field(default_factory=Labels)
    subsample: Subsample = field(default_factory=Subsample)
    imbalance: Imbalance = field(default_factory=Imbalance)
    balance: Balance = field(default_factory=Balance)
    augmentation: Augmentation = field(default_factory=Augmentation)
    network: Network = field(default_factory=MLP)
    neck: Neck = field(default_factory=Neck)
    head: Head = field(default_factory=Learnable)
    loss: Loss = field(default_factory=CrossEntropy)
    penalty: Penalty | None = None
    optimiser: Optimiser = field(default_factory=lambda: SGD(learning_rate=0.04))
    schedule: Schedule = field(default_factory=StepSchedule)
    warmup_epochs: float = 0.0
    decay_on: Literal["all", "weights", "head"] = "all"
    epochs: int = 300
    stop: Stop = field(default_factory=Stop)
    batch_size: int = 128
    micro_batch: int | None = None
    drop_last: bool = True
    clip_norm: float | None = None
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    channels_last: bool = False
    sync_batch_norm: bool = False
    measurements: int = 40
    clock: Literal["epochs", "steps"] = "epochs"
    layers: tuple[str, ...] = ()
    pooling: Pooling = "mean"
    quantities: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.measurements, "measurements", at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        checks.one_of(self.clock, "clock", ("epochs", "steps"))
        checks.one_of(self.pooling, "pooling", get_args(Pooling))
        if not isinstance(self.layers, tuple) or not all(isinstance(name, str) for name in self.layers):
            raise InputError(f"layers must be names of stages of the network, got {self.layers!r}")
        chosen(self.quantities)
        self._plan()

    def _plan(self) -> Plan:
        same = {entry.name for entry in fields(Plan)}
        return Plan(**{entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name in same})

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train and measure.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """
        with naming("data", self.data):
            data = data_of(
                self.data, seed=self.seed, labels=self.labels, subsample=self.subsample, imbalance=self.imbalance
            )
        training = training_of(
            self.network, data, self._plan(), seed=self.seed, probe=probe, head=self.head, neck=self.neck
        )
        by_epochs = self.clock == "epochs"
        moments = log_spaced(self.epochs if by_epochs else training.planned_steps, self.measurements)
        return probe.watch(
            training,
            at=(0, *moments) if by_epochs else (0,),
            at_steps=() if by_epochs else moments,
            layers=self.layers,
            pooling=self.pooling,
            quantities=chosen(self.quantities),
        )

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether NC1 fell at least tenfold after the training error had vanished.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        return fall_after_zero_error(observations)

    @classmethod
    def smoke(cls) -> "Train":
        """A run of seconds.

        Returns:
            Its configuration.
        """
        return cls(
            data=Digits(samples_per_class=40), network=MLP(widths=(64, 32)), epochs=40, batch_size=50, measurements=12
        )
