"""A small classifier on real data, trained past zero training error, measured on the way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import data_of, training_of
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event
from collapselab.experiments.probe import Probe
from collapselab.experiments.quantities import chosen
from collapselab.experiments.verdicts import FALL_CLAIM, fall_after_zero_error
from collapselab.records.schema import Observation, Verdict
from collapselab.training.data.digits import Digits
from collapselab.training.data.mnist1d import Mnist1d
from collapselab.training.losses import Loss
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.losses.mse import HalfSquaredError
from collapselab.training.networks.cnn import CNN
from collapselab.training.networks.mlp import MLP
from collapselab.training.optimisers.sgd import SGD
from collapselab.training.plan import Plan
from collapselab.training.schedules.step import StepSchedule

_DATA: dict[str, type[Digits | Mnist1d]] = {"digits": Digits, "mnist1d": Mnist1d}
_NETWORKS: dict[str, type[MLP | CNN]] = {"mlp": MLP, "cnn": CNN}
_LOSSES: dict[str, type[Loss]] = {"cross_entropy": CrossEntropy, "mse": HalfSquaredError}


@experiment(
    source="papyan2020",
    claim=FALL_CLAIM,
    title="Watch a network collapse",
    notes=(
        "The test split is measured about the class means of the test split, in eval mode like the training split.",
        "Weight decay acts on every parameter of the network.",
    ),
)
@dataclass(frozen=True)
class WatchCollapse:
    """Train a small classifier past zero training error and measure neural collapse on the way.

    Attributes:
        data: Data set: handwritten digits of 8 x 8 pixels, or one-dimensional signals of length 40.
        network: Multilayer perceptron, or small convolutional network.
        loss: Cross-entropy, or half the squared distance to one-hot labels.
        epochs: Passes over the training data.
        batch_size: Samples in an optimiser step.
        drop_last: Leave out the incomplete last batch of each epoch; kept, its larger noise holds NC1 up.
        learning_rate: Learning rate of SGD before any cut.
        momentum: Share of the last step that SGD keeps.
        weight_decay: Coefficient of one half of the squared norm of all parameters.
        milestones: Parts of the epochs after which the learning rate is cut.
        milestone_factor: What the learning rate is multiplied by at each milestone.
        widths: Units of the hidden layers, or channels of the convolutions; the last is the number of features. By
            default 256, 256, 64 (mlp) or 32, 64, 64 (cnn).
        batch_norm: Normalise each layer over the batch.
        samples_per_class: Training samples of each class, all others are for testing. By default 120 (digits) or 400
            (mnist1d).
        measurements: Number of log-spaced epochs after which to measure, besides the one before training.
        quantities: What to measure on the network itself besides, from its gradients: names that collapselab list
            quantities shows. Each takes gradients of single samples, at every moment that is measured.
        seed: Where all randomness comes from: the split, the initial weights, the order of samples.
    """

    data: Literal["digits", "mnist1d"] = "digits"
    network: Literal["mlp", "cnn"] = "mlp"
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    epochs: int = 300
    batch_size: int = 128
    drop_last: bool = True
    learning_rate: float = 0.04
    momentum: float = 0.9
    weight_decay: float = 2e-3
    milestones: tuple[float, ...] = (0.6, 0.85)
    milestone_factor: float = 0.1
    widths: tuple[int, ...] | None = None
    batch_norm: bool = True
    samples_per_class: int | None = None
    measurements: int = 40
    quantities: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields and fill in what depends on the data set and the network."""
        for name, known in (("data", _DATA), ("network", _NETWORKS), ("loss", _LOSSES)):
            checks.one_of(getattr(self, name), name, known)
        data, network = _DATA[self.data], _NETWORKS[self.network]
        if self.widths is None:
            object.__setattr__(self, "widths", network.default_widths)
        if self.samples_per_class is None:
            object.__setattr__(self, "samples_per_class", data.default_per_class)
        checks.whole(self.measurements, "measurements", at_least=1)
        checks.real(self.milestone_factor, "milestone_factor", above=0)
        checks.whole(self.seed, "seed", at_least=0)
        for name in ("drop_last", "batch_norm"):
            checks.flag(getattr(self, name), name)
        chosen(self.quantities)
        self._network()
        samples = self._data().samples_per_class * data.num_classes
        self._plan().batches(samples)
        smallest = self.batch_size if self.drop_last else (samples % self.batch_size or self.batch_size)
        if self.batch_norm and smallest < 2:
            raise InputError(f"batch_norm needs at least 2 samples in every batch, got batch_size {self.batch_size}")

    def _data(self) -> Digits | Mnist1d:
        return _DATA[self.data](samples_per_class=self.samples_per_class or 0)

    def _network(self) -> MLP | CNN:
        return _NETWORKS[self.network](widths=self.widths or (), batch_norm=self.batch_norm)

    def _plan(self) -> Plan:
        return Plan(
            epochs=self.epochs,
            batch_size=self.batch_size,
            drop_last=self.drop_last,
            loss=_LOSSES[self.loss](),
            optimiser=SGD(learning_rate=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay),
            schedule=StepSchedule(self.milestones, self.milestone_factor),
        )

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train and measure.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """
        data = data_of(self._data(), seed=self.seed)
        training = training_of(self._network(), data, self._plan(), seed=self.seed, probe=probe)
        moments = (0, *log_spaced(self.epochs, self.measurements))
        return probe.watch(training, at=moments, quantities=chosen(self.quantities))

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether NC1 fell at least tenfold after the training error had vanished.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        return fall_after_zero_error(observations)

    @classmethod
    def smoke(cls) -> "WatchCollapse":
        """A run of seconds: fewer images, a narrower network, and epochs enough to reach zero training error.

        Returns:
            Its configuration.
        """
        return cls(epochs=40, widths=(64, 32), samples_per_class=40, batch_size=50, measurements=12)
