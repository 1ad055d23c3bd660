"""Class vectors of rare digits as their number falls, beside what free features with decay do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import sgd_plan, training_of
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event
from collapselab.experiments.extra import Extra, declared
from collapselab.experiments.probe import Case, Probe
from collapselab.experiments.uneven import (
    check_ratios,
    clear_of,
    epochs_of,
    minority_accuracy,
    shown_counts,
    uneven_digits,
)
from collapselab.experiments.verdicts import last_row, mean_and_half_width
from collapselab.metrics import Evidence
from collapselab.records.schema import Against, Observation, Reference, Verdict
from collapselab.theory import Problem
from collapselab.theory.imbalanced_cross_entropy import ImbalancedCrossEntropy
from collapselab.training import Training
from collapselab.training.data.balance import Balance
from collapselab.training.data.digits import Digits
from collapselab.training.networks.mlp import MLP
from collapselab.training.plan import Plan

PLAIN, OVERSAMPLED = "plain", "oversampled"
TITLES = {PLAIN: "cross-entropy", OVERSAMPLED: "oversampling"}

METRIC = "minority_cosine_weights"

# How far from -1/(K-1) the mean cosine may be under oversampling.
NEAR = 0.02

PREDICTED = declared(
    "minority_cosine_predicted",
    "predicted",
    "Cosine between class vectors of the minority in the model of free features with the weight decay of the network,"
    " the decay of features being fitted so that the measured norms of classifier and features are in balance.",
    symbol=r"\cos(w_k^*,w_l^*)",
    source="fang2021",
    family="imbalance",
    at_collapse=None,
    lower=-1.0,
    upper=1.0,
)


@experiment(
    source="fang2021",
    claim=(
        "The mean cosine between the class vectors of rare digits rises with every step of the imbalance ratio; with"
        " oversampling it stays within 0.02 of -1/(K-1)."
    ),
    title="Angles of minority classes",
    notes=(
        "The rare classes are the digits 5 to 9. A seed has the same test images at every ratio, and its training sets"
        " are nested.",
        "All arms take about the same number of optimiser steps, so that epochs differ between arms.",
        "The prediction knows the numbers of samples, the weight decay and the balance of norms of the trained"
        " network; features behind a ReLU cannot be negative, of which it knows nothing.",
    ),
    chart=lambda recipe: Against(
        metric=METRIC,
        beside=(PREDICTED.name,),
        over="ratio",
        by="remedy",
        log_x=True,
        half_width="half_width",
        title="mean cosine between minority class vectors",
        references=(Reference(value=-1 / (Digits.num_classes - 1), label="−1/(K−1), a simplex"),),
        words={"ratio": "imbalance ratio R", **TITLES},
    ),
)
@dataclass(frozen=True)
class MinorityAngles:
    """Train on the digits with half of the classes made rare, for several ratios and seeds, with and without a remedy.

    Attributes:
        ratios: Imbalance ratios R: majority classes are R times as large as minority classes.
        seeds: How many seeds.
        samples_per_class: Training images of each majority class.
        widths: Units of the hidden layers; the last is the number of features.
        steps: Optimiser steps of each training, up to whole epochs.
        batch_size: Samples in an optimiser step.
        learning_rate: Learning rate of SGD before any cut.
        weight_decay: Coefficient of one half of the squared norm of all parameters.
        measurements: Number of log-spaced moments at which to measure, the last being the end, besides the start.
        seed: The first seed.
    """

    ratios: tuple[float, ...] = (1.0, 10.0, 20.0, 50.0, 100.0)
    seeds: int = 5
    samples_per_class: int = 100
    widths: tuple[int, ...] = (256, 256, 64)
    steps: int = 2000
    batch_size: int = 64
    learning_rate: float = 0.05
    weight_decay: float = 5e-3
    measurements: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("seeds", "steps", "measurements"):
            checks.whole(getattr(self, name), name, at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        checks.real(self.weight_decay, "weight_decay", above=0)
        check_ratios(self.ratios, at_least=2)
        Digits(samples_per_class=self.samples_per_class)
        MLP(widths=self.widths)
        for remedy, ratio, _ in self._arms():
            self._plan(remedy, ratio).batches(sum(self._counted(remedy, ratio)))

    @property
    def epochs(self) -> int:
        """Epochs of all arms together."""
        return sum(self._plan(remedy, ratio).epochs for remedy, ratio, _ in self._arms())

    def _arms(self) -> list[tuple[str, float, int]]:
        """Remedy, ratio and seed of each arm; where classes are equal there is nothing to remedy."""
        seeds = range(self.seed, self.seed + self.seeds)
        pairs = [(PLAIN, ratio) for ratio in self.ratios]
        pairs += [(OVERSAMPLED, ratio) for ratio in self.ratios if ratio > 1]
        return [(remedy, ratio, seed) for remedy, ratio in pairs for seed in seeds]

    def _counted(self, remedy: str, ratio: float) -> tuple[int, ...]:
        """Samples of each class as an epoch counts them."""
        return shown_counts(ratio, samples_per_class=self.samples_per_class, oversample=remedy == OVERSAMPLED)

    def _plan(self, remedy: str, ratio: float) -> Plan:
        samples = sum(self._counted(remedy, ratio))
        return sgd_plan(
            epochs=epochs_of(self.steps, samples=samples, batch_size=self.batch_size),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            balance=Balance(oversample=remedy == OVERSAMPLED),
        )

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train every arm.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(remedy: str, ratio: float, seed: int) -> Case:
            counted, plan = self._counted(remedy, ratio), self._plan(remedy, ratio)

            def make() -> Training:
                data = uneven_digits(ratio, samples_per_class=self.samples_per_class, seed=seed)
                return training_of(MLP(widths=self.widths), data, plan, seed=seed, probe=probe)

            def extra(evidence: Evidence, split: str) -> Iterable[Extra]:
                predicted = [self._predicted(evidence, counted)] if split == "train" else []
                return [*predicted, minority_accuracy(evidence)]

            title = f"{TITLES[remedy]}, R = {ratio:g}, seed {seed}"
            settings = {"remedy": remedy, "ratio": ratio, "seed": seed}
            return Case(_arm(remedy, ratio, seed), make, plan.epochs, title, settings, extra)

        cases = [case(*arm) for arm in self._arms()]
        return probe.arms(cases, at=(0,), at_steps=log_spaced(self.steps, self.measurements)[:-1])

    def _predicted(self, evidence: Evidence, counted: Sequence[int]) -> Extra:
        try:
            return PREDICTED, predicted_cosine(evidence, counted, weight_decay=self.weight_decay)
        except InputError as refused:
            return PREDICTED, f"the model has no answer: {refused}"

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether the cosine rises at every step, and stays at a simplex with oversampling.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        figures: dict[str, float | int | str | None] = {}
        try:
            measured, predicted = self._ends(observations, METRIC), self._ends(observations, PREDICTED.name)
            accuracies = self._ends(observations, "minority_accuracy", split="test")
        except UndefinedMetric as undefined:
            return Verdict(state="inconclusive", statement=f"A cosine has no value: {undefined}.", figures=figures)
        if self.seeds < 2:
            statement = "One seed has no interval; at least 2 are needed."
            return Verdict(state="inconclusive", statement=statement, figures=figures)
        for key, values in measured.items():
            figures |= _interval(f"{key[0]}_{key[1]:g}", values)
            figures[f"predicted_{key[0]}_{key[1]:g}"] = sum(predicted[key]) / self.seeds
            figures[f"minority_test_accuracy_{key[0]}_{key[1]:g}"] = sum(accuracies[key]) / self.seeds
        steps = [
            mean_and_half_width([b - a for a, b in zip(measured[PLAIN, low], measured[PLAIN, high], strict=True)])
            for low, high in pairwise(self.ratios)
        ]
        simplex = -1 / (Digits.num_classes - 1)
        away = [_distance(values, simplex) for (remedy, _), values in measured.items() if remedy == OVERSAMPLED]
        off = {key: sum(values) / self.seeds - sum(predicted[key]) / self.seeds for key, values in measured.items()}
        figures |= {
            "smallest_step": min(mean for mean, _ in steps),
            "largest_from_prediction": max(map(abs, off.values())),
        }
        figures["largest_from_simplex_oversampled"] = max((d for d, _ in away), default=None)
        sides = [clear_of(0.0, *step) for step in steps]
        sides += [-clear_of(NEAR, *one) for one in away]
        state = "fails" if min(sides) < 0 else "holds" if min(sides) > 0 else "inconclusive"
        return Verdict(state=state, statement=self._told(figures, steps), figures=figures)

    def _ends(
        self, observations: Sequence[Observation], metric: str, *, split: str = "train"
    ) -> Mapping[tuple[str, float], list[float]]:
        """Last values of a number by remedy and ratio, one a seed."""
        found: dict[tuple[str, float], list[float]] = {}
        for remedy, ratio, seed in self._arms():
            row = last_row(observations, split=split, arm=_arm(remedy, ratio, seed))
            found.setdefault((remedy, ratio), []).append(row.result[metric])
        return found

    def _told(self, figures: Mapping[str, float | int | str | None], steps: Sequence[tuple[float, float]]) -> str:
        course = ", ".join(
            f"{figures[f'mean_{PLAIN}_{ratio:g}']:.3f} ± {figures[f'half_width_{PLAIN}_{ratio:g}']:.3f}"
            for ratio in self.ratios
        )
        foretold = ", ".join(f"{figures[f'predicted_{PLAIN}_{ratio:g}']:.3f}" for ratio in self.ratios)
        clear = sum(clear_of(0.0, *step) > 0 for step in steps)
        statement = (
            f"At R = {', '.join(f'{ratio:g}' for ratio in self.ratios)} the mean cosine between minority class vectors"
            f" is {course} (95 % over {self.seeds} seeds), a rise in {clear} of {len(steps)} steps; free"
            f" features with decay predict {foretold}"
        )
        away = figures["largest_from_simplex_oversampled"]
        return statement + ("." if away is None else f"; with oversampling it is at most {away:.3f} from -1/(K-1).")

    @classmethod
    def smoke(cls) -> "MinorityAngles":
        """A run of seconds: two ratios, two seeds, a small network.

        Returns:
            Its configuration.
        """
        return cls(
            ratios=(1.0, 10.0),
            seeds=2,
            samples_per_class=20,
            widths=(32, 16),
            steps=60,
            batch_size=25,
            measurements=1,
        )


def predicted_cosine(evidence: Evidence, counted: Sequence[int], *, weight_decay: float) -> float:
    """The cosine between class vectors of the rarest classes where features are free, and decayed like the network's.

    Args:
        evidence: Head and moments of the training split, all classes of which have samples.
        counted: Samples of each class as the loss counts them.
        weight_decay: Decay of weight and bias of the head.

    Returns:
        The cosine.

    Raises:
        InputError: If features or head are zero, or the model keeps nothing of the rarest classes.
    """
    stats, head = evidence.stats, evidence.head64
    if head is None:
        raise InputError("head must be given, got none")
    squares = stats.means.double().square().sum(1) + stats.class_scatter.double() / stats.counts.double()
    of_features = sum(n * float(square) for n, square in zip(counted, squares, strict=True))
    of_head = float(head.weight.detach().square().sum())
    if not (of_head > 0 and of_features > 0):
        raise InputError(f"features and head must not be zero, got squared norms {of_features:g} and {of_head:g}")
    # lambda_W |W|^2 = lambda_H |H|^2 at every critical point, |H|^2 summed over samples.
    decay_features = weight_decay * of_head / of_features
    sizes = (tuple(counted), stats.num_features, weight_decay, decay_features)
    model = ImbalancedCrossEntropy(Problem(*sizes, bias="decay", decay_bias=weight_decay))
    return model.geometry().weights.cosines().between[-1][-1]


def _arm(remedy: str, ratio: float, seed: int) -> str:
    return f"{remedy}-R{ratio:g}-{seed}"


def _interval(name: str, values: Sequence[float]) -> dict[str, float | int | str | None]:
    mean, half = mean_and_half_width(values)
    return {f"mean_{name}": mean, f"half_width_{name}": half}


def _distance(values: Sequence[float], value: float) -> tuple[float, float]:
    """How far the mean of values is from a value, and half the width of its interval."""
    mean, half = mean_and_half_width(values)
    return abs(mean - value), half
