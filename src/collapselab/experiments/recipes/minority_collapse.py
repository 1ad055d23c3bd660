"""Class vectors of small classes that fall together, and two remedies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import data_of, sgd_plan, training_of
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event
from collapselab.experiments.probe import Case, Probe
from collapselab.experiments.verdicts import last_row
from collapselab.records.schema import Against, Observation, Reference, Verdict
from collapselab.training import Training
from collapselab.training.data.balance import Balance
from collapselab.training.data.imbalance import Imbalance
from collapselab.training.data.templates1d import Templates1d
from collapselab.training.heads import Head
from collapselab.training.heads.learnable import Learnable
from collapselab.training.heads.simplex_etf import SimplexETF
from collapselab.training.networks.mlp import MLP
from collapselab.training.plan import Plan

PLAIN, OVERSAMPLED, FIXED = "plain", "oversampled", "fixed"
TITLES = {PLAIN: "cross-entropy", OVERSAMPLED: "oversampling", FIXED: "fixed simplex head"}

METRIC = "minority_cosine_weights"

# From here on the class vectors of the small classes count as fallen together.
MERGED = 0.9

# What a cosine may fall by from one ratio to the next and still count as rising.
DIP = 0.02

# How far from -1/(K-1) it may start at ratio 1: rows of a classifier with a bias have a common part.
ABOUT = 0.1


@experiment(
    source="fang2021",
    claim=(
        "The cosine between the class vectors of minority classes rises with the imbalance ratio from about -1/(K-1) to"
        " above 0.9; with oversampling or a fixed simplex head it stays below 0."
    ),
    title="Minority collapse",
    notes=(
        "All arms take about the same number of optimiser steps, so that epochs differ between arms.",
        "The head of the arms called fixed cannot move: that its class vectors stay apart is no finding. Whether the"
        " network learns the minority classes under it is told by their accuracy, in the verdict and its figures.",
    ),
    chart=lambda recipe: Against(
        metric=METRIC,
        over="ratio",
        by="remedy",
        log_x=True,
        references=(
            Reference(value=-1 / (recipe.num_classes - 1), label="−1/(K−1), a simplex"),
            Reference(value=1.0, label="fallen together"),
        ),
        words={"ratio": "imbalance ratio R", **TITLES},
    ),
)
@dataclass(frozen=True)
class MinorityCollapse:
    """Train on MNIST-1D's shapes with half of the classes made small, under cross-entropy and two remedies.

    Attributes:
        ratios: Imbalance ratios R: majority classes are R times as large as minority classes.
        remedy_ratios: Ratios at which oversampling and the fixed head are tried.
        samples_per_class: Training signals of each majority class.
        num_classes: K; the last half of the classes, rounded down, are the minority.
        widths: Units of the hidden layers; the last is the number of features.
        steps: Optimiser steps of each training, up to whole epochs.
        batch_size: Samples in an optimiser step.
        learning_rate: Learning rate of SGD before any cut.
        weight_decay: Coefficient of one half of the squared norm of all parameters; the larger, the smaller the ratio
            at which minority classes fall together.
        measurements: Number of log-spaced moments at which to measure, besides the one before training.
        seed: Where all randomness comes from.
    """

    ratios: tuple[float, ...] = (1.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
    remedy_ratios: tuple[float, ...] = (100.0, 1000.0)
    samples_per_class: int = 5000
    num_classes: int = 10
    widths: tuple[int, ...] = (256, 256, 64)
    steps: int = 4000
    batch_size: int = 128
    learning_rate: float = 0.05
    weight_decay: float = 5e-3
    measurements: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("steps", "measurements"):
            checks.whole(getattr(self, name), name, at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        checks.whole(self.num_classes, "num_classes", at_least=4)
        for name in ("ratios", "remedy_ratios"):
            values = getattr(self, name)
            if not isinstance(values, tuple) or list(values) != sorted(set(values)):
                raise InputError(f"{name} must be different numbers in ascending order, got {values!r}")
            for value in values:
                checks.real(value, f"every entry of {name}", at_least=1)
        if len(self.ratios) < 2:
            raise InputError(f"ratios must be at least two, got {self.ratios!r}")
        self._data()
        MLP(widths=self.widths)
        for ratio in (*self.ratios, *self.remedy_ratios):
            self._plan(PLAIN, ratio)

    @property
    def epochs(self) -> int:
        """Epochs of all arms together."""
        return sum(self._plan(remedy, ratio).epochs for remedy, ratio in self._arms())

    def _arms(self) -> list[tuple[str, float]]:
        """Remedy and ratio of each arm."""
        return [
            *((PLAIN, ratio) for ratio in self.ratios),
            *((remedy, ratio) for remedy in (OVERSAMPLED, FIXED) for ratio in self.remedy_ratios),
        ]

    def _data(self) -> Templates1d:
        return Templates1d(templates="mnist1d", num_classes=self.num_classes, samples_per_class=self.samples_per_class)

    def _imbalance(self, ratio: float) -> Imbalance:
        return Imbalance("step", ratio=ratio) if ratio > 1 else Imbalance()

    def _plan(self, remedy: str, ratio: float) -> Plan:
        counts = self._imbalance(ratio).counts(self.samples_per_class, self.num_classes)
        size = max(counts) * self.num_classes if remedy == OVERSAMPLED else sum(counts)
        per_epoch = max(1, size // self.batch_size)
        plan = sgd_plan(
            epochs=max(1, round(self.steps / per_epoch)),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            balance=Balance(oversample=remedy == OVERSAMPLED),
        )
        plan.batches(size)
        return plan

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train every arm.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(remedy: str, ratio: float) -> Case:
            plan = self._plan(remedy, ratio)
            head: Head = SimplexETF() if remedy == FIXED else Learnable()

            def make() -> Training:
                data = data_of(self._data(), seed=self.seed, imbalance=self._imbalance(ratio))
                return training_of(MLP(widths=self.widths), data, plan, seed=self.seed, probe=probe, head=head)

            title = f"{TITLES[remedy]}, R = {ratio:g}"
            return Case(_arm(remedy, ratio), make, plan.epochs, title, {"remedy": remedy, "ratio": ratio})

        cases = [case(remedy, ratio) for remedy, ratio in self._arms()]
        return probe.arms(cases, at=(0,), at_steps=log_spaced(self.steps, self.measurements))

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether the cosine rises to one, and stays below zero with the remedies.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        figures: dict[str, float | int | str | None] = {}
        cosines: dict[str, list[float]] = {PLAIN: [], OVERSAMPLED: [], FIXED: []}
        learnt: dict[str, float] = {}
        try:
            for remedy, ratios in (
                (PLAIN, self.ratios),
                (OVERSAMPLED, self.remedy_ratios),
                (FIXED, self.remedy_ratios),
            ):
                for ratio in ratios:
                    arm = _arm(remedy, ratio)
                    train, test = (last_row(observations, split=split, arm=arm) for split in ("train", "test"))
                    cosines[remedy].append(train.result[METRIC])
                    learnt[arm] = self._minority_accuracy(train)
                    figures[f"{METRIC}_{arm}"] = train.result[METRIC]
                    figures[f"minority_train_accuracy_{arm}"] = learnt[arm]
                    figures[f"minority_test_accuracy_{arm}"] = self._minority_accuracy(test)
        except UndefinedMetric as undefined:
            return Verdict(state="inconclusive", statement=f"A cosine has no value: {undefined}.", figures=figures)
        plain, remedied = cosines[PLAIN], cosines[OVERSAMPLED] + cosines[FIXED]
        rises = all(after >= before - DIP for before, after in pairwise(plain))
        simplex = -1 / (self.num_classes - 1)
        starts = self.ratios[0] > 1 or abs(plain[0] - simplex) <= ABOUT
        statement = (
            f"From R = {self.ratios[0]:g} to {self.ratios[-1]:g} the mean cosine between minority class vectors went"
            f" from {plain[0]:.3f} to {plain[-1]:.3f}; -1/(K-1) is {simplex:.3f}"
        )
        if remedied:
            statement += f"; with the remedies it was at most {max(remedied):.3f}. {self._told(learnt)}"
        holds = rises and starts and plain[-1] > MERGED and all(cosine < 0 for cosine in remedied)
        return Verdict(state="holds" if holds else "fails", statement=statement + ".", figures=figures)

    def _minority_accuracy(self, row: Observation) -> float:
        """Mean over minority classes of the share of their samples that is classified right."""
        few = self.num_classes // 2
        return sum((row.result.per_class["class_accuracy"].values or ())[-few:]) / few

    def _told(self, learnt: dict[str, float]) -> str:
        """What the network makes of the minority at the largest ratio that was tried with the remedies."""
        ratio = self.remedy_ratios[-1]
        words = {PLAIN: "without remedy", OVERSAMPLED: "with oversampling", FIXED: "under the fixed head"}
        shares = [f"{learnt[_arm(key, ratio)]:.0%} {said}" for key, said in words.items() if _arm(key, ratio) in learnt]
        return f"Accuracy on the minority's training samples at R = {ratio:g} is {', '.join(shares)}"

    @classmethod
    def smoke(cls) -> "MinorityCollapse":
        """A run of seconds: two ratios, few and small classes.

        Returns:
            Its configuration.
        """
        return cls(
            ratios=(1.0, 50.0),
            remedy_ratios=(50.0,),
            samples_per_class=100,
            num_classes=4,
            widths=(32, 16),
            steps=60,
            batch_size=50,
            measurements=2,
        )


def _arm(remedy: str, ratio: float) -> str:
    return f"{remedy}-R{ratio:g}"
