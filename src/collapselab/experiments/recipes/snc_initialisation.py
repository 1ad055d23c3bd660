"""Strong neural collapse of the squared-error flow, from starts of every size."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.core.random import generators
from collapselab.evidence import LabelledFeatures, LinearHead
from collapselab.experiments._spec import experiment
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event
from collapselab.experiments.extra import Extra, declared
from collapselab.experiments.probe import Probe
from collapselab.experiments.solving import Look, Solve, solved
from collapselab.experiments.verdicts import last_row
from collapselab.records.schema import Against, Observation, Verdict
from collapselab.theory import State, integrate, strong_collapse_errors
from collapselab.theory.gradient_flow import SquaredErrorFlow

Kind = Literal["sum", "mean"]
KINDS: tuple[Kind, ...] = ("sum", "mean")

# Starts up to this size count as small, and how far a measured exponent may be from the predicted one, as a part of it.
SMALL, OFF = 0.1, 0.05

# What the errors of the two flows may differ by at the same moment, as a part of them: what integration leaves.
APART = 1e-5

_error = partial(declared, source="mixon2020", family="strong_collapse")
WEIGHTS = _error(
    "snc_weights_error",
    "class vectors",
    "Squared distance of the inner products of class vectors from those of strong collapse.",
    symbol=r"\lVert WW^T-\sqrt n\,\Pi\rVert_F^2",
)
FEATURES = _error(
    "snc_features_error",
    "features",
    "Squared distance of the features from the class vectors over the root of the size of a class.",
    symbol=r"\sum_i\lVert h_i-w_{y_i}/\sqrt n\rVert^2",
)
BIAS = _error(
    "snc_bias_error",
    "bias",
    "Squared distance of the bias from one over the number of classes.",
    symbol=r"\lVert b-1/K\rVert^2",
)
KEPT = _error(
    "snc_features_predicted",
    "features, predicted",
    "What a small start leaves of the error of the features for good, predicted from the start and the bias.",
    symbol=r"\lVert Z_0P^\perp\rVert^2+4K\lVert\bar d_0P^\perp\rVert^2e^{-2/(K\sqrt n)}+K\sqrt n\,e_3",
)
POWERS = {WEIGHTS.name: 4.0, FEATURES.name: 2.0, BIAS.name: 2.0}


@experiment(
    source="kothapalli2023",
    claim=(
        "The gradient flow of the squared error ends the farther from strong collapse the larger it began: the errors"
        " of class vectors, features and bias grow with the size of the start, towards zero as its powers 4, 2 and 2,"
        " and are the same for the sum and the mean of the squares once time is rescaled."
    ),
    title="Strong collapse by the size of the start",
    notes=(
        "Steps are units of time of the flow of the sum; the flow of the mean is looked at N times as late, and losses"
        " are means over samples for both.",
        "From the largest starts the loss falls as good as to zero: the saddle that the review supposes behind large"
        " errors is not there. What keeps the flow from collapse is conserved: the difference of the Gram matrices of"
        " class vectors and features, and the deviations within classes that the class vectors have no part in. Decay"
        " would remove both.",
        "Those deviations stand at right angles to the class means, so that nc1_pinv does not see them; within_fraction"
        " does.",
    ),
    chart=Against(
        metric=WEIGHTS.name,
        beside=(FEATURES.name, BIAS.name),
        over="size",
        by="loss",
        log_x=True,
        powers=POWERS,
        title="error at the end",
        words={"size": "size of the start", "sum": "sum of squares", "mean": "mean of squares"},
    ),
)
@dataclass(frozen=True)
class SncInitialisation:
    """Follow the gradient flow of the squared error on free features from random starts, and measure strong collapse.

    Attributes:
        sizes: Norms of class vectors and features together at the start; the bias starts at zero.
        seeds: Directions of the start that are tried, the same at every size.
        num_classes: K.
        per_class: n.
        num_features: d.
        time: When the errors are taken, in units of the flow of the sum of squares.
        measurements: Moments at which to measure, besides the start.
        seed: Where all randomness comes from: the first of the directions.
    """

    sizes: tuple[float, ...] = (1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
    seeds: int = 3
    num_classes: int = 4
    per_class: int = 6
    num_features: int = 10
    time: int = 60
    measurements: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("seeds", "time", "measurements"):
            checks.whole(getattr(self, name), name, at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        if not isinstance(self.sizes, tuple) or list(self.sizes) != sorted(set(self.sizes)) or len(self.sizes) < 2:
            raise InputError(f"sizes must be two different numbers or more in ascending order, got {self.sizes!r}")
        for size in self.sizes:
            checks.real(size, "every entry of sizes", above=0)
            self._flow("sum", size)

    @property
    def epochs(self) -> int:
        """Flows that are followed."""
        return len(KINDS) * len(self.sizes) * self.seeds

    def _flow(self, kind: Kind, size: float) -> SquaredErrorFlow:
        sizes = (self.num_classes, self.per_class, self.num_features)
        return SquaredErrorFlow(*sizes, normalised=kind == "mean", scale=size)

    def run(self, probe: Probe) -> Iterator[Event]:
        """Follow every flow.

        Args:
            probe: Where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(kind: Kind, size: float, seed: int) -> Solve:
            title = f"{kind} of squares, size {size:g}, seed {seed}"
            settings = {"loss": kind, "size": size, "seed": seed}
            return Solve(_arm(kind, size, seed), lambda: self._looks(kind, size, seed), title, settings)

        seeds = range(self.seed, self.seed + self.seeds)
        cases = [case(kind, size, seed) for kind in KINDS for size in self.sizes for seed in seeds]
        # Metrics that need inner products of all samples say nothing more here.
        names = ("nc1_pinv", "within_fraction", "nc2_max_angle_means", "nc3_duality", "nc4_disagreement", "accuracy")
        return solved(probe, cases, metrics=names)

    def _looks(self, kind: Kind, size: float, seed: int) -> Iterator[Look]:
        flow = self._flow(kind, size)
        (draw,) = generators(seed, "start")
        start, steps = flow.draw(draw), (0, *log_spaced(self.time, self.measurements))
        times = [step / flow.speed for step in steps]
        found = integrate(flow, start, times, method="DOP853", relative=1e-11, absolute=1e-14).require("finished")
        for step, state in zip(steps, found.states, strict=True):
            yield Look(
                step=step,
                features=LabelledFeatures(state["h"], flow.labels, self.num_classes),
                head=LinearHead(state["weight"], state["bias"]),
                loss=float(flow.loss(state)) / (flow.speed * flow.num_samples),
                extra=_errors(flow, start, state),
            )

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether the errors grow, with the predicted exponents towards zero, and are those of both flows.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        ends: dict[tuple[Kind, float], list[Observation]] = {
            (kind, size): [
                last_row(observations, split="train", arm=_arm(kind, size, seed))
                for seed in range(self.seed, self.seed + self.seeds)
            ]
            for kind in KINDS
            for size in self.sizes
        }
        medians = {
            name: [statistics.median(row.result[name] for row in ends["sum", size]) for size in self.sizes]
            for name in POWERS
        }
        figures: dict[str, float | int | str | None] = {"largest_difference_of_flows": _difference(ends, self.sizes)}
        figures |= {f"{name}_from_{self.sizes[-1]:g}": found[-1] for name, found in medians.items()}
        figures[f"loss_from_{self.sizes[-1]:g}"] = max(row.loss for row in ends["sum", self.sizes[-1]])
        figures["features_error_over_predicted"] = _over_predicted(ends["sum", self.sizes[0]])
        small = [at for at, size in enumerate(self.sizes) if size <= SMALL]
        if len(small) < 2:
            statement = f"Exponents need two starts or more of size {SMALL:g} at most."
            return Verdict(state="inconclusive", statement=statement, figures=figures)
        slopes = {name: _slope([(self.sizes[at], found[at]) for at in small]) for name, found in medians.items()}
        figures |= {f"exponent_of_{name}": slope for name, slope in slopes.items()}
        as_predicted = all(abs(slopes[name] - power) <= OFF * power for name, power in POWERS.items())
        grows = all(after > before for found in medians.values() for before, after in pairwise(found))
        same = float(figures["largest_difference_of_flows"] or 0) <= APART
        exponents = ", ".join(f"{slope:.3f}" for slope in slopes.values())
        statement = (
            f"Up to size {SMALL:g} the errors of class vectors, features and bias follow the powers {exponents}; they"
            f" {'grow' if grows else 'do not grow throughout'} up to size {self.sizes[-1]:g}; those of sum and mean"
            f" differ by {figures['largest_difference_of_flows']:.1g} of themselves at most."
        )
        return Verdict(
            state="holds" if as_predicted and grows and same else "fails", statement=statement, figures=figures
        )

    @classmethod
    def smoke(cls) -> "SncInitialisation":
        """A run of seconds: few sizes, one direction, a short time.

        Returns:
            Its configuration.
        """
        return cls(sizes=(1e-2, 0.1, 1.0), seeds=1, num_classes=3, per_class=4, num_features=5, time=20, measurements=2)


