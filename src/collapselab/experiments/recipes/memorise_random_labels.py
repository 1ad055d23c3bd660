"""A network that memorises labels which mean nothing, and collapses all the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from collapselab.core import checks
from collapselab.core.errors import UndefinedMetric
from collapselab.core.random import generators
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import data_of, sgd_plan, training_of
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event, Observed
from collapselab.experiments.probe import Probe
from collapselab.experiments.verdicts import last_row
from collapselab.measuring import measure
from collapselab.records.schema import NullBand, Observation, Verdict
from collapselab.training import Training
from collapselab.training.data.digits import Digits
from collapselab.training.data.labels import Labels
from collapselab.training.losses import Outputs
from collapselab.training.networks.mlp import MLP
from collapselab.training.plan import Plan

PERMUTED = "permuted"
"""Split of the rows that measure the training features under permuted labels."""

# What part of its value under permuted labels NC1 must fall below for the claim to hold.
PART = 0.1


@experiment(
    source="kothapalli2023",
    claim=(
        "A network that memorises random labels collapses as well: nc1_pinv of the training features, about the labels"
        " it was trained on, falls below a tenth of its mean over permutations of those labels."
    ),
    title="Memorise random labels",
    notes=(
        "The training labels are a random permutation of the true ones, so that classes stay as large as they were; the"
        " test split keeps its true labels, which training says nothing about.",
        "Rows of the split called permuted measure the training features at the end, each about another permutation of"
        " the labels: what NC1 is worth where labels have nothing to do with features.",
    ),
    chart=NullBand(metric="nc1_pinv", null=PERMUTED, part=PART, words={PERMUTED: "permuted labels"}),
)
@dataclass(frozen=True)
class MemoriseRandomLabels:
    """Train a multilayer perceptron on handwritten digits with random labels, and compare NC1 with permuted labels.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Samples in an optimiser step.
        learning_rate: Learning rate of SGD before any cut.
        weight_decay: Coefficient of one half of the squared norm of all parameters.
        widths: Units of the hidden layers; the last is the number of features.
        samples_per_class: Training images of each class.
        permutations: Permutations of the labels that the end is compared with.
        measurements: Number of log-spaced epochs after which to measure, besides the one before training.
        seed: Where all randomness comes from.
    """

    epochs: int = 300
    batch_size: int = 128
    learning_rate: float = 0.04
    weight_decay: float = 2e-3
    widths: tuple[int, ...] = (256, 256, 64)
    samples_per_class: int = 120
    permutations: int = 20
    measurements: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.permutations, "permutations", at_least=1)
        checks.whole(self.measurements, "measurements", at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        MLP(widths=self.widths)
        Digits(samples_per_class=self.samples_per_class)
        self._plan().batches(self.samples_per_class * Digits.num_classes)

    def _plan(self) -> Plan:
        return sgd_plan(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train, measure, and measure the end once more about permuted labels.

        Args:
            probe: The device, and where to go on from.

        Yields:
            What happens, as it happens.
        """
        data = data_of(Digits(samples_per_class=self.samples_per_class), seed=self.seed, labels=Labels(random=True))
        training = training_of(MLP(widths=self.widths), data, self._plan(), seed=self.seed, probe=probe)
        yield from probe.watch(training, at=(0, *log_spaced(self.epochs, self.measurements)))
        for row in permuted_rows(training, permutations=self.permutations, seed=self.seed):
            yield Observed(row)

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether NC1 ended below a tenth of its mean over permutations.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        end = last_row(observations, split="train")
        null = [row for row in observations if row.split == PERMUTED]
        figures: dict[str, float | int | str | None] = {"training_error_at_end": end.error}
        if end.error > 0:
            statement = f"The labels were not memorised: the training error ended at {end.error:.3g}."
            return Verdict(state="inconclusive", statement=statement, figures=figures)
        try:
            value, values = end.result["nc1_pinv"], [row.result["nc1_pinv"] for row in null]
        except UndefinedMetric as undefined:
            return Verdict(state="inconclusive", statement=f"NC1 has no value: {undefined}.", figures=figures)
        mean = sum(values) / len(values)
        figures |= {"nc1_pinv_at_end": value, "nc1_pinv_permuted_mean": mean, "part_of_permuted": value / mean}
        figures |= {"nc1_pinv_permuted_min": min(values), "nc1_pinv_permuted_max": max(values)}
        statement = (
            f"With every label memorised nc1_pinv ended at {value:.3g}, {value / mean:.2g} of its mean {mean:.3g} over"
            f" {len(values)} permutations of the labels."
        )
        return Verdict(state="holds" if value < PART * mean else "fails", statement=statement, figures=figures)

    @classmethod
    def smoke(cls) -> "MemoriseRandomLabels":
        """A run of seconds that still memorises its labels.

        Returns:
            Its configuration.
        """
        return cls(epochs=80, widths=(128, 32), samples_per_class=20, batch_size=50, permutations=5, measurements=6)


def permuted_rows(training: Training, *, permutations: int, seed: int) -> Iterator[Observation]:
    """Measure the training features about random permutations of their labels.

    Args:
        training: Where it stands, at its end.
        permutations: How many.
        seed: Seed of the run.

    Yields:
        One row a permutation.
    """
    (draw,) = generators(seed, "permutations")
    features = training.evaluate(lambda outputs, _: outputs.features)
    y, head = training.data.train.y, training.network.head
    for _ in range(permutations):
        permuted = y[torch.randperm(len(y), generator=draw).to(y.device)]
        found = measure((features, permuted), head=head, split=PERMUTED, num_classes=training.data.num_classes)
        with torch.no_grad():
            outputs = Outputs(head(features), features, head.weight, head.bias)
            loss = float(training.losses(outputs, permuted).mean())
        yield Observation(
            epoch=training.epoch,
            step=training.step,
            split=PERMUTED,
            loss=loss,
            error=1 - found["accuracy"],
            learning_rate=training.learning_rate,
            result=found.model_copy(update={"provenance": None}),
        )
