"""Any network on any data with any loss: the parts of a training, chosen one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from collapselab.core import checks
from collapselab.core.random import child_seed, generators
from collapselab.experiments._spec import experiment
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event
from collapselab.experiments.probe import Probe
from collapselab.experiments.recipes.watch_collapse import fall_after_zero_error
from collapselab.records.schema import Observation, Verdict
from collapselab.training import Training
from collapselab.training.data import DataSet
from collapselab.training.data.digits import Digits
from collapselab.training.heads import Head, Learnable, Neck
from collapselab.training.loop import Plan
from collapselab.training.losses import Loss
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.networks import Network
from collapselab.training.networks.mlp import MLP
from collapselab.training.optimisers import SGD, Optimiser
from collapselab.training.penalties import Penalty
from collapselab.training.schedules import Schedule, StepSchedule


@experiment(
    source="papyan2020",
    claim=(
        "Trained on past zero training error, the within-class variability of the training features keeps falling:"
        " nc1_pinv ends at a tenth or less of its value at the first measurement without training error."
    ),
    title="Train a network of your choice",
)
@dataclass(frozen=True)
class Train:
    """Train any network on any data with any loss, head and optimiser, and measure neural collapse on the way.

    Attributes:
        data: Data set.
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
        batch_size: Samples in a minibatch, of all processes together.
        drop_last: Leave out the incomplete last batch of each epoch.
        measurements: Number of log-spaced epochs after which to measure, besides the one before training.
        seed: Where all randomness comes from.
    """

    data: DataSet = field(default_factory=Digits)
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
    batch_size: int = 128
    drop_last: bool = True
    measurements: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.measurements, "measurements", at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        self._plan()

    def _plan(self) -> Plan:
        return Plan(
            epochs=self.epochs,
            batch_size=self.batch_size,
            drop_last=self.drop_last,
            loss=self.loss,
            penalty=self.penalty,
            optimiser=self.optimiser,
            schedule=self.schedule,
            warmup_epochs=self.warmup_epochs,
            decay_on=self.decay_on,
        )

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train and measure.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """
        split, order = generators(self.seed, "data", "order")
        data = self.data.load(split)
        torch.manual_seed(child_seed(self.seed, "network"))
        network = self.network.build(data.shape, data.num_classes, head=self.head, neck=self.neck)
        training = Training(network, data, self._plan(), order=order, device=probe.device)
        return probe.watch(training, at=(0, *log_spaced(self.epochs, self.measurements)))

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
