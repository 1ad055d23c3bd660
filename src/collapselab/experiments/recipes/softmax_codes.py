"""More classes than a simplex has room for: what cross-entropy on the sphere arranges as the temperature falls."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from collapselab.core import checks
from collapselab.core.errors import InputError, NotKnown
from collapselab.core.random import generators
from collapselab.evidence import LabelledFeatures, LinearHead
from collapselab.experiments._spec import experiment
from collapselab.experiments.events import Event
from collapselab.experiments.extra import declared
from collapselab.experiments.probe import Probe
from collapselab.experiments.solving import Look, Solve, solved
from collapselab.experiments.verdicts import last_row
from collapselab.geometry import code_distance, smallest_one_versus_rest, softmax_code
from collapselab.records.schema import Against, Observation, Reference, Verdict
from collapselab.theory import descend_on_sphere

# How far the distance from the hull of the rest may stay below that of the code at the lowest temperature.
SHORT = 0.02

# Distances of the same arrangement, and logarithms of its loss, from descents that end by rounding.
_SAME = 1e-6

_METRICS = (
    "generalised_nc2",
    "generalised_nc3",
    "nc2_equiangularity_weights",
    "nc2_max_angle_weights",
    "etf_error_weights",
    "minimum_distance",
    "accuracy",
)

_extra = partial(declared, source="jiang2023", family="softmax_code", at_collapse=1.0)
OF_CODE = _extra(
    "part_of_softmax_code",
    "GNC2 over that of the softmax code",
    "Smallest distance of a class vector from the hull of the rest, as a part of what the best code known has.",
    symbol=r"\rho(W)/\rho^*",
)
SHARE = _extra(
    "share_of_starts",
    "share of starts that end lowest",
    "Share of the random starts whose descents end at the lowest loss found.",
    symbol=r"\#\{s:L_s=\min L\}/\#s",
)


@experiment(
    source="jiang2023",
    claim=(
        "The minimisers of cross-entropy on the sphere tend to softmax codes as the temperature falls: over shapes, the"
        " largest shortfall of their distance from the hull of the rest grows at no step of the temperature, and is at"
        " most 2 % at the last."
    ),
    title="Softmax codes",
    notes=(
        "A minimiser is the lowest end of descents from a few random starts, and a softmax code the best that is known"
        " or was found: neither is proven.",
        "At a positive temperature the minimiser need not be the code, and the shortfall of one shape alone need not"
        " fall: 7 classes in 3 dimensions are nearer their code at a temperature of 1 than at 0.3, where they are a"
        " pentagonal bipyramid; 7 in 4 are one of their codes at 1, and lower beside it at 0.1; 10 in 4 are two"
        " pentagons above 0.27, and their code below.",
    ),
    chart=Against(
        metric=OF_CODE.name,
        over="temperature",
        by="shape",
        log_x=True,
        references=(
            Reference(value=1.0, label="softmax code"),
            Reference(value=1 - SHORT, label="claimed at the last"),
        ),
        title="GNC2 over that of the softmax code",
        words={"temperature": "temperature"},
    ),
)
@dataclass(frozen=True)
class SoftmaxCodes:
    """Minimise cross-entropy of unit features and unit class vectors, one of each a class, at several temperatures.

    Attributes:
        shapes: Classes x features.
        temperatures: What inner products are divided by, descending.
        starts: Random starts of each shape and temperature.
        seed: Where all randomness comes from.
    """

    shapes: tuple[str, ...] = ("6x3", "7x3", "10x3", "12x3", "7x4", "10x4", "16x5")
    temperatures: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01)
    starts: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.starts, "starts", at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        if not isinstance(self.shapes, tuple) or not self.shapes or len(set(self.shapes)) < len(self.shapes):
            raise InputError(f"shapes must be different ones, at least one, got {self.shapes!r}")
        for shape in self.shapes:
            _sizes(shape)
        if not isinstance(self.temperatures, tuple) or len(self.temperatures) < 2:
            raise InputError(f"temperatures must be two or more, got {self.temperatures!r}")
        for temperature in self.temperatures:
            checks.real(temperature, "every entry of temperatures", above=0)
        if any(after >= before for before, after in itertools.pairwise(self.temperatures)):
            raise InputError(f"temperatures must descend, got {self.temperatures!r}")

    @property
    def epochs(self) -> int:
        """Searches."""
        return len(self.shapes) * len(self.temperatures)

    def run(self, probe: Probe) -> Iterator[Event]:
        """Search at every temperature.

        Args:
            probe: Where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(shape: str, temperature: float) -> Solve:
            settings = {"shape": shape, "temperature": temperature}
            title = f"{shape} at a temperature of {temperature:g}"
            return Solve(_arm(shape, temperature), lambda: [self._look(shape, temperature)], title, settings)

        cases = [case(shape, temperature) for shape in self.shapes for temperature in self.temperatures]
        return solved(probe, cases, metrics=_METRICS)

    def _look(self, shape: str, temperature: float) -> Look:
        k, d = _sizes(shape)
        draws = generators(self.seed, *(f"start {at}" for at in range(self.starts)))
        ends = [descend_on_sphere(k, d, temperature, draw) for draw in draws]
        best = min(ends, key=lambda end: end.stats["log_loss"])
        lowest = best.stats["log_loss"]
        share = sum(end.stats["log_loss"] <= lowest + _SAME for end in ends) / len(ends)
        rows = best.end["weight"]
        return Look(
            step=int(best.stats["steps"]),
            # Twice: of classes with one sample a run says that they have no spread, and here none is measured.
            features=LabelledFeatures.of(best.end["h"].repeat(2, 1), [*range(k), *range(k)]),
            head=LinearHead(rows / temperature),
            loss=math.exp(lowest),
            extra=[(OF_CODE, float(smallest_one_versus_rest(rows)) / best_distance(k, d)), (SHARE, share)],
        )

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether the largest shortfall grows at no step of the temperature, and ends at 2 % at most.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """

        def rows(temperature: float) -> list[Observation]:
            return [last_row(observations, split="train", arm=_arm(shape, temperature)) for shape in self.shapes]

        ends = {at: rows(at) for at in self.temperatures}
        shortfalls = [max(1 - row.result[OF_CODE.name] for row in ends[at]) for at in self.temperatures]
        steady = sum(self._steady(observations, shape) for shape in self.shapes)
        figures: dict[str, float | int | str | None] = {
            f"largest_shortfall_at_{at:g}": short for at, short in zip(self.temperatures, shortfalls, strict=True)
        }
        for shape, row in zip(self.shapes, ends[self.temperatures[-1]], strict=True):
            figures[f"shortfall_{shape}_at_the_last"] = 1 - row.result[OF_CODE.name]
        figures["smallest_share_of_starts"] = min(row.result[SHARE.name] for own in ends.values() for row in own)
        figures["shapes_that_come_no_farther_at_any_step"] = steady
        falls = all(after <= before + _SAME for before, after in itertools.pairwise(shortfalls))
        statement = (
            f"The largest shortfall is {', '.join(f'{short:.2%}' for short in shortfalls)} at temperatures of"
            f" {', '.join(f'{at:g}' for at in self.temperatures)}; {steady} of {len(self.shapes)} shapes come no"
            " farther from their code at any step."
        )
        holds = falls and shortfalls[-1] <= SHORT
        return Verdict(state="holds" if holds else "fails", statement=statement, figures=figures)

    def _steady(self, observations: Sequence[Observation], shape: str) -> bool:
        """Whether a shape comes no farther from its code at any step."""
        ends = [last_row(observations, split="train", arm=_arm(shape, at)) for at in self.temperatures]
        parts = [row.result[OF_CODE.name] for row in ends]
        return all(after >= before - _SAME for before, after in itertools.pairwise(parts))

    @classmethod
    def smoke(cls) -> "SoftmaxCodes":
        """A run of seconds: one shape that is always its code, and one that changes.

        Returns:
            Its configuration.
        """
        return cls(shapes=("6x3", "10x4"), temperatures=(0.4, 0.02), starts=2)


@lru_cache(maxsize=64)
def best_distance(num_classes: int, num_features: int) -> float:
    """One-versus-rest distance of the softmax code, known or searched for.

    Args:
        num_classes: K.
        num_features: d.

    Returns:
        The distance.
    """
    try:
        return code_distance(num_classes, num_features)
    except NotKnown:
        return float(smallest_one_versus_rest(softmax_code(num_classes, num_features)))


def _sizes(shape: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", shape) if isinstance(shape, str) else None
    if found is None:
        raise InputError(f"every entry of shapes must be classes x features such as '7x3', got {shape!r}")
    k, d = int(found[1]), int(found[2])
    checks.whole(d, "features in shapes", at_least=2)
    if k <= d + 1:
        raise InputError(f"classes in shapes must be above features plus 1, got {shape!r}: that is a simplex")
    return k, d


def _arm(shape: str, temperature: float) -> str:
    return f"{shape}-t{temperature:g}"
