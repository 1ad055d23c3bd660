"""The imbalance from which on minority classes have one class vector: where the layer-peeled optimum jumps."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence import LabelledFeatures, LinearHead
from collapselab.experiments._spec import experiment
from collapselab.experiments.events import Event
from collapselab.experiments.extra import Extra, declared
from collapselab.experiments.probe import Probe
from collapselab.experiments.solving import Look, Solve, solved
from collapselab.records.schema import Against, Observation, Reference, Verdict
from collapselab.theory import minority_collapse_threshold
from collapselab.theory.layer_peeled import LayerPeeled

# Relative width to which the ratio where class vectors fall together is narrowed down, and how far it may lie from R_0.
NARROW, OFF = 1e-6, 1e-5

# What rounding may take from a cosine that rises.
_ROUNDING = 1e-9

# Metrics of the classifier: the features of merged classes vanish with growing ratio, so that theirs lose their sense.
_METRICS = ("nc2_equinorm_weights", "nc2_max_angle_weights", "etf_error_weights", "merged_classifiers")

RATIO = declared(
    "imbalance_ratio",
    "imbalance ratio R",
    "Samples of a majority class for one of a minority class.",
    symbol="R",
    source="fang2021",
    family="imbalance",
    at_collapse=None,
    lower=1.0,
)
COSINE = declared(
    "minority_cosine",
    "cosine of minority class vectors",
    "Cosine between two class vectors of the minority, all pairs of which are alike.",
    symbol=r"\cos(w_k,w_l)",
    source="fang2021",
    family="imbalance",
    at_collapse=None,
    lower=-1.0,
    upper=1.0,
)
DISTANCE = declared(
    "minority_distance",
    "distance of minority class vectors",
    "Distance between two class vectors of the minority over the length of the longest class vector; 0 where the"
    " solution has merged them.",
    symbol=r"\lVert w_k-w_l\rVert/\max_m\lVert w_m\rVert",
    source="fang2021",
    family="imbalance",
    at_collapse=None,
)


@experiment(
    source="fang2021",
    claim=(
        "In the layer-peeled model the class vectors of minority classes coincide exactly from a finite imbalance ratio"
        " on, the fixed point R0; it falls as the share of majority classes grows, and rises with the budget."
    ),
    title="Threshold of minority collapse",
    notes=(
        "Nothing is trained: every point is the optimum of the layer-peeled model, solved to rounding. Class vectors"
        " have mean squared norm 1 at most, class means the budget.",
        "R0 solves R = 1/ν(R), ν being the multiplier of the model whose minority classes may not differ; curves come"
        " from the model in which they may. Where they fall together was narrowed down on the curve itself.",
        "With a small budget the one class vector that is left to the minority vanishes at a larger ratio: it has no"
        " cosine from there on, where a curve ends early.",
    ),
    chart=lambda recipe: Against(
        metric=COSINE.name,
        over=RATIO.name,
        by="curve",
        log_x=True,
        every=True,
        mark="threshold",
        references=(Reference(value=-1 / (recipe.num_classes - 1), label="−1/(K−1), a simplex"),),
        words={RATIO.name: "imbalance ratio R", "threshold": "R₀ of the fixed point"},
    ),
)
@dataclass(frozen=True)
class MinorityThreshold:
    """Solve the layer-peeled model along the imbalance ratio, for several splits of the classes and several budgets.

    Attributes:
        majorities: Numbers of majority classes that are tried, all others being the minority.
        budgets: Bounds of the mean squared norm of features that are tried; that of class vectors is 1.
        num_classes: K.
        largest_ratio: Where the curves end.
        points: Ratios of each curve, log-spaced from 1, besides those that narrow down where it jumps.
        seed: Not used: nothing is drawn.
    """

    majorities: tuple[int, ...] = (3, 5, 7)
    budgets: tuple[float, ...] = (1.0, 5.0, 10.0)
    num_classes: int = 10
    largest_ratio: float = 1e4
    points: int = 41
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.num_classes, "num_classes", at_least=3)
        checks.whole(self.points, "points", at_least=2)
        checks.whole(self.seed, "seed", at_least=0)
        checks.real(self.largest_ratio, "largest_ratio", above=1)
        for name in ("majorities", "budgets"):
            values = getattr(self, name)
            if not isinstance(values, tuple) or not values or list(values) != sorted(set(values)):
                raise InputError(f"{name} must be different numbers in ascending order, at least one, got {values!r}")
        for majority in self.majorities:
            checks.whole(majority, "every entry of majorities", at_least=1)
            if majority > self.num_classes - 2:
                most = f"at most {self.num_classes - 2}, which leaves two classes for the minority"
                raise InputError(f"every entry of majorities must be {most}, got {majority}")
        for budget in self.budgets:
            checks.real(budget, "every entry of budgets", above=0)

    @property
    def epochs(self) -> int:
        """Curves."""
        return len(self._curves())

    def _curves(self) -> list[tuple[int, float]]:
        """Majority classes and budget of each."""
        return [(majority, budget) for majority in self.majorities for budget in self.budgets]

    def threshold(self, majority: int, budget: float) -> float:
        """R_0 of a curve.

        Args:
            majority: Majority classes.
            budget: Of the features.

        Returns:
            The ratio.
        """
        return _threshold(majority, self.num_classes - majority, budget)

    def run(self, probe: Probe) -> Iterator[Event]:
        """Solve every curve.

        Args:
            probe: Where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(majority: int, budget: float) -> Solve:
            title = f"{majority} of {self.num_classes} majority, E = {budget:g}"
            settings = {"majority": majority, "budget": budget, "curve": title}
            settings["threshold"] = self.threshold(majority, budget)
            return Solve(_arm(majority, budget), partial(self._looks, majority, budget), title, settings)

        return solved(probe, [case(*curve) for curve in self._curves()], metrics=_METRICS)

    def _looks(self, majority: int, budget: float) -> Iterator[Look]:
        ratios = [self.largest_ratio ** (at / (self.points - 1)) for at in range(self.points)]
        optima = {ratio: self._optimum(majority, budget, ratio) for ratio in ratios}
        for apart, merged in pairwise(ratios):
            if not _merged(optima[apart]) and _merged(optima[merged]):
                optima |= self._narrowed(majority, budget, (apart, merged))
                break
        for step, ratio in enumerate(sorted(optima)):
            yield _look(optima[ratio], ratio, step)

    def _narrowed(self, majority: int, budget: float, ends: tuple[float, float]) -> dict[float, LayerPeeled]:
        """The optima closest to where class vectors fall together: the last before, the first after."""
        (apart, merged), found = ends, {}
        while merged > apart * (1 + NARROW):
            between = math.sqrt(apart * merged)
            found[between] = self._optimum(majority, budget, between)
            apart, merged = (apart, between) if _merged(found[between]) else (between, merged)
        return {ratio: found[ratio] for ratio in (apart, merged) if ratio in found}

    def _optimum(self, majority: int, budget: float, ratio: float) -> LayerPeeled:
        k, minority = self.num_classes, self.num_classes - majority
        weights = (1.0,) * majority + (1 / ratio,) * minority
        return LayerPeeled((1,) * k, k, budget_features=budget, class_weights=weights)

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether every curve jumps at its threshold, and the thresholds are ordered as claimed.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        figures: dict[str, float | int | str | None] = {}
        jumps: dict[tuple[int, float], float] = {}
        beyond, rising = [], True
        for curve in self._curves():
            rows = sorted((row for row in observations if row.arm == _arm(*curve)), key=lambda row: row.step)
            found = [row.result.measurements[COSINE.name].value for row in rows]
            cosines = [cosine for cosine in found if cosine is not None]
            rising &= all(after >= before - _ROUNDING for before, after in pairwise(cosines))
            figures[f"threshold_{_arm(*curve)}"] = self.threshold(*curve)
            jump = figures[f"jump_{_arm(*curve)}"] = _jump(rows)
            figures[f"vanished_{_arm(*curve)}"] = _vanished(rows)
            if jump is None:
                beyond.append(curve)
            else:
                jumps[curve] = jump
        off = max((abs(jump / self.threshold(*curve) - 1) for curve, jump in jumps.items()), default=None)
        figures["largest_relative_difference"] = off
        missed = [curve for curve in beyond if self.threshold(*curve) <= self.largest_ratio]
        if beyond and not missed:
            unseen = ", ".join(f"{majority} of {self.num_classes} at budget {budget:g}" for majority, budget in beyond)
            statement = f"The curves end before the threshold of {unseen}."
            return Verdict(state="inconclusive", statement=statement, figures=figures)
        ordered = self._ordered(jumps)
        at = f"within {off:.1e} of R0" if off is not None else "nowhere"
        statement = (
            f"Over {len(self._curves())} curves the class vectors fell together {at}, and the cosine"
            f" {'rose up to there' if rising else 'did not rise throughout'}; R0 is {self._table()}."
        )
        if not ordered:
            statement += " It is not ordered as claimed."
        holds = not missed and rising and ordered and off is not None and off <= OFF
        return Verdict(state="holds" if holds else "fails", statement=statement, figures=figures)

    def _ordered(self, jumps: dict[tuple[int, float], float]) -> bool:
        """Whether jumps fall with the majority and rise with the budget, as far as there are any."""
        falls = all(
            jumps[a, budget] > jumps[b, budget]
            for budget in self.budgets
            for a, b in pairwise(self.majorities)
            if {(a, budget), (b, budget)} <= jumps.keys()
        )
        rises = all(
            jumps[majority, a] < jumps[majority, b]
            for majority in self.majorities
            for a, b in pairwise(self.budgets)
            if {(majority, a), (majority, b)} <= jumps.keys()
        )
        return falls and rises

    def _table(self) -> str:
        rows = [
            f"{', '.join(f'{self.threshold(majority, budget):.4g}' for budget in self.budgets)}"
            f" for {majority} majority classes of {self.num_classes}"
            for majority in self.majorities
        ]
        return f"{'; '.join(rows)} (budgets {', '.join(f'{budget:g}' for budget in self.budgets)})"

    @classmethod
    def smoke(cls) -> "MinorityThreshold":
        """A run of seconds: two splits, two budgets, few points.

        Returns:
            Its configuration.
        """
        return cls(majorities=(2, 3), budgets=(1.0, 3.0), num_classes=6, largest_ratio=1e3, points=7)


