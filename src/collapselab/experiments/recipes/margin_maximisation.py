"""A network without bias, trained until its loss is a part of 1e20: what becomes of its normalised margin."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from collapselab.core import checks
from collapselab.core.errors import UndefinedMetric
from collapselab.dynamics.margin import ALIGNMENT, LOG10_LOSS, NORMALISED, SMOOTHED, Margins
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import data_of, training_of
from collapselab.experiments.events import Event, Observed
from collapselab.experiments.extra import declared, with_extra
from collapselab.experiments.probe import Case, Probe
from collapselab.experiments.uneven import clear_of
from collapselab.experiments.verdicts import last_row, mean_and_half_width
from collapselab.records.schema import Against, Observation, Verdict
from collapselab.training import Training
from collapselab.training.data.digits import Digits
from collapselab.training.heads.learnable import Learnable
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.networks.mlp import MLP
from collapselab.training.optimisers import Optimiser
from collapselab.training.optimisers.log_loss_descent import LogLossDescent
from collapselab.training.optimisers.loss_based import LossBased
from collapselab.training.optimisers.sgd import SGD
from collapselab.training.plan import Plan
from collapselab.training.schedules.constant import Constant

OVER_LOSS, CONSTANT, DESCENT = "over_loss", "constant", "descent"

TITLES: Mapping[str, str] = {
    OVER_LOSS: "rate over the loss",
    DESCENT: "descent on the log of the loss",
    CONSTANT: "constant rate",
}

# From which loss on the normalised margin must grow, by what factor, and how many decades further the loss must fall.
START, GROWTH, DECADES_LATER = 5, 1.25, 5

# Losses at which margins are told, as powers of ten.
TOLD = (2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)

DECADES = declared(
    "loss_decades",
    "decades of loss",
    "Minus the decimal logarithm of the mean cross-entropy.",
    symbol=r"-\log_{10}(\mathcal L/N)",
    source="lyu2020",
    family="margins",
    at_collapse=None,
    lower=None,
)

_METRICS = ("accuracy", "nc1_pinv", "nc2_max_angle_means", "nc3_duality", "nc4_disagreement")

Figures = dict[str, float | int | str | None]


@experiment(
    source="lyu2020",
    claim=(
        "Long after the training error has vanished the normalised margin of a homogeneous network keeps growing: with"
        " the rate over the loss it grows by a quarter or more from a loss of 1e-5 to the end, and ends above where a"
        " constant rate gets in as many epochs, by 95 % confidence intervals over seeds."
    ),
    title="Margins far beyond zero loss",
    notes=(
        "Networks have no bias, so that they are homogeneous; each look verifies that and finds the order.",
        "Margins, logarithms of losses and gradients are computed from logits in float64, without the loss itself. The"
        " column of the loss is a cross-entropy in float32, which is 0 from margins of 17 on; log10_loss is not.",
        "The rate over the loss and the constant rate take minibatches and the same number of epochs. Descent on the"
        " log of the loss takes the whole set in each step, an epoch being one step.",
        "That the margin never falls is a theorem about the gradient flow and the smoothed margin, not about SGD.",
    ),
    chart=Against(
        metric=NORMALISED.name,
        over=DECADES.name,
        by="method",
        every=True,
        words={DECADES.name: "decades that the loss has fallen below 1"},
    ),
)
@dataclass(frozen=True)
class MarginMaximisation:
    """Train without bias on the digits, at a rate over the loss and two others, and follow the margin.

    Attributes:
        epochs: Passes over the training data with the rate over the loss, and with the constant one.
        steps: Steps of the descent on the log of the loss, each on the whole set; 0 to leave it out.
        seeds: How many seeds.
        widths: Units of the hidden layers.
        samples_per_class: Training images of each class.
        batch_size: Samples in an optimiser step.
        learning_rate: First rate on the log of the loss, and the constant rate.
        descent: By how much a step of the descent lowers the log of the loss, to first order.
        measurements: Number of moments at which to measure, denser at first, besides the start.
        seed: The first seed.
    """

    epochs: int = 1200
    steps: int = 2400
    seeds: int = 3
    widths: tuple[int, ...] = (256,)
    samples_per_class: int = 100
    batch_size: int = 100
    learning_rate: float = 0.1
    descent: float = 0.05
    measurements: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("epochs", "seeds", "measurements"):
            checks.whole(getattr(self, name), name, at_least=1)
        for name in ("seed", "steps"):
            checks.whole(getattr(self, name), name, at_least=0)
        checks.real(self.descent, "descent", above=0)
        Digits(samples_per_class=self.samples_per_class)
        for method in self._methods:
            self._plan(method).batches(self.samples_per_class * Digits.num_classes)
        self._network()

    @property
    def _methods(self) -> tuple[str, ...]:
        return tuple(name for name in TITLES if name != DESCENT or self.steps)

    @property
    def _seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def _network(self) -> MLP:
        return MLP(widths=self.widths, batch_norm=False, bias=False)

    def _plan(self, method: str) -> Plan:
        optimisers: dict[str, Optimiser] = {
            OVER_LOSS: LossBased(learning_rate=self.learning_rate),
            CONSTANT: SGD(learning_rate=self.learning_rate, momentum=0.0, weight_decay=0.0),
            DESCENT: LogLossDescent(learning_rate=self.descent),
        }
        return Plan(
            epochs=self.steps if method == DESCENT else self.epochs,
            batch_size=self.batch_size,
            drop_last=False,
            loss=CrossEntropy(),
            optimiser=optimisers[method],
            schedule=Constant(),
        )

    def _case(self, method: str, seed: int, probe: Probe) -> Case:
        plan = self._plan(method)

        def make() -> Training:
            data = data_of(Digits(samples_per_class=self.samples_per_class), seed=seed)
            return training_of(self._network(), data, plan, seed=seed, probe=probe, head=Learnable(bias=False))

        title = f"{TITLES[method]}, seed {seed}"
        settings = {"method": TITLES[method], "seed": seed}
        return Case(_arm(method, seed), make, plan.epochs, title, settings, quantities=(Margins(),))

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train in every way and for every seed.

        Args:
            probe: The device, and where to go on from.

        Yields:
            What happens, as it happens.
        """
        cases = [self._case(method, seed, probe) for method in self._methods for seed in self._seeds]
        for event in probe.arms(cases, at=self._moments(), metrics=_METRICS):
            yield Observed(_with_decades(event.observation)) if isinstance(event, Observed) else event

    def _moments(self) -> list[int]:
        """Epochs at squares: early ones are of interest, and later ones go further."""
        parts = [(at / self.measurements) ** 2 for at in range(self.measurements + 1)]
        return sorted({round(total * part) for total in (self.epochs, self.steps) for part in parts})

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether the normalised margin grew by a quarter from a loss of 1e-5 on, and above that of a constant rate.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        if self.seeds < 2:
            statement = "One seed has no interval; at least 2 are needed."
            return Verdict(state="inconclusive", statement=statement, figures={})
        try:
            paths = {
                (method, seed): _path(observations, _arm(method, seed))
                for method in self._methods
                for seed in self._seeds
            }
            figures = self._figures(observations, paths)
        except UndefinedMetric as undefined:
            return Verdict(state="inconclusive", statement=f"A number has no value: {undefined}.", figures={})
        return self._judged(figures, paths)

    def _figures(self, observations: Sequence[Observation], paths: Mapping[tuple[str, int], "_Path"]) -> Figures:
        """Ends of all arms, and margins at powers of ten of the loss that all seeds have reached."""
        figures: Figures = {}
        for method in self._methods:
            own = [paths[method, seed] for seed in self._seeds]
            rows = [last_row(observations, split="train", arm=_arm(method, seed)) for seed in self._seeds]
            test = [last_row(observations, split="test", arm=_arm(method, seed)) for seed in self._seeds]
            ends: dict[str, list[float]] = {
                "log10_loss": [-path[-1][0] for path in own],
                "normalised_margin": [path[-1][1] for path in own],
                "test_accuracy": [1 - row.error for row in test],
            }
            for name in (SMOOTHED.name, ALIGNMENT.name):
                found = [row.result.measurements[name].value for row in rows]
                known = [value for value in found if value is not None]
                ends |= {name: known} if len(known) == self.seeds else {}
            for name, values in ends.items():
                figures |= _spread(f"{name}_{method}_at_end", values)
            for power in TOLD:
                values = [margin for path in own if (margin := _at(path, power)) is not None]
                if len(values) == self.seeds:
                    figures |= _spread(f"normalised_margin_{method}_at_1e-{power}", values)
        return figures

    def _judged(self, figures: Figures, paths: Mapping[tuple[str, int], "_Path"]) -> Verdict:
        own = [paths[OVER_LOSS, seed] for seed in self._seeds]
        starts = [_at(path, START) for path in own]
        reached = min(path[-1][0] for path in own)
        if reached < START + DECADES_LATER or not all(start is not None and start > 0 for start in starts):
            statement = (
                f"With the rate over the loss the loss of a seed was still 10^{-reached:.3g} at the end; the claim is"
                f" about what comes after 1e-{START}, and needs {DECADES_LATER} decades more and positive margins."
            )
            return Verdict(state="inconclusive", statement=statement, figures=figures)
        grown = [path[-1][1] / start for path, start in zip(own, starts, strict=True) if start is not None]
        more = [paths[OVER_LOSS, seed][-1][1] - paths[CONSTANT, seed][-1][1] for seed in self._seeds]
        figures |= _spread("growth", grown) | _spread("above_constant", more)
        sides = [clear_of(GROWTH, *mean_and_half_width(grown)), clear_of(0.0, *mean_and_half_width(more))]
        state = "fails" if min(sides) < 0 else "holds" if min(sides) > 0 else "inconclusive"
        return Verdict(state=state, statement=_told(figures, own), figures=figures)

    @classmethod
    def smoke(cls) -> "MarginMaximisation":
        """A run of seconds, too short for the claim.

        Returns:
            Its configuration.
        """
        return cls(
            epochs=200,
            steps=60,
            seeds=2,
            widths=(32,),
            samples_per_class=10,
            learning_rate=0.3,
            descent=0.3,
            measurements=2,
        )


