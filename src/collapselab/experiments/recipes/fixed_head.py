"""A classifier fixed at the simplex from the start, beside one that is trained."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import data_of, sgd_plan, training_of
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event
from collapselab.experiments.probe import Case, Probe
from collapselab.experiments.verdicts import last_row, mean_and_half_width
from collapselab.records.schema import Observation, Paired, Reference, Verdict
from collapselab.training import Training
from collapselab.training.data.digits import Digits
from collapselab.training.heads import Head
from collapselab.training.heads.learnable import Learnable
from collapselab.training.heads.simplex_etf import SimplexETF
from collapselab.training.networks.mlp import MLP
from collapselab.training.plan import Plan

LEARNABLE, FIXED = "learnable", "fixed"

_SHAPE = (1, 8, 8)
"""Of one image of the digits."""


@experiment(
    source="zhu2021",
    claim=(
        "A classifier fixed at a simplex ETF with as many features as classes is as good as a learnable one with more:"
        " the 95 % confidence interval of the mean difference of test accuracy, over seeds, lies within one point."
    ),
    title="Fix the classifier at the simplex",
    notes=("Both heads of a seed see the same split, the same order of samples and the same initial hidden layers.",),
    chart=lambda recipe: Paired(
        metric="accuracy",
        over="head",
        interval=("difference", "difference_half_width_95"),
        references=(
            Reference(value=-recipe.margin, label="margin of the claim"),
            Reference(value=recipe.margin, label="margin of the claim"),
        ),
        words={LEARNABLE: "learnable head", FIXED: "fixed simplex head"},
    ),
)
@dataclass(frozen=True)
class FixedHead:
    """Train the same network with a learnable head and with a fixed simplex head on d = K features, for several seeds.

    Attributes:
        seeds: How many seeds.
        hidden: Units of the hidden layers before the features.
        num_features: Features under the learnable head; under the fixed one there are K.
        last_activation: Whether the features pass through a ReLU. Under the fixed head each class then has a unit of
            its own, and a class whose unit dies early in training is never learnt.
        epochs: Passes over the training data.
        batch_size: Samples in an optimiser step.
        learning_rate: Learning rate of SGD before any cut.
        weight_decay: Coefficient of one half of the squared norm of all trained parameters.
        samples_per_class: Training images of each class, all others are for testing.
        margin: Largest difference of test accuracy that counts as none.
        measurements: Number of log-spaced epochs after which to measure, besides the one before training.
        seed: The first seed.
    """

    seeds: int = 5
    hidden: tuple[int, ...] = (256, 256)
    num_features: int = 64
    last_activation: bool = False
    epochs: int = 150
    batch_size: int = 128
    learning_rate: float = 0.04
    weight_decay: float = 2e-3
    samples_per_class: int = 120
    margin: float = 0.01
    measurements: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.seeds, "seeds", at_least=1)
        checks.whole(self.measurements, "measurements", at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        checks.whole(self.num_features, "num_features", at_least=1)
        checks.real(self.margin, "margin", above=0)
        if not isinstance(self.hidden, tuple):
            raise InputError(f"hidden must be a sequence of positive integers, got {self.hidden!r}")
        self._parts(LEARNABLE)
        Digits(samples_per_class=self.samples_per_class)
        self._plan().batches(self.samples_per_class * Digits.num_classes)

    def _plan(self) -> Plan:
        return sgd_plan(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )

    def _parts(self, kind: str) -> tuple[MLP, Head]:
        width, head = (self.num_features, Learnable()) if kind == LEARNABLE else (Digits.num_classes, SimplexETF())
        return MLP(widths=(*self.hidden, width), last_activation=self.last_activation), head

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train every seed with both heads.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(kind: str, seed: int) -> Case:
            network, head = self._parts(kind)

            def make() -> Training:
                data = data_of(Digits(samples_per_class=self.samples_per_class), seed=seed)
                return training_of(network, data, self._plan(), seed=seed, probe=probe, head=head)

            settings = {"head": kind, "seed": seed, "trained_parameters": trained_parameters(network, head)}
            return Case(f"{kind}-{seed}", make, self.epochs, f"{kind} head, seed {seed}", settings)

        cases = [case(kind, self.seed + k) for k in range(self.seeds) for kind in (LEARNABLE, FIXED)]
        return probe.arms(cases, at=(0, *log_spaced(self.epochs, self.measurements)))

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether the difference of test accuracy is within the margin.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        accuracy = {
            kind: [
                1 - last_row(observations, split="test", arm=f"{kind}-{self.seed + k}").error for k in range(self.seeds)
            ]
            for kind in (LEARNABLE, FIXED)
        }
        counts = {kind: trained_parameters(*self._parts(kind)) for kind in (LEARNABLE, FIXED)}
        figures: dict[str, float | int | str | None] = {}
        for kind in (LEARNABLE, FIXED):
            figures[f"test_accuracy_{kind}"] = sum(accuracy[kind]) / self.seeds
            figures[f"trained_parameters_{kind}"] = counts[kind]
        if self.seeds < 2:
            statement = "One seed has no interval; at least 2 are needed."
            return Verdict(state="inconclusive", statement=statement, figures=figures)
        differences = [fixed - learnt for fixed, learnt in zip(accuracy[FIXED], accuracy[LEARNABLE], strict=True)]
        mean, half = mean_and_half_width([round(difference, 12) for difference in differences])  # of fractions
        saved = 1 - counts[FIXED] / counts[LEARNABLE]
        figures |= {"difference": mean, "difference_half_width_95": half, "parameters_saved": saved}
        low, high = mean - half, mean + half
        within = -self.margin <= low and high <= self.margin
        apart = high < -self.margin or low > self.margin
        statement = (
            f"Over {self.seeds} seeds the fixed head's test accuracy is {mean:+.4f} +- {half:.4f} (95 %) beside the"
            f" learnable one's, with {saved:.1%} fewer trained parameters."
        )
        return Verdict(
            state="holds" if within else "fails" if apart else "inconclusive", statement=statement, figures=figures
        )

    @classmethod
    def smoke(cls) -> "FixedHead":
        """A run of seconds.

        Returns:
            Its configuration.
        """
        return cls(
            seeds=2, hidden=(32,), num_features=16, epochs=6, batch_size=50, samples_per_class=20, measurements=2
        )


@lru_cache(maxsize=8)
def trained_parameters(network: MLP, head: Head) -> int:
    """Parameters that are trained on the digits.

    Args:
        network: Makes the features.
        head: The classifier.

    Returns:
        Their number.
    """
    built = network.build(_SHAPE, Digits.num_classes, head=head)
    return sum(parameter.numel() for parameter in built.parameters() if parameter.requires_grad)
