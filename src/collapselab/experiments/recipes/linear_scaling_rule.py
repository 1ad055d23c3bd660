"""How far learning rate and batch size can be raised together, and what the gradient noise says about it beforehand."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics import GradientNoise, largest_scaling, noise_to_signal, squared_norm_at_rest
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import data_of, training_of
from collapselab.experiments.events import Event
from collapselab.experiments.probe import Case, Probe
from collapselab.experiments.verdicts import last_row, mean_and_half_width
from collapselab.records.schema import Against, Observation, Reference, Verdict
from collapselab.training import Training
from collapselab.training.data import Splits
from collapselab.training.data.digits import Digits
from collapselab.training.heads import Neck
from collapselab.training.heads.simplex_etf import SimplexETF
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.networks.mlp import MLP
from collapselab.training.optimisers.sgd import SGD
from collapselab.training.plan import Plan
from collapselab.training.schedules.constant import Constant

SIGNAL, NOISE, SIZE = "squared_gradient_norm", "gradient_noise_trace", "squared_parameter_norm"

# The factor C within which two stationary states count as alike.
CLOSENESS = math.sqrt(2)

# The factor within which the end of the rule must be foretold.
FORETOLD = 2.0

# Measurements before this part of the time are left out: there nothing is stationary yet.
START = 0.4

# Times as many measurements at κ = 1: the signal there comes in bursts, and all is foretold from it.
_MORE = 4

# Length of the class vectors, and so the largest logit.
_SCALE = 10.0


@experiment(
    source="li2021",
    claim=(
        "Learning rate and batch size can be raised together by about the noise-to-signal ratio N/G measured at the"
        " smallest batch: the squared norm that the weights come to rest at stays within a factor C = 1.41 up to a"
        " factor of rate and batch that differs from N/G by less than a factor 2, and is below C²(1 + N/G)."
    ),
    title="Where the linear scaling rule ends",
    notes=(
        "The network has no biases, its features are scaled to one length and its classifier is a fixed simplex: the"
        " loss does not depend on the length of the weights, as the theory asks. Weight decay and noise then hold each"
        " other in balance, and all arms come to rest after a few passes.",
        "Signal G, noise N, loss and squared norm are means over the last part of the time. All arms see the same"
        " number of samples, so that steps differ.",
        "Minibatches of an epoch are parts of a permutation: the next one holds samples that were not seen for long,"
        " and its gradient is larger than that of minibatches of the whole set, from which G and N are measured. The"
        " squared norm is therefore somewhat larger than the balance (2 - ηλ)λR = η(G + N) says.",
    ),
    chart=Against(
        metric=SIZE,
        beside=("noise_to_signal",),
        over="scaling",
        log_x=True,
        half_width="half_width_at_end",
        title="squared norm of the weights, noise to signal",
        references=(Reference(value=1.0, label="noise = signal"),),
        powers={"noise_to_signal": -1.0},
        words={"scaling": "factor κ of learning rate and batch size"},
    ),
)
@dataclass(frozen=True)
class LinearScalingRule:
    """Train a scale-invariant network on the digits to a stationary state, for many pairs (κη, κB) and several seeds.

    Attributes:
        scalings: Factors κ in ascending order, the first being 1.
        seeds: How many seeds.
        learning_rate: η, of the smallest batch.
        batch_size: B, the smallest.
        weight_decay: Coefficient of one half of the squared norm of all parameters.
        passes: Passes over the training data of each arm.
        hidden: Units of the hidden layers before the features, of which there are as many as classes.
        samples_per_class: Training images of each class.
        measurements: Moments at which to measure once the arm is at rest, the end among them; four times as many for
            κ = 1, from which all is foretold.
        seed: The first seed.
    """

    scalings: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    seeds: int = 5
    learning_rate: float = 0.1
    batch_size: int = 4
    weight_decay: float = 1e-2
    passes: int = 24
    hidden: tuple[int, ...] = (64,)
    samples_per_class: int = 100
    measurements: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("seeds", "passes", "measurements"):
            checks.whole(getattr(self, name), name, at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        checks.real(self.weight_decay, "weight_decay", above=0)
        for scaling in self.scalings:
            checks.whole(scaling, "every entry of scalings", at_least=1)
        if list(self.scalings) != sorted(set(self.scalings)) or len(self.scalings) < 2 or self.scalings[0] != 1:
            expected = "different whole numbers in ascending order from 1, at least two"
            raise InputError(f"scalings must be {expected}, got {self.scalings!r}")
        Digits(samples_per_class=self.samples_per_class)
        MLP(widths=self.hidden)
        for scaling in self.scalings:
            self._plan(scaling).batches(self._samples)

    @property
    def _samples(self) -> int:
        return self.samples_per_class * Digits.num_classes

    @property
    def epochs(self) -> int:
        """Epochs of all arms together."""
        return self.passes * len(self.scalings) * self.seeds

    def _plan(self, scaling: int) -> Plan:
        return Plan(
            epochs=self.passes,
            batch_size=scaling * self.batch_size,
            drop_last=True,
            loss=CrossEntropy(),
            optimiser=SGD(scaling * self.learning_rate, momentum=0.0, weight_decay=self.weight_decay),
            schedule=Constant(),
        )

    def _moments(self, scaling: int) -> tuple[int, ...]:
        """Steps at which an arm is measured, at about the same times in all arms."""
        last = self.passes * self._plan(scaling).batches(self._samples)
        count = self.measurements * (_MORE if scaling == 1 else 1)
        spread = [START + (1 - START) * (k + 1) / count for k in range(count)]
        return tuple(sorted({max(1, round(part * last)) for part in spread}))

    def _seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train every arm.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(scaling: int, seed: int) -> Case:
            plan = self._plan(scaling)

            def make() -> Training:
                data = data_of(Digits(samples_per_class=self.samples_per_class), seed=seed)
                return scale_invariant_training(self.hidden, plan, data=data, seed=seed, probe=probe)

            return Case(
                _arm(scaling, seed),
                make,
                plan.epochs,
                f"κ = {scaling}, seed {seed}",
                {"scaling": scaling, "seed": seed},
                quantities=(GradientNoise(closeness=CLOSENESS),),
                at_steps=self._moments(scaling),
            )

        cases = [case(scaling, seed) for seed in self._seeds() for scaling in self.scalings]
        return probe.arms(cases, metrics=("accuracy",))

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether the rule ends where the noise-to-signal ratio says.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        if self.seeds < 2:
            return Verdict(state="inconclusive", statement="One seed has no interval; at least 2 are needed.")
        try:
            found = {(k, seed): self._rest(observations, k, seed) for seed in self._seeds() for k in self.scalings}
        except UndefinedMetric as undefined:
            return Verdict(state="inconclusive", statement=f"A number has no value: {undefined}.")
        figures = self._figures(observations, found)
        ratios = {seed: found[1, seed]["ratio"] for seed in self._seeds()}
        ends = {seed: self._end({k: found[k, seed][SIZE] for k in self.scalings}) for seed in self._seeds()}
        figures |= _interval("noise_to_signal", list(ratios.values()))
        bound = largest_scaling(_mean(list(ratios.values())), closeness=CLOSENESS)
        figures |= {"critical_batch_size": self.batch_size * _mean(list(ratios.values())), "largest_scaling": bound}
        reached = [end for end in ends.values() if end is not None]
        if len(reached) < self.seeds:
            return self._unended(figures, len(reached), bound)
        figures |= _interval("log_end", [math.log(end) for end in reached])
        pairs = [math.log(end / ratio) for end, ratio in zip(reached, ratios.values(), strict=True)]
        figures |= _interval("log_end_by_prediction", pairs)
        losses = [self._end({k: found[k, seed]["loss"] for k in self.scalings}) for seed in self._seeds()]
        known = [math.log(end) for end in losses if end is not None]
        figures["end_by_loss"] = math.exp(_mean(known)) if len(known) == self.seeds else None
        return self._judged(figures, bound)

    def _rest(self, observations: Sequence[Observation], scaling: int, seed: int) -> Mapping[str, float]:
        """Means of an arm's numbers once it is at rest."""
        own = [row for row in observations if row.arm == _arm(scaling, seed) and row.split == "train"]
        numbers = {name: _mean([row.result[name] for row in own]) for name in (SIGNAL, NOISE, SIZE)}
        ratio = noise_to_signal(numbers[NOISE], numbers[SIGNAL])
        return numbers | {"loss": _mean([row.loss for row in own]), "ratio": ratio}

    def _end(self, values: Mapping[int, float]) -> float | None:
        """The factor at which a number leaves the factor C of its value at 1; None if it does not."""
        away = {k: abs(math.log(value / values[1])) for k, value in values.items()}
        reach = math.log(CLOSENESS)
        for low, high in pairwise(self.scalings):
            if away[high] > reach:
                return low * (high / low) ** ((reach - away[low]) / (away[high] - away[low]))
        return None

    def _figures(
        self, observations: Sequence[Observation], found: Mapping[tuple[int, int], Mapping[str, float]]
    ) -> dict[str, float | int | str | None]:
        """The numbers of each factor, and how far the balance of decay and noise is from what it should be."""
        figures: dict[str, float | int | str | None] = {}
        for k in self.scalings:
            own = [found[k, seed] for seed in self._seeds()]
            figures |= _interval(f"loss_{k}", [one["loss"] for one in own])
            figures |= _interval(f"size_{k}", [one[SIZE] for one in own])
            at_end = [last_row(observations, split="train", arm=_arm(k, seed)).result[SIZE] for seed in self._seeds()]
            figures[f"half_width_at_end_{k}"] = mean_and_half_width(at_end)[1]
            figures |= _interval(f"noise_to_signal_{k}", [one["ratio"] for one in own])
            errors = [last_row(observations, split="test", arm=_arm(k, seed)).error for seed in self._seeds()]
            figures[f"test_accuracy_{k}"] = 1 - _mean(errors)
            rate, decay = k * self.learning_rate, self.weight_decay
            rest = [
                squared_norm_at_rest(one[SIGNAL], one[NOISE], learning_rate=rate, weight_decay=decay) for one in own
            ]
            figures[f"size_by_balance_{k}"] = _mean([one[SIZE] / r for one, r in zip(own, rest, strict=True)])
        return figures

    def _unended(self, figures: dict[str, float | int | str | None], reached: int, bound: float) -> Verdict:
        """The verdict where the rule still held at the largest factor, for some seeds."""
        last, ratio = self.scalings[-1], figures["noise_to_signal"]
        held = f"the rule still held at κ = {last} for {self.seeds - reached} of {self.seeds} seeds"
        beyond = not reached and last > bound
        statement = f"N/G is {ratio:.3g} and {held}, {'beyond' if beyond else 'within'} C²(1 + N/G) = {bound:.3g}."
        return Verdict(state="fails" if beyond else "inconclusive", statement=statement, figures=figures)

    def _judged(self, figures: dict[str, float | int | str | None], bound: float) -> Verdict:
        """The verdict where the rule ended for all seeds."""
        off, half = _number(figures, "log_end_by_prediction"), _number(figures, "half_width_log_end_by_prediction")
        end, wide = _number(figures, "log_end"), _number(figures, "half_width_log_end")
        near, over = abs(off) + half <= math.log(FORETOLD), end - wide > math.log(bound)
        wrong = abs(off) - half > math.log(FORETOLD) or over
        below = end + wide <= math.log(bound)
        state = "fails" if wrong else "holds" if near and below else "inconclusive"
        statement = (
            f"The squared norm leaves a factor {CLOSENESS:.3g} at κ = {math.exp(end):.3g}"
            f" ({math.exp(end - wide):.3g} to {math.exp(end + wide):.3g}, 95 % over {self.seeds} seeds). Foretold by"
            f" N/G = {figures['noise_to_signal']:.3g} ± {figures['half_width_noise_to_signal']:.2g} at batch size"
            f" {self.batch_size}: measured over foretold is {math.exp(off):.3g}"
            f" ({math.exp(off - half):.3g} to {math.exp(off + half):.3g}); the rule cannot hold beyond {bound:.3g}."
            f" {_of_loss(figures['end_by_loss'])}"
        )
        return Verdict(state=state, statement=statement, figures=figures)

    @classmethod
    def smoke(cls) -> "LinearScalingRule":
        """A run of seconds: three factors, two seeds.

        Returns:
            Its configuration.
        """
        return cls(scalings=(1, 4, 16), seeds=2, passes=3, hidden=(16,), samples_per_class=10, measurements=3)


