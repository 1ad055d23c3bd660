"""Whether SGD follows its stochastic differential equation, which SVAG approaches: digits at two learning rates."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics import GradientNoise, least_noise_to_signal
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import data_of, training_of
from collapselab.experiments.events import Event
from collapselab.experiments.probe import Case, Probe
from collapselab.experiments.uneven import epochs_of
from collapselab.experiments.verdicts import last_row, mean_and_half_width
from collapselab.records.schema import Against, Observation, Verdict
from collapselab.training import Training
from collapselab.training.data.digits import Digits
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.networks.mlp import MLP
from collapselab.training.optimisers import Optimiser
from collapselab.training.optimisers.noisy_gradient_descent import NoisyGradientDescent
from collapselab.training.optimisers.svag import SVAG
from collapselab.training.plan import Plan
from collapselab.training.schedules.constant import Constant

SIZE = "squared_parameter_norm"

# The factor C within which two trainings count as alike.
CLOSENESS = math.sqrt(2)

# Measurements in this last part of the time are averaged.
TAIL = 0.25

REGIMES = {
    1: "follows its equation",
    -1: "does not follow its equation",
    0: "is not shown to follow its equation, nor to leave it",
}


class One(NamedTuple):
    """One training: rate, factor l (0 for noisy gradient descent), and seed."""

    rate: float
    factor: int
    seed: int

    @property
    def name(self) -> str:
        """Its key."""
        return f"{f'svag{self.factor}' if self.factor else 'ngd'}-eta{self.rate:g}-{self.seed}"

    @property
    def line(self) -> str:
        """Which line of the picture it is on."""
        return f"eta{self.rate:g}" if self.factor else f"ngd{self.rate:g}"

    @property
    def times(self) -> int:
        """Steps that make one step of SGD."""
        return max(1, self.factor)


@experiment(
    source="li2021",
    claim=(
        "At the smallest learning rate SGD ends like its stochastic differential equation, at the largest it does not:"
        " squared norm of the weights and training loss are within a factor 1.41 of those of SVAG at the one, and at"
        " least one of them is not at the other."
    ),
    title="SGD beside its stochastic differential equation",
    notes=(
        "SVAG with factor l takes l steps at rate η/l in the time of one step of SGD, with l times the covariance, and"
        " approaches the equation as l grows; l = 1 is SGD. Arms of a rate are compared at equal times.",
        "Noisy gradient descent takes the steps of SGD with Gaussian noise of its covariance (that of minibatches drawn"
        " with replacement): what it shares with SGD is no matter of the shape of the noise.",
        "Minibatches of an epoch are parts of a permutation and so not quite independent; those of the two sides of"
        " SVAG come from two permutations. Loss and accuracy are means over the last quarter of the time.",
    ),
    chart=lambda recipe: Against(
        metric=SIZE,
        over="factor",
        by="line",
        log_x=True,
        half_width="half_width_at_end",
        title="squared norm of the weights at the end",
        words={"factor": "factor l of SVAG (1 is SGD)", **recipe.lines},
    ),
)
@dataclass(frozen=True)
class SvagConverges:
    """Train the digits with SGD, SVAG and noisy gradient descent over equal times, at several rates, for several seeds.

    Attributes:
        learning_rates: Rates of SGD, in ascending order.
        factors: Factors l of SVAG besides 1, in ascending order; the last stands for the equation.
        seeds: How many seeds.
        steps: Steps of SGD, up to whole epochs.
        batch_size: Samples in a minibatch.
        weight_decay: Coefficient of one half of the squared norm of all parameters.
        widths: Units of the hidden layers, which are not normalised.
        samples_per_class: Training images of each class.
        measurements: Moments in the last quarter of the time at which to measure, besides the end.
        seed: The first seed.
    """

    learning_rates: tuple[float, ...] = (0.1, 1.0)
    factors: tuple[int, ...] = (2, 4)
    seeds: int = 5
    steps: int = 1500
    batch_size: int = 16
    weight_decay: float = 5e-4
    widths: tuple[int, ...] = (64,)
    samples_per_class: int = 100
    measurements: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("seeds", "steps", "measurements"):
            checks.whole(getattr(self, name), name, at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        _ascending(self.learning_rates, "learning_rates", at_least=2)
        _ascending(self.factors, "factors", at_least=1)
        for factor in self.factors:
            checks.whole(factor, "every entry of factors", at_least=2)
        Digits(samples_per_class=self.samples_per_class)
        MLP(widths=self.widths)
        for one in self._all():
            self._plan(one).batches(self._samples)

    @property
    def _samples(self) -> int:
        return self.samples_per_class * Digits.num_classes

    @property
    def epochs(self) -> int:
        """Epochs of all arms together."""
        return sum(self._plan(one).epochs for one in self._all())

    @property
    def lines(self) -> dict[str, str]:
        """What the lines of the picture are called."""
        plain = {One(rate, 1, 0).line: f"η = {rate:g}" for rate in self.learning_rates}
        return plain | {One(rate, 0, 0).line: f"η = {rate:g}, Gaussian noise" for rate in self.learning_rates}

    def _all(self) -> list[One]:
        seeds = range(self.seed, self.seed + self.seeds)
        pairs = [(rate, factor) for rate in self.learning_rates for factor in (1, *self.factors, 0)]
        return [One(rate, factor, seed) for rate, factor in pairs for seed in seeds]

    def _plan(self, one: One) -> Plan:
        steps = epochs_of(self.steps, samples=self._samples, batch_size=self.batch_size)
        optimiser: Optimiser = SVAG(one.rate, max(1, one.factor), self.weight_decay)
        epochs = steps * one.times
        if not one.factor:
            optimiser = NoisyGradientDescent(one.rate, self.batch_size, self.weight_decay)
            epochs = steps * (self._samples // self.batch_size)
        return Plan(
            epochs=epochs,
            batch_size=self.batch_size,
            drop_last=True,
            loss=CrossEntropy(),
            optimiser=optimiser,
            schedule=Constant(),
        )

    def _moments(self, one: One) -> tuple[int, ...]:
        """Steps at which an arm is measured before its end, at the same times in all arms of a rate."""
        plan = self._plan(one)
        last = plan.epochs * plan.batches(self._samples) // one.times
        apart = TAIL * last / (self.measurements + 0.5)
        return tuple(sorted({max(1, round(last - (k + 0.5) * apart)) * one.times for k in range(self.measurements)}))

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train every arm.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(one: One) -> Case:
            plan = self._plan(one)

            def make() -> Training:
                data = data_of(Digits(samples_per_class=self.samples_per_class), seed=one.seed)
                network = MLP(widths=self.widths, batch_norm=False)
                return training_of(network, data, plan, seed=one.seed, probe=probe)

            how = "noisy gradient descent" if not one.factor else "SGD" if one.factor == 1 else f"SVAG({one.factor})"
            return Case(
                one.name,
                make,
                plan.epochs,
                f"{how}, η = {one.rate:g}, seed {one.seed}",
                {"rate": one.rate, "factor": one.times, "line": one.line, "seed": one.seed},
                quantities=(GradientNoise(),),
                at_steps=self._moments(one),
            )

        return probe.arms([case(one) for one in self._all()], metrics=("accuracy",))

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether SGD follows its equation at the smallest rate and not at the largest.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        if self.seeds < 2:
            return Verdict(state="inconclusive", statement="One seed has no interval; at least 2 are needed.")
        figures: dict[str, float | int | str | None] = {}
        found = {one: self._tail(observations, one) for one in self._all()}
        if not all(one[name] > 0 for one in found.values() for name in ("loss", "size")):
            statement = "A loss or a norm is 0 in floating point and has no ratio to others."
            return Verdict(state="inconclusive", statement=statement)
        sides = {}
        for rate in self.learning_rates:
            figures |= self._figures(observations, found, rate)
            sides[rate] = _regime(figures, rate, "sgd")
        slow, fast = sides[self.learning_rates[0]], sides[self.learning_rates[-1]]
        state = "holds" if (slow, fast) == (1, -1) else "fails" if slow < 0 or fast > 0 else "inconclusive"
        told = " ".join(self._told(rate, figures, sides[rate]) for rate in self.learning_rates)
        statement = f"{told} Intervals are 95 % over {self.seeds} seeds."
        return Verdict(state=state, statement=statement, figures=figures)

    def _tail(self, observations: Sequence[Observation], one: One) -> Mapping[str, float]:
        """Means of an arm's numbers over the last part of the time."""
        plan = self._plan(one)
        start = (1 - TAIL) * plan.epochs * plan.batches(self._samples)
        own = [row for row in observations if row.arm == one.name and row.step >= start]
        train = [row for row in own if row.split == "train"]
        test = [row for row in own if row.split == "test"]
        return {
            "loss": _mean([row.loss for row in train]),
            "size": _mean([row.result[SIZE] for row in train]),
            "test_accuracy": _mean([1 - row.error for row in test]),
        }

    def _figures(
        self, observations: Sequence[Observation], found: Mapping[One, Mapping[str, float]], rate: float
    ) -> dict[str, float | int | str | None]:
        """The figures of a rate: each number of each method, and logarithms of ratios of SGD and SVAG."""
        figures: dict[str, float | int | str | None] = {}
        seeds = range(self.seed, self.seed + self.seeds)
        for factor in (1, *self.factors, 0):
            arms = [One(rate, factor, seed) for seed in seeds]
            called = f"{f'svag{factor}' if factor else 'ngd'}_{rate:g}"
            for name in ("loss", "size", "test_accuracy"):
                figures |= _interval(f"{name}_{called}", [found[arm][name] for arm in arms])
            ends = [last_row(observations, split="train", arm=arm.name) for arm in arms]
            _, half = mean_and_half_width([row.result[SIZE] for row in ends])
            figures[f"half_width_at_end_{arms[0].line}_{arms[0].times}"] = half
            figures[f"noise_to_signal_{called}"] = _median_ratio(ends)
        pairs = {"sgd": (1, self.factors[-1])} | ({"svag": self.factors[-2:]} if len(self.factors) > 1 else {})
        for said, (few, many) in pairs.items():
            for name in ("loss", "size"):
                ratios = [math.log(found[One(rate, few, s)][name] / found[One(rate, many, s)][name]) for s in seeds]
                figures |= _interval(f"log_ratio_{name}_{said}_{rate:g}", ratios)
        return figures

    def _told(self, rate: float, figures: Mapping[str, float | int | str | None], side: int) -> str:
        """What came out at a rate."""

        def said(name: str, called: str) -> str:
            mean, half = (_number(figures, f"{part}{name}_{called}_{rate:g}") for part in ("", "half_width_"))
            return _with_half_width(mean, half)

        last = f"svag{self.factors[-1]}"
        words = {"loss": "loss", "size": "squared norm", "test_accuracy": "test accuracy"}
        alike = ", ".join(f"{word} {said(name, 'svag1')} beside {said(name, last)}" for name, word in words.items())
        ratio = figures[f"noise_to_signal_svag1_{rate:g}"]
        known = "has no value" if ratio is None else f"is {ratio:.3g}"
        *_, less, most = (1, *self.factors)
        unsure = less > 1 and _regime(figures, rate, "svag") < 1
        nearest = f" SVAG({less}) is not shown to be like SVAG({most})." if unsure else ""
        return (
            f"At η = {rate:g} SGD {REGIMES[side]}: {alike} of SVAG({self.factors[-1]}); with Gaussian noise in place"
            f" of minibatches loss {said('loss', 'ngd')}; N/G {known} at the end of SGD, and"
            f" {least_noise_to_signal(CLOSENESS):.3g} or more is necessary, if not sufficient.{nearest}"
        )

    @classmethod
    def smoke(cls) -> "SvagConverges":
        """A run of seconds: two seeds, few steps.

        Returns:
            Its configuration.
        """
        return cls(factors=(2,), seeds=2, steps=20, batch_size=20, widths=(16,), samples_per_class=10, measurements=1)