def _errors(flow: SquaredErrorFlow, start: State, state: State) -> list[Extra]:
    found, kept = strong_collapse_errors(state), flow.remainder(start)
    predicted = kept.within + kept.common + flow.num_classes * math.sqrt(flow.per_class) * found.bias
    values = (*found, predicted)
    return [(one, float(value)) for one, value in zip((WEIGHTS, FEATURES, BIAS, KEPT), values, strict=True)]


def _arm(kind: Kind, size: float, seed: int) -> str:
    return f"{kind}-size{size:g}-{seed}"


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the logarithm of values along the logarithm of places."""
    places, values = zip(*points, strict=True)
    return float(np.polyfit(np.log(places), np.log(values), 1)[0])


def _difference(ends: dict[tuple[Kind, float], list[Observation]], sizes: Sequence[float]) -> float:
    """Largest relative difference of an error between the flows of sum and mean."""
    pairs = [both for size in sizes for both in zip(ends["sum", size], ends["mean", size], strict=True)]
    return max(abs(b.result[name] / a.result[name] - 1) for a, b in pairs for name in POWERS)


def _over_predicted(rows: Sequence[Observation]) -> float:
    """The error of the features over its prediction, where that is farthest from 1."""
    return max((row.result[FEATURES.name] / row.result[KEPT.name] for row in rows), key=lambda ratio: abs(ratio - 1))