def scale_invariant_training(hidden: tuple[int, ...], plan: Plan, *, data: Splits, seed: int, probe: Probe) -> Training:
    """A training of a network whose loss does not depend on the length of its weights.

    Args:
        hidden: Units of the hidden layers.
        plan: How to train.
        data: What on.
        seed: Seed of the run.
        probe: Where to compute.

    Returns:
        The training.
    """
    body = MLP(widths=(*hidden, data.num_classes), batch_norm=False, bias=False, last_activation=False)
    head, neck = SimplexETF(scale=_SCALE, bias=False), Neck(normalise=True)
    return training_of(body, data, plan, seed=seed, probe=probe, head=head, neck=neck)


def _arm(scaling: int, seed: int) -> str:
    return f"kappa{scaling}-{seed}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _interval(name: str, values: Sequence[float]) -> dict[str, float | int | str | None]:
    mean, half = mean_and_half_width(values)
    return {name: mean, f"half_width_{name}": half}


def _of_loss(end: float | int | str | None) -> str:
    said = "stays within it for some seeds" if end is None else f"leaves it at κ = {end:.3g}"
    return f"The training loss, which no condition speaks of, {said}."


def _number(figures: Mapping[str, float | int | str | None], name: str) -> float:
    value = figures[name]
    assert isinstance(value, float)
    return value