@lru_cache(maxsize=64)
def _threshold(majority: int, minority: int, budget: float) -> float:
    return minority_collapse_threshold(majority, minority, budget)


def _arm(majority: int, budget: float) -> str:
    return f"majority{majority}-budget{budget:g}"


def _merged(optimum: LayerPeeled) -> bool:
    """Whether the minority, the last group, has one class vector."""
    return len(optimum.groups.sizes) - 1 in optimum.merged_groups


def _look(optimum: LayerPeeled, ratio: float, step: int) -> Look:
    state, k = optimum.minimiser(), len(optimum.counts)
    return Look(
        step=step,
        features=LabelledFeatures(state["h"], optimum.labels, k),
        head=LinearHead(state["weight"]),
        loss=optimum.minimum,
        extra=_extras(optimum, ratio),
    )


def _extras(optimum: LayerPeeled, ratio: float) -> list[Extra]:
    gram = optimum.geometry().weights
    own, other = gram.own[-1], gram.between[-1][-1]
    apart = 0.0 if _merged(optimum) else math.sqrt(max(0.0, 2 * (own - other)) / max(gram.own))
    cosine: float | str = max(-1.0, min(1.0, other / own)) if own > 0 else "the class vectors are zero"
    return [(RATIO, ratio), (COSINE, cosine), (DISTANCE, apart)]


def _jump(rows: Sequence[Observation]) -> float | None:
    """Middle of the two ratios between which class vectors have fallen together for good; None where they have not."""
    ratios = [row.result[RATIO.name] for row in rows]
    apart = [at for at, row in enumerate(rows) if row.result[DISTANCE.name] > 0]
    if not apart or apart[-1] + 1 == len(rows):
        return None
    return math.sqrt(ratios[apart[-1]] * ratios[apart[-1] + 1])


def _vanished(rows: Sequence[Observation]) -> float | None:
    """Smallest ratio that was tried at which the minority has no class vector; None where it always has one."""
    gone = (row for row in rows if row.result.measurements[COSINE.name].value is None)
    return min((row.result[RATIO.name] for row in gone), default=None)
