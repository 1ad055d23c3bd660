"""How far a step on one sample reaches along a curve: networks with ReLU beside linear ones, figure 6 of the review."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.core.random import child_seed
from collapselab.dynamics import half_squared_error, stable_rate, tangent_kernel
from collapselab.evidence import LabelledFeatures, LinearHead
from collapselab.experiments._spec import experiment
from collapselab.experiments.events import Event
from collapselab.experiments.extra import Extra, declared
from collapselab.experiments.probe import Probe
from collapselab.experiments.recipes._curved_pairs import Pairs, Points
from collapselab.experiments.solving import Look, Solve, solved
from collapselab.experiments.verdicts import mean_and_half_width
from collapselab.records.schema import Against, Observation, Verdict
from collapselab.training.data._curved import Curved
from collapselab.training.data.folded_boxes import FoldedBoxes
from collapselab.training.data.interleaved_curves import InterleavedCurves
from collapselab.training.networks import Classifier
from collapselab.training.networks.mlp import MLP

Curve = Literal["torus", "boxes"]
Kind = Literal["relu", "linear"]
CURVES: tuple[Curve, ...] = get_args(Curve)
KINDS: tuple[Kind, ...] = get_args(Kind)
TITLES = {"torus": "curves on a torus", "boxes": "folded boxes", "relu": "ReLU", "linear": "linear"}

# Correlations that count as a fall with the distance, and as no relation to it.
FALLS, NONE = -0.9, 0.3

PAIRS = "pairs"
"""Split of the rows that tell of pairs at some distance."""

_number = partial(declared, source="he2020", family="elasticity_and_distance", at_collapse=None)
_correlation = partial(_number, lower=-1.0, upper=1.0)
CORRELATION = _correlation(
    "similarity_distance_correlation",
    "similarity and distance",
    "Pearson correlation of the relative similarity of two samples of a class with their distance, mean of classes.",
    symbol=r"\operatorname{corr}(|\Theta(x,x')|/\Theta(x,x),\,d(x,x'))",
)
SIGNED = _correlation(
    "signed_similarity_distance_correlation",
    "signed similarity and distance",
    "Correlation of the similarity with its sign, which says whether a sample moves the same way, with the distance.",
    symbol=r"\operatorname{corr}(\Theta(x,x')/\Theta(x,x),\,d(x,x'))",
)
DISTANCE = _number(
    "distance",
    "distance along the curve",
    "Distance of the pairs along their curve, as a part of the largest.",
    symbol=r"d/d_{\max}",
    upper=1.0,
)
SIMILARITY = _number(
    "relative_similarity",
    "relative similarity",
    "How far a small step on a sample moves another, relative to itself: mean over pairs at that distance.",
    symbol=r"|\Theta(x,x')|/\Theta(x,x)",
)


@experiment(
    source="he2020",
    claim=(
        "How far a step on a sample moves another of its class falls with their distance along the curve in a trained"
        " ReLU network, and is not related to it in a linear one: on both data sets the 95 % confidence interval of the"
        " Pearson correlation, over seeds, lies below -0.9 for the first and within 0.3 of zero for the second."
    ),
    title="Local elasticity along curves",
    notes=(
        "The relative similarity is the limit of small steps, from the exact tangent kernel at the end of training;"
        " pairs are of different samples of one class. Inputs are not standardised: curves lie around the origin.",
        "Networks have one output, trained on 0 and 1 by full-batch gradient descent with momentum on the squared"
        " error; the head in the record is that output and its opposite, minus and plus one half.",
        "The similarity is a size. With its sign kept it falls with the distance in linear networks too, to below zero:"
        " they move samples far away as much as near ones, the other way. The figures have both correlations.",
        "Wide networks hardly change their kernel in training: the correlation is there at the random start, which the"
        " figures call before. It comes with the ReLU, and is not learnt.",
    ),
    chart=Against(
        metric=SIMILARITY.name,
        split=PAIRS,
        over=DISTANCE.name,
        by="curve",
        every=True,
        title="similarity, first seed",
        linear=True,
        words={DISTANCE.name: "distance along the curve, as a part of the largest"},
    ),
)
@dataclass(frozen=True)
class LocalElasticity:
    """Train ReLU and linear networks on two curved sets of two classes, and lay similarity beside distance.

    Attributes:
        seeds: Draws of the points and of the weights.
        samples_per_class: Points of each class.
        hidden: Units of each hidden layer. Narrow layers one after the other blur the kernel at the start.
        steps: Steps of gradient descent.
        share: Learning rate as a part of the number of samples over the largest eigenvalue of the tangent kernel at
            the start; at 2 descent without momentum no longer converges.
        momentum: Share of the last step that is kept.
        bins: Distances at which the mean similarity is told.
        seed: The first seed.
    """

    seeds: int = 5
    samples_per_class: int = 50
    hidden: tuple[int, ...] = (512,)
    steps: int = 4000
    share: float = 0.3
    momentum: float = 0.9
    bins: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("seeds", "steps"):
            checks.whole(getattr(self, name), name, at_least=1)
        checks.whole(self.samples_per_class, "samples_per_class", at_least=3)
        checks.whole(self.bins, "bins", at_least=2)
        checks.whole(self.seed, "seed", at_least=0)
        checks.real(self.share, "share", above=0, below=2)
        checks.real(self.momentum, "momentum", at_least=0, below=1)
        if not isinstance(self.hidden, tuple):
            raise InputError(f"hidden must be a sequence of positive integers, got {self.hidden!r}")
        self._network("relu")

    @property
    def epochs(self) -> int:
        """Networks that are trained."""
        return len(CURVES) * len(KINDS) * self.seeds

    def _network(self, kind: Kind) -> MLP:
        return MLP(widths=self.hidden, batch_norm=False, activation="relu" if kind == "relu" else "identity")

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train every kind of network on every set.

        Args:
            probe: Where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(curve: Curve, kind: Kind, seed: int) -> Solve:
            name = f"{TITLES[curve]}, {TITLES[kind]}"
            settings = {"data": curve, "network": kind, "curve": name, "seed": seed}
            looks = partial(self._looks, curve, kind, seed)
            return Solve(_arm(curve, kind, seed), looks, f"{name}, seed {seed}", settings)

        cases = [case(curve, kind, seed) for seed in self._seeds for curve in CURVES for kind in KINDS]
        return solved(probe, cases, metrics=("nc1_pinv", "within_fraction", "accuracy"))

    @property
    def _seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def _looks(self, curve: Curve, kind: Kind, seed: int) -> Iterator[Look]:
        """The start, the end, and for the first seed a row for each distance."""
        points = Points.draw(_data(curve), self.samples_per_class, seed)
        torch.manual_seed(child_seed(seed, f"{curve} {kind}"))
        network = self._network(kind).build((3,), 1)
        yield _look(network, points, 0, _correlations(Pairs.of(network, points)))
        self._train(network, points)
        pairs = Pairs.of(network, points)
        yield _look(network, points, self.steps, _correlations(pairs))
        along = pairs.along(self.bins) if seed == self.seed else ()
        for place, (distance, mean) in enumerate(along, start=1):
            yield _look(network, points, self.steps + place, [(DISTANCE, distance), (SIMILARITY, mean)], PAIRS)

    def _train(self, network: Classifier, points: Points) -> None:
        rate = stable_rate(tangent_kernel(network, points.x), share=self.share)
        optimiser = torch.optim.SGD(network.parameters(), lr=rate, momentum=self.momentum)
        for _ in range(self.steps):
            optimiser.zero_grad()
            half_squared_error(network(points.x)[:, 0], points.y).mean().backward()
            optimiser.step()

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether the similarity falls with the distance for ReLU networks alone.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        figures: dict[str, float | int | str | None] = {}
        if self.seeds < 2:
            statement = "One seed has no interval; at least 2 are needed."
            return Verdict(state="inconclusive", statement=statement, figures=figures)
        spans: dict[tuple[Curve, Kind], tuple[float, float]] = {}
        try:
            for curve in CURVES:
                for kind in KINDS:
                    arms = [_arm(curve, kind, seed) for seed in self._seeds]
                    found = _figures(f"{curve}_{kind}", [_ends(observations, arm) for arm in arms])
                    figures |= found
                    mean, half = (
                        found[f"correlation_{curve}_{kind}"],
                        found[f"correlation_{curve}_{kind}_half_width_95"],
                    )
                    spans[curve, kind] = mean - half, mean + half
        except UndefinedMetric as undefined:
            return Verdict(state="inconclusive", statement=f"A correlation has no value: {undefined}.", figures=figures)
        parts = [
            f"{figures[f'correlation_{c}_{k}']:.3f} +- {figures[f'correlation_{c}_{k}_half_width_95']:.3f}"
            f" ({TITLES[k]}, {TITLES[c]})"
            for c, k in spans
        ]
        statement = f"Similarity and distance correlate by {', '.join(parts)}; intervals are of 95 %."
        return Verdict(state=_state(spans), statement=statement, figures=figures)

    @classmethod
    def smoke(cls) -> "LocalElasticity":
        """A run of seconds: narrow networks, few steps.

        Returns:
            Its configuration.
        """
        return cls(seeds=2, samples_per_class=20, hidden=(128,), steps=60, bins=5)


def _data(curve: Curve) -> Curved:
    return InterleavedCurves() if curve == "torus" else FoldedBoxes()


def _correlations(pairs: Pairs) -> list[Extra]:
    return [(CORRELATION, pairs.correlation(signed=False)), (SIGNED, pairs.correlation(signed=True))]


def _look(network: Classifier, points: Points, step: int, extra: Sequence[Extra], split: str = "train") -> Look:
    """The network as a classifier of two classes: its output is compared with one half."""
    with torch.no_grad():
        h, loss = network.features(points.x), half_squared_error(network(points.x)[:, 0], points.y).mean()
    weight, bias = network.head.weight.detach(), network.head.bias.detach() - 0.5
    head = LinearHead(torch.cat([-weight, weight]), torch.cat([-bias, bias]))
    return Look(step, LabelledFeatures(h, points.y.long(), 2), head, float(loss), extra, split)


def _arm(curve: Curve, kind: Kind, seed: int) -> str:
    return f"{curve}-{kind}-{seed}"


def _ends(observations: Sequence[Observation], arm: str) -> tuple[Observation, Observation]:
    """First and last row of the points of an arm."""
    rows = sorted((row for row in observations if row.arm == arm and row.split == "train"), key=lambda row: row.step)
    return rows[0], rows[-1]


def _figures(name: str, ends: Sequence[tuple[Observation, Observation]]) -> dict[str, float]:
    """Means over seeds, of start and end."""
    mean, half = mean_and_half_width([end.result[CORRELATION.name] for _, end in ends])
    count = len(ends)
    return {
        f"correlation_{name}": mean,
        f"correlation_{name}_half_width_95": half,
        f"correlation_before_{name}": sum(start.result[CORRELATION.name] for start, _ in ends) / count,
        f"signed_correlation_{name}": sum(end.result[SIGNED.name] for _, end in ends) / count,
        f"accuracy_{name}": sum(1 - end.error for _, end in ends) / count,
    }


def _state(spans: dict[tuple[Curve, Kind], tuple[float, float]]) -> Literal["holds", "fails", "inconclusive"]:
    """What intervals of the correlations say of the claim."""
    within = all(
        high <= FALLS if kind == "relu" else max(-low, high) <= NONE for (_, kind), (low, high) in spans.items()
    )
    beyond = any(
        low > FALLS if kind == "relu" else low > NONE or high < -NONE for (_, kind), (low, high) in spans.items()
    )
    return "holds" if within else "fails" if beyond else "inconclusive"
