"""What helps rare classes: repeated samples, weighted losses, or a simplex fixed in advance, under two losses."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from collapselab.core import checks
from collapselab.core.errors import UndefinedMetric
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import sgd_plan, training_of
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event
from collapselab.experiments.extra import Extra
from collapselab.experiments.probe import Case, Probe
from collapselab.experiments.uneven import (
    MINORITY_ACCURACY,
    check_ratios,
    clear_of,
    epochs_of,
    minority_accuracy,
    shown_counts,
    uneven_digits,
)
from collapselab.experiments.verdicts import last_row, mean_and_half_width
from collapselab.metrics import Evidence
from collapselab.records.schema import Against, Observation, Verdict
from collapselab.training import Training
from collapselab.training.data.balance import Balance
from collapselab.training.data.digits import Digits
from collapselab.training.heads import Head, Neck
from collapselab.training.heads.learnable import Learnable
from collapselab.training.heads.simplex_etf import SimplexETF
from collapselab.training.losses import Loss
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.losses.dot_regression import DotRegression
from collapselab.training.networks.mlp import MLP
from collapselab.training.plan import Plan

COSINE = "minority_cosine_weights"


@dataclass(frozen=True)
class _Remedy:
    """What is done.

    Attributes:
        title: A few words for people.
        balance: What makes up for unequal classes.
        fixed: Whether the head is a simplex that is not trained.
        neck: Whether a linear layer and batch normalisation stand before the head, so that features have both signs.
        loss: What is minimised.
    """

    title: str
    balance: Balance = field(default_factory=Balance)
    fixed: bool = False
    neck: bool = False
    loss: Loss = field(default_factory=CrossEntropy)


DOT = "fixed_dot_regression"

REMEDIES: Mapping[str, _Remedy] = {
    "none": _Remedy("no remedy"),
    "oversampling": _Remedy("oversampling", Balance(oversample=True)),
    "class_weights": _Remedy("class weights", Balance(class_weights="inverse")),
    "neck": _Remedy("no remedy, normalised features", neck=True),
    "fixed_cross_entropy": _Remedy("fixed simplex, cross-entropy", fixed=True, neck=True),
    DOT: _Remedy("fixed simplex, dot regression", fixed=True, neck=True, loss=DotRegression()),
}


@experiment(
    source="yang2022",
    claim=(
        "A fixed simplex trained by dot regression serves rare classes best: at every imbalance ratio its accuracy on"
        " their test images is above that of every other remedy, by the 95 % confidence interval of the difference over"
        " seeds."
    ),
    title="Remedies for minority classes",
    notes=(
        "All remedies of a seed see the same images. The rare classes are the digits 5 to 9.",
        "Features behind a ReLU cannot match every fixed simplex: before a fixed head there are a linear layer and"
        " batch normalisation, and with dot regression all features have length 1. The same layers before a head"
        " that learns are an arm of their own, so that what they do is not taken for what the simplex does.",
        "That the class vectors of a fixed head stay apart is no finding.",
        "All arms take about the same number of optimiser steps, so that epochs differ between arms.",
    ),
    chart=Against(
        metric=MINORITY_ACCURACY.name,
        split="test",
        over="ratio",
        by="remedy",
        log_x=True,
        half_width="half_width_accuracy",
        words={"ratio": "imbalance ratio R", **{name: one.title for name, one in REMEDIES.items()}},
    ),
)
@dataclass(frozen=True)
class MinorityRemedies:
    """Train on the digits with half of the classes made rare, with every remedy and for several seeds.

    Attributes:
        ratios: Imbalance ratios R: majority classes are R times as large as minority classes.
        seeds: How many seeds.
        samples_per_class: Training images of each majority class.
        widths: Units of the hidden layers; the last is the number of features.
        steps: Optimiser steps of each training, up to whole epochs.
        batch_size: Samples in an optimiser step.
        learning_rate: Learning rate of SGD before any cut.
        weight_decay: Coefficient of one half of the squared norm of all trained parameters.
        measurements: Number of log-spaced moments at which to measure, the last being the end, besides the start.
        seed: The first seed.
    """

    ratios: tuple[float, ...] = (20.0, 50.0)
    seeds: int = 5
    samples_per_class: int = 100
    widths: tuple[int, ...] = (256, 256, 64)
    steps: int = 1500
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
        check_ratios(self.ratios)
        Digits(samples_per_class=self.samples_per_class)
        MLP(widths=self.widths)
        for remedy, ratio, _ in self._arms():
            self._plan(remedy, ratio).batches(self._shown(remedy, ratio))

    @property
    def epochs(self) -> int:
        """Epochs of all arms together."""
        return sum(self._plan(remedy, ratio).epochs for remedy, ratio, _ in self._arms())

    def _shown(self, remedy: str, ratio: float) -> int:
        """Samples in an epoch."""
        oversample = REMEDIES[remedy].balance.oversample
        return sum(shown_counts(ratio, samples_per_class=self.samples_per_class, oversample=oversample))

    def _plan(self, remedy: str, ratio: float) -> Plan:
        plan = sgd_plan(
            epochs=epochs_of(self.steps, samples=self._shown(remedy, ratio), batch_size=self.batch_size),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            balance=REMEDIES[remedy].balance,
        )
        return replace(plan, loss=REMEDIES[remedy].loss)

    def _before(self, remedy: str) -> tuple[Neck | None, Head]:
        """What stands behind the body."""
        one, neck = REMEDIES[remedy], None
        if one.neck:
            unit = isinstance(one.loss, DotRegression)
            neck = Neck(linear=self.widths[-1], centre="batch_norm", normalise=unit)
        return neck, SimplexETF(orientation="blocks") if one.fixed else Learnable()

    def _seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train with every remedy.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(remedy: str, ratio: float, seed: int) -> Case:
            plan = self._plan(remedy, ratio)

            def make() -> Training:
                data = uneven_digits(ratio, samples_per_class=self.samples_per_class, seed=seed)
                (neck, head), network = self._before(remedy), MLP(widths=self.widths)
                return training_of(network, data, plan, seed=seed, probe=probe, head=head, neck=neck)

            def extra(evidence: Evidence, split: str) -> Iterable[Extra]:
                del split
                return [minority_accuracy(evidence)]

            title = f"{REMEDIES[remedy].title}, R = {ratio:g}, seed {seed}"
            settings = {"remedy": remedy, "ratio": ratio, "seed": seed}
            return Case(_arm(remedy, ratio, seed), make, plan.epochs, title, settings, extra)

        cases = [case(*arm) for arm in self._arms()]
        return probe.arms(cases, at=(0,), at_steps=log_spaced(self.steps, self.measurements)[:-1])

    def _arms(self) -> list[tuple[str, float, int]]:
        """Remedy, ratio and seed of each arm."""
        return [(remedy, ratio, seed) for remedy in REMEDIES for ratio in self.ratios for seed in self._seeds()]

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether dot regression on a fixed simplex is better than every other remedy.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on. It takes one interval on the wrong side to fail.
        """
        if self.seeds < 2:
            statement = "One seed has no interval; at least 2 are needed."
            return Verdict(state="inconclusive", statement=statement, figures={})
        try:
            accuracies = self._ends(observations, MINORITY_ACCURACY.name, "test")
            cosines = self._ends(observations, COSINE, "train")
        except UndefinedMetric as undefined:
            return Verdict(state="inconclusive", statement=f"A number has no value: {undefined}.", figures={})
        figures: dict[str, float | int | str | None] = {}
        for said, ends in (("accuracy", accuracies), ("cosine", cosines)):
            for (remedy, ratio), values in ends.items():
                mean, half = mean_and_half_width(values)
                figures |= {f"{said}_{remedy}_{ratio:g}": mean, f"half_width_{said}_{remedy}_{ratio:g}": half}
        sides: dict[tuple[str, float], int] = {}
        for remedy, ratio in accuracies:
            if remedy == DOT:
                continue
            pairs = zip(accuracies[DOT, ratio], accuracies[remedy, ratio], strict=True)
            # Equal differences must not be told apart by rounding.
            mean, half = mean_and_half_width([round(ours - other, 12) for ours, other in pairs])
            figures |= {f"better_than_{remedy}_{ratio:g}": mean, f"half_width_better_than_{remedy}_{ratio:g}": half}
            sides[remedy, ratio] = clear_of(0.0, mean, half)
        state = "fails" if min(sides.values()) < 0 else "holds" if min(sides.values()) > 0 else "inconclusive"
        told = ". ".join(_told(ratio, figures, sides) for ratio in self.ratios)
        statement = f"{told} (95 % over {self.seeds} seeds)."
        return Verdict(state=state, statement=statement, figures=figures)

    def _ends(
        self, observations: Sequence[Observation], metric: str, split: str
    ) -> Mapping[tuple[str, float], list[float]]:
        """Last values of a number by remedy and ratio, one a seed."""
        found: dict[tuple[str, float], list[float]] = {}
        for remedy, ratio, seed in self._arms():
            row = last_row(observations, split=split, arm=_arm(remedy, ratio, seed))
            found.setdefault((remedy, ratio), []).append(row.result[metric])
        return found

    @classmethod
    def smoke(cls) -> "MinorityRemedies":
        """A run of seconds: one ratio, two seeds, a small network.

        Returns:
            Its configuration.
        """
        return cls(
            ratios=(10.0,), seeds=2, samples_per_class=20, widths=(32, 16), steps=40, batch_size=25, measurements=1
        )


def _arm(remedy: str, ratio: float, seed: int) -> str:
    return f"{remedy}-R{ratio:g}-{seed}"


def _told(
    ratio: float,
    figures: Mapping[str, float | int | str | None],
    sides: Mapping[tuple[str, float], int],
) -> str:
    """What came out at a ratio."""

    def accuracy(remedy: str) -> str:
        mean, half = (figures[f"{part}accuracy_{remedy}_{ratio:g}"] for part in ("", "half_width_"))
        return f"{REMEDIES[remedy].title} {mean:.3f} ± {half:.3f}"

    words = {1: "It is above", -1: "It is below", 0: "The intervals of the differences do not tell it from"}
    parts = []
    for side, said in words.items():
        there = [accuracy(remedy) for (remedy, at), found in sides.items() if at == ratio and found == side]
        parts += [f"{said} {'; '.join(there)}"] if there else []
    return f"At R = {ratio:g} accuracy on minority test images is: {accuracy(DOT)}. {'. '.join(parts)}"
