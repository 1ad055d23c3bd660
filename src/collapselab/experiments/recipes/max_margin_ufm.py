"""Cross-entropy without decay on unconstrained features, followed to losses that no number can hold."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.core.random import generators
from collapselab.experiments._spec import experiment
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event
from collapselab.experiments.extra import Extra, declared
from collapselab.experiments.probe import Probe
from collapselab.experiments.solving import Look, Solve, solved
from collapselab.experiments.verdicts import last_row
from collapselab.records.schema import Course, Observation, Reference, Verdict
from collapselab.theory import Problem, State, margin_residual, normalised_margin, rescaled_descent
from collapselab.theory.max_margin import UnregularisedCrossEntropy

# How far the margin may stay below its bound, as a part of it, and how many-fold each metric must have fallen.
SHORT, FALL = 1e-3, 100.0
FALLING = ("nc1_pinv", "nc2_max_angle_means", "nc3_duality")

_extra = partial(declared, source="ji2022", family="largest_margin")
GAP = _extra(
    "margin_gap",
    "margin below its bound",
    "What the smallest margin over the squared norm of features and head lacks of its bound, as a part of that.",
    symbol=r"1-2(K-1)\sqrt n\,q_{\min}/\lVert\theta\rVert^2",
)
MISALIGNED = _extra(
    "margin_misalignment",
    "angle with the gradient",
    "1 - cosine of features and head with the negative gradient, 0 where the direction is stationary.",
    symbol=r"1-\cos(\theta,-\nabla L)",
)
DECADES = _extra(
    "decades_of_loss",
    "decades of the loss below 1",
    "Minus the decimal logarithm of the mean loss, also where the loss is too small for a number.",
    symbol=r"-\log_{10}L",
    at_collapse=None,
)
NORM = _extra(
    "norm_over_predicted",
    "squared norm over the predicted one",
    "Squared norm of features and head over what gradient flow tends to at the same time.",
    symbol=r"\lVert\theta\rVert^2/(2(K-1)\sqrt n\log t)",
    at_collapse=1.0,
)
TAKEN = _extra(
    "steps_taken",
    "steps of the descent",
    "Steps that the descent has taken, each down the logarithm of the loss.",
    symbol="s",
    at_collapse=None,
)


@experiment(
    source="ji2022",
    claim=(
        "Without any decay, descent of cross-entropy on unconstrained features turns to the simplex: by the last loss,"
        " 1e-500, the margin is within a thousandth of its bound from starts of every size, and NC1, NC2 and NC3 have"
        " fallen at least a hundredfold since the loss was 0.1."
    ),
    title="The largest margin without decay",
    notes=(
        "Where pictures and tables count steps, they are decades of the loss: at step 100 it has just come to 1e-100. A"
        " loss below 1e-308 is recorded as 0, and decades_of_loss says how small it is.",
        "The descent goes down the logarithm of the loss in steps as long as its curvature allows, and never leaves"
        " logarithms; steps_taken counts them.",
        "A start is not forgotten: gradient flow conserves the difference of the Gram matrices of class vectors and"
        " features, which vanishes only against the growing norm. So what is left after the same loss grows with the"
        " size of the start, and within_fraction shows it longest.",
    ),
    chart=Course(
        metrics=(GAP.name, *FALLING),
        references={GAP.name: (Reference(value=SHORT, label="claimed"),)},
    ),
)
@dataclass(frozen=True)
class MaxMarginUfm:
    """Descend cross-entropy of free features and a head without decay, and measure margin and collapse on the way.

    Attributes:
        sizes: Standard deviations of the entries at the start, times the root of the number of features.
        seeds: Starts of each size.
        num_classes: K.
        per_class: n.
        num_features: d.
        decades: Minus the decimal logarithm of the last loss.
        measurements: Losses at which to measure, powers of 0.1 from the first to the last one, log-spaced.
        step: Length of a step, as a part of the number of classes times that of samples over the squared norm.
        seed: Where the starts come from: the first of them.
    """

    sizes: tuple[float, ...] = (0.01, 0.1, 1.0)
    seeds: int = 3
    num_classes: int = 4
    per_class: int = 5
    num_features: int = 6
    decades: int = 500
    measurements: int = 12
    step: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.seeds, "seeds", at_least=1)
        checks.whole(self.measurements, "measurements", at_least=2)
        checks.whole(self.seed, "seed", at_least=0)
        checks.whole(self.decades, "decades", at_least=2)
        checks.real(self.step, "step", above=0)
        if not isinstance(self.sizes, tuple) or not self.sizes or len(set(self.sizes)) < len(self.sizes):
            raise InputError(f"sizes must be different numbers, at least one, got {self.sizes!r}")
        for size in self.sizes:
            checks.real(size, "every entry of sizes", above=0)
        self.landscape  # noqa: B018 - refuses what theory has no answer for

    @property
    def epochs(self) -> int:
        """Descents."""
        return len(self.sizes) * self.seeds

    @property
    def landscape(self) -> UnregularisedCrossEntropy:
        """The loss."""
        sizes = (self.num_classes, self.per_class, self.num_features)
        return UnregularisedCrossEntropy(Problem.balanced(*sizes, decay_head=0.0, decay_features=0.0))

    def run(self, probe: Probe) -> Iterator[Event]:
        """Follow every descent.

        Args:
            probe: Where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(size: float, seed: int) -> Solve:
            settings = {"size": size, "seed": seed}
            return Solve(_arm(size, seed), lambda: self._looks(size, seed), f"size {size:g}, seed {seed}", settings)

        seeds = range(self.seed, self.seed + self.seeds)
        return solved(probe, [case(size, seed) for size in self.sizes for seed in seeds])

    def _looks(self, size: float, seed: int) -> Iterator[Look]:
        landscape = self.landscape
        (draw,) = generators(seed, "start")
        decades = log_spaced(self.decades, self.measurements)
        losses = [-math.log(10) * decade for decade in decades]
        found = rescaled_descent(landscape, landscape.problem.draw(draw, size=size), losses, step=self.step)
        times = zip(found.times, found.series["log_loss"], found.series["log_time"], strict=True)
        # A descent that is stopped early ends before the next of the losses.
        for decade, state, (taken, log_loss, log_time) in zip(decades, found.states, times, strict=False):
            yield Look(
                step=decade,
                features=landscape.features(state),
                head=landscape.head(state),
                loss=math.exp(log_loss),
                extra=[*_extras(landscape, state, log_loss, log_time), (TAKEN, taken)],
            )

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether every descent came to the bound, and collapsed on the way.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        arms = [_arm(size, self.seed + at) for size in self.sizes for at in range(self.seeds)]
        ends = {arm: last_row(observations, split="train", arm=arm) for arm in arms}
        starts = {arm: min((r for r in observations if r.arm == arm), key=lambda row: row.step) for arm in arms}
        reached = min(row.result[DECADES.name] for row in ends.values())
        figures: dict[str, float | int | str | None] = {"decades_reached": reached}
        for size in self.sizes:
            own = [ends[_arm(size, self.seed + at)] for at in range(self.seeds)]
            figures[f"margin_gap_from_{size:g}"] = max(row.result[GAP.name] for row in own)
        for name in FALLING:
            figures[f"{name}_at_end"] = max(row.result[name] for row in ends.values())
            figures[f"{name}_fall"] = _smallest_fall(
                [(starts[arm].result[name], ends[arm].result[name]) for arm in arms]
            )
        figures["norm_over_predicted"] = max(
            (row.result[NORM.name] for row in ends.values()), key=lambda ratio: abs(ratio - 1)
        )
        if reached < self.decades:
            statement = f"A descent was stopped at a loss of 1e-{reached:.0f}, before the last one."
            return Verdict(state="inconclusive", statement=statement, figures=figures)
        gap = max(row.result[GAP.name] for row in ends.values())
        falls = [found for name in FALLING if (found := figures[f"{name}_fall"]) is not None]
        fall = min((float(found) for found in falls), default=math.inf)
        statement = (
            f"At a loss of 1e-{self.decades:g} the margin is {gap:.1e} below its bound at worst, over {len(arms)}"
            f" descents; NC1, NC2 and NC3 have fallen at least {fall:.3g}-fold."
        )
        return Verdict(
            state="holds" if gap <= SHORT and fall >= FALL else "fails", statement=statement, figures=figures
        )

    @classmethod
    def smoke(cls) -> "MaxMarginUfm":
        """A run of seconds: few descents, and losses that still are numbers at first.

        Returns:
            Its configuration.
        """
        return cls(sizes=(0.01, 0.1), seeds=1, num_classes=3, per_class=3, num_features=4, measurements=4, step=1.0)


def _extras(landscape: UnregularisedCrossEntropy, state: State, log_loss: float, log_time: float) -> list[Extra]:
    gap = 1 - normalised_margin(state, landscape.labels) / landscape.margin_bound
    norm = sum(float(x.square().sum()) for x in state.values())
    return [
        (GAP, max(0.0, gap)),
        (MISALIGNED, margin_residual(state, landscape.labels).misalignment if gap < 1 else "a sample is misclassified"),
        (DECADES, max(0.0, -log_loss / math.log(10))),
        (NORM, norm / landscape.norm_squared_at(log_time) if log_time > 0 else "the time is not above 1"),
    ]


def _arm(size: float, seed: int) -> str:
    return f"size{size:g}-{seed}"


def _smallest_fall(pairs: Sequence[tuple[float, float]]) -> float | None:
    """By how many times a number fell at least; None where it fell to zero throughout."""
    return min((before / after for before, after in pairs if after > 0), default=None)
