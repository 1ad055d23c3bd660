"""Which rates of local elasticity make classes linearly separable, from exact samples of the stochastic equation."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.core.random import generators
from collapselab.evidence import LabelledFeatures, LinearHead
from collapselab.experiments._spec import experiment
from collapselab.experiments.events import Event
from collapselab.experiments.extra import declared
from collapselab.experiments.probe import Probe
from collapselab.experiments.solving import Look, Solve, solved
from collapselab.experiments.verdicts import last_row
from collapselab.records.schema import Against, Observation, Verdict
from collapselab.theory import PowerLaw, constant, separation
from collapselab.theory.locally_elastic import LocallyElastic

# What the interval of a probability that should be 1 must lie above, and of one that should be 0 below.
NEARLY_ALL, HARDLY_ANY = 0.8, 0.2

# Most with which samples with random labels may be separable: the claim is about ever more of them.
BY_CHANCE = 0.01

_extra = partial(declared, source="zhang2021", family="separability", at_collapse=1.0, upper=1.0)
SHARE = _extra(
    "separable_pairs",
    "separable pairs of classes",
    "Share of pairs of classes that a hyperplane separates, over all trials.",
    symbol=r"\hat P_{kl}",
)
LOW = _extra(
    "separable_low",
    "probability that all pairs are separable, lower end",
    "Lower end of the exact 95 % interval of the probability that every pair of classes is separable.",
    symbol=r"\underline P",
)
HIGH = _extra(
    "separable_high",
    "probability that all pairs are separable, upper end",
    "Upper end of the exact 95 % interval of the probability that every pair of classes is separable.",
    symbol=r"\overline P",
)
TIME = declared(
    "time",
    "time",
    "Time of the stochastic equation.",
    symbol="t",
    source="zhang2021",
    family="separability",
    at_collapse=None,
)


@dataclass(frozen=True)
class Case:
    """One equation of the phase diagram.

    Attributes:
        name: Its key.
        title: A few words for a legend.
        model: The equation.
    """

    name: str
    title: str
    model: LocallyElastic


@experiment(
    source="zhang2021",
    claim=(
        "Of the locally elastic equation of features, samples of different classes become linearly separable with"
        " probability 1 exactly where alpha - beta stays above c/t for a c > K/2, be the smallest eigenvalue of the"
        " elasticity zero or not, and never where samples move themselves in place of the class means."
    ),
    title="Phases of separability",
    notes=(
        "Nothing is trained or simulated step by step: samples at each time are drawn from their exact distribution,"
        " divided by the largest of growth and noise. Steps are units of time.",
        "What stands as loss is the share of pairs of classes that no hyperplane separates; metrics look at one more"
        " trial, with the classifier of the nearest class mean.",
        "The theorem of the paper asks for the smallest eigenvalue γ of E to fall more slowly than 1/t. In the case"
        " called γ = 0 it is zero at all times and classes separate: its eigenvector moves all classes alike.",
        "At c = K/2 the distance of class means keeps pace with the noise: with ever more samples no pair is left, with"
        " a hundred a few are.",
    ),
    chart=lambda recipe: Against(
        metric=SHARE.name,
        over=TIME.name,
        by="case",
        log_x=True,
        every=True,
        linear=True,
        title="separable pairs of classes",
        words={"time": "time t", **{case.name: case.title for case in recipe.cases}},
    ),
)
@dataclass(frozen=True)
class LeSdeSeparation:
    """Draw samples of the locally elastic equation at ever later times and ask which pairs of classes are separable.

    Attributes:
        exponents: Exponents r of the rates alpha(t) = scale (1 + t)^-r that are tried, with beta = 0.
        scale: The rate at time 0.
        boundary: Scales c of the rates c / (1 + t) that are tried; K / 2 is the critical one.
        num_classes: K.
        num_features: p.
        per_class: n.
        decades: Times are the powers of 10 up to this one.
        trials: Independent starts and samples at every time.
        seed: Where all randomness comes from.
    """

    exponents: tuple[float, ...] = (0.5, 0.8, 1.2, 1.5)
    scale: float = 1.5
    boundary: tuple[float, ...] = (0.75, 1.5, 3.0)
    num_classes: int = 3
    num_features: int = 3
    per_class: int = 100
    decades: int = 6
    trials: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("num_features", "decades", "trials"):
            checks.whole(getattr(self, name), name, at_least=1)
        checks.whole(self.num_classes, "num_classes", at_least=2)
        checks.whole(self.per_class, "per_class", at_least=2)
        checks.whole(self.seed, "seed", at_least=0)
        checks.real(self.scale, "scale", above=0)
        if (chance := _by_chance(self.per_class, self.num_features)) > BY_CHANCE:
            raise InputError(
                "per_class must be large enough for classes not to be separable by chance, got"
                f" {self.per_class}: twice as many with random labels are with probability {chance:.2g}"
            )
        for name in ("exponents", "boundary"):
            given = getattr(self, name)
            if not isinstance(given, tuple) or not given or len(set(given)) < len(given):
                raise InputError(f"{name} must be different numbers, at least one, got {given!r}")
            for number in given:
                checks.real(number, f"every entry of {name}", above=0)
        if 1.0 in self.exponents:
            raise InputError("exponents must not be 1, which boundary is about")

    @property
    def epochs(self) -> int:
        """Equations that are looked at."""
        return len(self.cases)

    @property
    def cases(self) -> tuple[Case, ...]:
        """All equations: rates by exponent, those at the boundary, a smallest eigenvalue of zero, and self drift."""
        still, k, slowest = constant(0.0), self.num_classes, min(self.exponents)
        rate = PowerLaw(self.scale, slowest)
        within, between = (PowerLaw(self.scale * part / k, slowest) for part in (k - 1, -1))
        make = partial(LocallyElastic, num_features=self.num_features)
        powers = [
            Case(f"exponent-{r:g}", f"{self.scale:g} (1+t)^−{r:g}", make(k, PowerLaw(self.scale, r), still))
            for r in self.exponents
        ]
        edge = [Case(f"boundary-{c:g}", f"{c:g} / (1+t)", make(k, PowerLaw(c, 1.0), still)) for c in self.boundary]
        return (
            *powers,
            *edge,
            Case("gamma-0", f"γ = 0, α−β = {self.scale:g} (1+t)^−{slowest:g}", make(k, within, between)),
            Case("self-drift", f"self drift, {self.scale:g} (1+t)^−{slowest:g}", make(k, rate, still, moved_by="self")),
        )

    def run(self, probe: Probe) -> Iterator[Event]:
        """Look at every equation at every time.

        Args:
            probe: Where to go on from.

        Returns:
            What happens, as it happens.
        """

        def solve(case: Case) -> Solve:
            settings = {"case": case.name, "separates": case.model.separates(), "theorem": case.model.theorem()}
            return Solve(case.name, lambda: self._looks(case), case.title, settings)

        names = ("nc1_pinv", "cdnv", "nc2_equinorm_means", "ncc_accuracy")
        return solved(probe, [solve(case) for case in self.cases], metrics=names)

    def _looks(self, case: Case) -> Iterator[Look]:
        for decade in range(1, self.decades + 1):
            draw, shown = generators(self.seed, f"{case.name}/{decade}", f"{case.name}/{decade}/shown")
            found = separation(case.model, 10.0**decade, samples=self.per_class, trials=self.trials, generator=draw)
            low, high = found.interval()
            numbers = zip((SHARE, LOW, HIGH, TIME), (found.share, low, high, 10.0**decade), strict=True)
            features = self._features(case, 10.0**decade, shown)
            head = _nearest_mean(features)
            yield Look(10**decade, features, head, 1 - found.share, extra=tuple(numbers))

    def _features(self, case: Case, t: float, generator: torch.Generator) -> LabelledFeatures:
        means = case.model.draw(generator)["h"]
        h = case.model.sampled(t, means, samples=self.per_class, generator=generator, centred=True).h
        y = torch.arange(self.num_classes).repeat(self.per_class)
        return LabelledFeatures(h.flatten(0, 1), y, self.num_classes)

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether every equation separates classes at the last time where it should, and does not where it should not.

        What should separate and does not yet, but more than at the time before, is undecided: the claim is about ever
        later times.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        figures: dict[str, float | int | str | None] = {}
        agree, against = [], []
        for case in self.cases:
            row = last_row(observations, split="train", arm=case.name).result
            low, high, separates = row[LOW.name], row[HIGH.name], case.model.separates()
            figures |= {f"{case.name}_{end}": value for end, value in (("low", low), ("high", high))}
            figures[f"{case.name}_share"] = row[SHARE.name]
            agree += [case.name] if (low >= NEARLY_ALL if separates else high <= HARDLY_ANY) else []
            missed = high < NEARLY_ALL and not _rising(observations, case.name) if separates else low > HARDLY_ANY
            against += [case.name] if missed else []
        figures["critical_scale"] = self.cases[0].model.critical_scale()
        should = [case.name for case in self.cases if case.model.separates()]
        should_not = [case.name for case in self.cases if case.name not in should]
        open_ones = len(self.cases) - len(agree) - len(against)
        statement = (
            f"At time 1e{self.decades} the probability that all pairs of classes are separable is {NEARLY_ALL:g} or"
            f" more for {len(set(should) & set(agree))} of the {len(should)} equations that should separate them, and"
            f" {HARDLY_ANY:g} or less for {len(set(should_not) & set(agree))} of the {len(should_not)} that should not;"
            f" {open_ones} are undecided by {self.trials} trials and these times."
        )
        state = "fails" if against else "inconclusive" if open_ones else "holds"
        return Verdict(state=state, statement=statement, figures=figures)

    @classmethod
    def smoke(cls) -> "LeSdeSeparation":
        """A run of seconds.

        Returns:
            The recipe.
        """
        return cls(exponents=(0.5, 1.5), boundary=(3.0,), per_class=30, decades=3, trials=20)


def _nearest_mean(features: LabelledFeatures) -> LinearHead:
    """The classifier whose largest logit is that of the nearest class mean."""
    means: Tensor = torch.stack([features.h[features.y == k].mean(0) for k in range(features.num_classes)])
    return LinearHead(means, -means.square().sum(1) / 2)


def _by_chance(samples: int, features: int) -> float:
    """Probability that 2 n samples with random labels are separable (Cover 1965); n and n of them are less often."""
    return sum(math.comb(2 * samples - 1, k) for k in range(features + 1)) / 2 ** (2 * samples - 1)


def _rising(observations: Sequence[Observation], arm: str) -> bool:
    """Whether more pairs of classes are separable at the last time than at the one before; of one time it may be."""
    rows = sorted((row for row in observations if row.arm == arm and not row.layer), key=lambda row: row.step)
    return len(rows) < 2 or rows[-1].result[SHARE.name] > rows[-2].result[SHARE.name]
