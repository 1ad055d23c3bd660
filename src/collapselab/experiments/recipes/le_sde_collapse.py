"""Which transform of locally elastic learning makes logits collapse, measured along simulated paths."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.core.random import generators
from collapselab.evidence import LabelledFeatures, LinearHead
from collapselab.experiments._spec import experiment
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event
from collapselab.experiments.extra import declared
from collapselab.experiments.probe import Probe
from collapselab.experiments.solving import Look, Solve, solved
from collapselab.experiments.verdicts import NC2, NC3, NC4, last_row
from collapselab.measuring import measure
from collapselab.records.schema import Course, Observation, Reference, Verdict
from collapselab.theory import (
    AbstractLocallyElastic,
    binomial_interval,
    constant,
    residual_directions,
    residual_projections,
    simulate,
)
from collapselab.theory.locally_elastic import LocallyElastic, LocallyElasticLogits
from collapselab.theory.locally_elastic_reference import LocallyElasticReference

# Each face of collapse, and what it must not lie above at the end to count as collapsed.
BELOW = {"nc1_pinv": 0.05, NC2: 0.05, NC3: 0.05, NC4: 0.01}
FACES = {"nc1_pinv": "NC1", NC2: "NC2", NC3: "NC3", NC4: "NC4"}

# What the interval of a probability that should be 1 must lie above, and of one that should be 0 below.
NEARLY_ALL, HARDLY_ANY = 0.8, 0.2

# Cosine of class means with the simplex from which on they have turned to it.
THERE = 0.99

_extra = partial(declared, source="zhang2021", family="local_elasticity")
MEDIANS = {
    name: _extra(
        f"{name}_median",
        f"{face}, median over starts",
        f"Median of {name} over all starts.",
        symbol=rf"\mathrm{{med}}\,\mathcal{{{face}}}",
    )
    for name, face in FACES.items()
}
ALIGNED = _extra(
    "residual_cosine",
    "cosine with the simplex, median over starts",
    "Cosine of the class means, stacked, with the residuals of all classes, stacked; -1 is a simplex upside down.",
    symbol=r"\cos(\bar X,d)",
    at_collapse=1.0,
    lower=-1.0,
    upper=1.0,
)
COLLAPSED = _extra(
    "collapsed_starts",
    "starts that have collapsed",
    "Share of starts from which NC1, NC2 and NC3 are 0.05 at most, and NC4 0.01.",
    symbol=r"\hat P",
    at_collapse=1.0,
    upper=1.0,
)


@dataclass(frozen=True)
class Case:
    """One equation, followed from several starts.

    Attributes:
        name: Its key.
        title: A few words for a legend.
        model: The equation.
        collapses: Whether the claim says that logits collapse.
        side: 1 for starts along the residuals on average, -1 for those against them.
    """

    name: str
    title: str
    model: AbstractLocallyElastic
    collapses: bool
    side: int = 1


@experiment(
    source="zhang2021",
    claim=(
        "Along simulated paths of locally elastic logits that start along the residuals on average, NC1, NC2, NC3 and"
        " NC4 all tend to 0 under the residual-aligned transform where beta > 0, and under the transform of the"
        " published code where beta < 0; never where the sign is the other one, where the start is reversed, under the"
        " identity transform, or where samples move themselves in place of the class means."
    ),
    title="Collapse along paths of local elasticity",
    notes=(
        "Nothing is trained: logits of n samples a class follow the stochastic equation by the scheme of Euler and"
        " Maruyama. They are the features, and the classifier is the identity less its mean row. Steps are times.",
        "Metrics of a row are those of the first start; medians are over all of them. What stands as loss is the share"
        " of starts that have not collapsed.",
        "That classifier decides as the largest logit does and is itself a simplex, so that NC3 asks for class means at"
        " the place of their own labels, which the direction d alone has: a simplex upside down fails it.",
        "NC1 falls wherever class means outgrow the noise, under the identity transform too: it tells of separation,"
        " and NC2 and NC3 tell of the geometry.",
    ),
    chart=Course(
        metrics=(*(MEDIANS[name].name for name in ("nc1_pinv", NC2, NC3)), ALIGNED.name),
        references={ALIGNED.name: (Reference(value=1.0, label="d, the simplex"),)},
    ),
)
@dataclass(frozen=True)
class LeSdeCollapse:
    """Simulate locally elastic logits under several transforms, and measure collapse on the way.

    Attributes:
        num_classes: K, of classes and of logits.
        per_class: n, samples of each class.
        intra: alpha, how much a sample moves those of its class.
        inter: beta in magnitude, how much it moves those of every other class.
        noise: Variance of each logit per unit of time.
        time: Where paths end.
        step: Longest step.
        measurements: Moments at which to measure, log-spaced.
        starts: Class means at time 0 that are tried, normal and the same for every equation.
        seed: Where all randomness comes from.
    """

    num_classes: int = 4
    per_class: int = 50
    intra: float = 1.0
    inter: float = 0.3
    noise: float = 1.0
    time: int = 80
    step: float = 0.1
    measurements: int = 10
    starts: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.num_classes, "num_classes", at_least=3)
        checks.whole(self.per_class, "per_class", at_least=2)
        checks.whole(self.seed, "seed", at_least=0)
        for name in ("time", "measurements", "starts"):
            checks.whole(getattr(self, name), name, at_least=1)
        for name in ("intra", "inter", "noise", "step"):
            checks.real(getattr(self, name), name, above=0)
        most = self.intra / (self.num_classes - 1)
        checks.real(self.inter, "inter", below=most)  # so that E is positive definite for both signs
        # The identity transform makes the mean of classes outgrow their differences by exp of this.
        if self.inter * self.time > 30 or self.intra * self.time > 500:
            raise InputError(
                "time must be less than 30 / inter and 500 / intra, where differences of classes leave float64,"
                f" got {self.time}"
            )

    @property
    def epochs(self) -> int:
        """Equations that are followed."""
        return len(self.cases)

    @property
    def cases(self) -> tuple[Case, ...]:
        """All equations: three transforms with both signs of beta, a reversed start, and self drift."""
        k, alpha, noise = self.num_classes, constant(self.intra), constant(self.noise)
        plus, minus = constant(self.inter), constant(-self.inter)
        aligned = LocallyElasticLogits(k, alpha, plus, noise)
        return (
            Case("aligned", "residual-aligned, β > 0", aligned, True),
            Case("aligned-negative", "residual-aligned, β < 0", replace(aligned, inter=minus), False),
            Case("aligned-reversed", "residual-aligned, β > 0, start reversed", aligned, False, -1),
            Case("aligned-self", "residual-aligned, β > 0, self drift", replace(aligned, moved_by="self"), False),
            Case("reference", "published code, β > 0", LocallyElasticReference(k, alpha, plus, noise), False),
            Case("reference-negative", "published code, β < 0", LocallyElasticReference(k, alpha, minus, noise), True),
            Case("identity", "identity, β > 0", LocallyElastic(k, alpha, plus, noise, num_features=k), False),
            Case("identity-negative", "identity, β < 0", LocallyElastic(k, alpha, minus, noise, num_features=k), False),
        )

    def run(self, probe: Probe) -> Iterator[Event]:
        """Follow every equation.

        Args:
            probe: Where to go on from.

        Returns:
            What happens, as it happens.
        """

        def solve(case: Case) -> Solve:
            settings = {"case": case.name, "moved_by": case.model.moved_by, "claimed": case.collapses}
            return Solve(case.name, lambda: self._looks(case), case.title, settings)

        names = (*BELOW, "nc2_equinorm_means", "ncc_accuracy", "accuracy")
        return solved(probe, [solve(case) for case in self.cases], metrics=names)

    def _looks(self, case: Case) -> Iterator[Look]:
        begin, noise = generators(self.seed, "start", f"noise/{case.name}")
        means = torch.randn(self.starts, *case.model.shape, generator=begin, dtype=torch.float64)
        along = residual_projections(means).mean(-1).sign()[:, None, None]
        start, times = case.model.begin(case.side * along * means), log_spaced(self.time, self.measurements)
        found = simulate(case.model, start, times, step=self.step, paths=self.per_class, generator=noise)
        for time, state in zip(times, found.states, strict=True):
            yield self._look(time, state["h"].transpose(0, 1))

    def _look(self, time: int, h: Tensor) -> Look:
        """A moment, from the samples (starts, n, K, K) of all starts."""
        y, k = torch.arange(self.num_classes).repeat(self.per_class), self.num_classes
        starts = [LabelledFeatures(one.flatten(0, 1), y, k) for one in h]
        head = LinearHead(residual_directions(k))
        measured = [measure(one, head=head, metrics=tuple(BELOW)) for one in starts]
        values = {name: [one[name] for one in measured] for name in BELOW}
        collapsed = [all(one[name] <= most for name, most in BELOW.items()) for one in measured]
        directions = residual_directions(k).flatten()
        cosines = torch.nn.functional.cosine_similarity(h.mean(1).flatten(1), directions[None])
        share = sum(collapsed) / len(collapsed)
        extra = (
            *((MEDIANS[name], statistics.median(found)) for name, found in values.items()),
            (ALIGNED, float(cosines.median())),
            (COLLAPSED, share),
        )
        return Look(time, starts[0], head, 1 - share, extra)

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether logits collapse at the end of the equations of which it is claimed, and of those alone.

        Where class means were turning to the simplex still, it is undecided whether they would have.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        figures: dict[str, float | int | str | None] = {}
        agree, against = [], []
        for case in self.cases:
            row = last_row(observations, split="train", arm=case.name).result
            low, high = binomial_interval(round(row[COLLAPSED.name] * self.starts), self.starts)
            figures |= {f"{case.name}_low": low, f"{case.name}_high": high}
            figures |= {f"{case.name}_{FACES[name]}": row[median.name] for name, median in MEDIANS.items()}
            agree += [case.name] if (low >= NEARLY_ALL if case.collapses else high <= HARDLY_ANY) else []
            missed = high < NEARLY_ALL and not _turning(observations, case.name) if case.collapses else low > HARDLY_ANY
            against += [case.name] if missed else []
        claimed = [case.name for case in self.cases if case.collapses]
        others = len(self.cases) - len(claimed)
        open_ones = len(self.cases) - len(agree) - len(against)
        statement = (
            f"At time {self.time} logits have collapsed with probability {NEARLY_ALL:g} or more in"
            f" {len(set(claimed) & set(agree))} of the {len(claimed)} equations of which it is claimed, and with"
            f" {HARDLY_ANY:g} or less in {len(set(agree) - set(claimed))} of the {others} others; {open_ones} are"
            f" undecided by {self.starts} starts and this time."
        )
        state = "fails" if against else "inconclusive" if open_ones else "holds"
        return Verdict(state=state, statement=statement, figures=figures)

    @classmethod
    def smoke(cls) -> "LeSdeCollapse":
        """A run of seconds.

        Returns:
            The recipe.
        """
        return cls(num_classes=3, per_class=10, inter=0.4, time=60, step=0.5, measurements=1, starts=20)


def _turning(observations: Sequence[Observation], arm: str) -> bool:
    """Whether class means were on their way to the simplex at the end, but not there."""
    rows = sorted((row for row in observations if row.arm == arm and not row.layer), key=lambda row: row.step)
    cosines = [row.result[ALIGNED.name] for row in rows]
    return cosines[-1] < THERE and (len(cosines) < 2 or cosines[-1] > cosines[-2])