_Path = list[tuple[float, float]]
"""Decades of loss and normalised margin of each look, in the order of time."""


def _arm(method: str, seed: int) -> str:
    return f"{method}-{seed}"


def _with_decades(row: Observation) -> Observation:
    found = row.result.measurements.get(LOG10_LOSS.name)
    if row.layer or found is None or found.value is None:
        return row
    return row.model_copy(update={"result": with_extra(row.result, [(DECADES, -found.value)])})


def _path(observations: Sequence[Observation], arm: str) -> _Path:
    rows = [row for row in observations if row.arm == arm and row.split == "train" and not row.layer]
    rows.sort(key=lambda row: row.step)
    return [(-row.result[LOG10_LOSS.name], row.result[NORMALISED.name]) for row in rows]


def _at(path: _Path, power: float) -> float | None:
    """The margin where the loss first passes a power of ten, on the line between two looks."""
    for (before, low), (after, high) in itertools.pairwise(path):
        if before < power <= after:
            return low + (high - low) * (power - before) / (after - before)
    return None


def _spread(name: str, values: Sequence[float]) -> Figures:
    mean, half = mean_and_half_width(values)
    return {name: mean, f"half_width_{name}": half}


def _told(figures: Figures, own: Sequence[_Path]) -> str:
    """What came out."""

    def pair(name: str) -> str:
        return f"{figures[name]:.4g} ± {figures[f'half_width_{name}']:.2g}"

    deepest = min(path[-1][0] for path in own)
    first, last = (pair(f"normalised_margin_{OVER_LOSS}_at_{moment}") for moment in (f"1e-{START}", "end"))
    return (
        f"With the rate over the loss the normalised margin grew {pair('growth')}-fold from a loss of 1e-{START} to the"
        f" end, where the loss was 10^{-deepest:.3g} or less: from {first} to {last}. The constant rate came to"
        f" {pair(f'normalised_margin_{CONSTANT}_at_end')} at a loss of {_power(figures, CONSTANT)}"
        f" (95 % over {len(own)} seeds)."
    )


def _power(figures: Figures, method: str) -> str:
    value = figures[f"log10_loss_{method}_at_end"]
    return f"{10.0 ** float(value):.2g}" if isinstance(value, float) and value > -300 else f"10^{value:.4g}"