def _ascending(values: Sequence[float], name: str, *, at_least: int) -> None:
    if not isinstance(values, tuple) or list(values) != sorted(set(values)) or len(values) < at_least:
        raise InputError(f"{name} must be different numbers in ascending order, at least {at_least}, got {values!r}")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _interval(name: str, values: Sequence[float]) -> dict[str, float | int | str | None]:
    mean, half = mean_and_half_width(values)
    return {name: mean, f"half_width_{name}": half}


def _median_ratio(rows: Sequence[Observation]) -> float | None:
    """The median of N/G over arms; None where one has none."""
    try:
        return median(row.result["noise_to_signal"] for row in rows)
    except UndefinedMetric:
        return None


def _regime(figures: Mapping[str, float | int | str | None], rate: float, pair: str) -> int:
    """1 where a pair is alike in both numbers, -1 where it is apart in one, 0 where neither is shown."""
    sides, reach = [], math.log(CLOSENESS)
    for name in ("loss", "size"):
        mean, half = (_number(figures, f"{part}log_ratio_{name}_{pair}_{rate:g}") for part in ("", "half_width_"))
        sides.append(1 if abs(mean) + half <= reach else -1 if abs(mean) - half > reach else 0)
    return min(sides)


def _number(figures: Mapping[str, float | int | str | None], name: str) -> float:
    value = figures[name]
    assert isinstance(value, float)
    return value


def _with_half_width(mean: float, half: float) -> str:
    """Both to two figures of the half width, without exponents."""
    places = max(0, 1 - math.floor(math.log10(half))) if half > 0 else 3
    return f"{mean:.{places}f} ± {half:.{places}f}"
