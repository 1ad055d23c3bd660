"""Batch-normalised features trained from random starts, beside their closed form and beside eq. 62 of the review."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.core.random import generators
from collapselab.experiments._spec import experiment
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event
from collapselab.experiments.extra import declared
from collapselab.experiments.probe import Probe
from collapselab.experiments.solving import Look, Solve, solved
from collapselab.experiments.verdicts import last_row
from collapselab.records.schema import Against, Observation, Verdict
from collapselab.theory import State, literal_excess, literal_solution
from collapselab.theory.batch_norm import BatchNormFeatures

TRAINED, STATED, LITERAL = "trained", "stated", "literal"
TITLES = {TRAINED: "trained by Adam", STATED: "stated minimum", LITERAL: "eq. 62 as it stands"}

# How far a trained objective may end above the minimum, as a part of it; and what counts as collapsed.
EXCESS, NOT_SIMPLEX, VARIABILITY = 1e-3, 0.02, 0.01

# What rounding may leave between the objective of eq. 62 and its stated value, as a part of it.
_ROUNDING = 1e-9

# A unit is in use if its outgoing weights are at least this part of the longest.
_IN_USE = 1e-2

_number = partial(declared, source="ergen2021", family="against_theory")
_ABOVE = _number(
    "excess_objective",
    "objective above the minimum",
    "Objective, decay included, above the minimum that theory states, as a part of it.",
    symbol=r"(f-f^*)/f^*",
)
_UNITS = _number(
    "active_units",
    "units in use",
    "Units whose outgoing weights are at least a hundredth as long as the longest.",
    symbol=r"|\{j:\lVert w_j\rVert\ge\max_i\lVert w_i\rVert/100\}|",
    at_collapse=None,
)


@experiment(
    source="ergen2021",
    claim=(
        "Batch-normalised features trained from random starts reach the stated minimum within a thousandth of it at"
        " every decay, and their centred class means form a simplex ETF; eq. 62 of the review, taken as it stands,"
        " lies above that minimum."
    ),
    title="Collapse under batch normalisation",
    notes=(
        "The objective is half the squared error, summed over samples, plus half the decay times the squared norm of"
        " weights, scales and shifts; inputs of the batch normalisation are free.",
        "Eq. 62 solves the problem with scale and shift of unit length and a penalty on the norms of outgoing weights."
        " In the decayed objective it is the same only where the decay is the root of the class size minus one.",
        "Several units can share a class: starts end with different units in use, and with the same outputs.",
        "Class vectors are orthogonal, and class means are so before they are centred: nc3_duality, which centres the"
        " means alone, ends at 2 - 2 sqrt(1 - 1/K) and not at 0.",
        "With no more units than classes, or under strong decay, starts can end with one constant unit in place of"
        " several: the landscape is not benign.",
    ),
    chart=Against(
        metric="loss",
        over="decay",
        by="solution",
        log_x=True,
        title="objective at the end",
        words={"decay": "decay β", **TITLES},
    ),
)
@dataclass(frozen=True)
class BatchNormCollapse:
    """Train free features through batch normalisation and a ReLU by Adam, and lay the end beside the closed form.

    Attributes:
        decays: Coefficients of one half of the squared norm of all parameters but the inputs.
        seeds: Random starts that are tried at every decay.
        num_classes: K.
        per_class: n; every decay must be below its root, or nothing is learnt.
        num_features: Units of the batch normalisation, at least K.
        steps: Steps of Adam, the learning rate falling to zero along a cosine.
        learning_rate: Learning rate of the first step.
        measurements: Moments at which to measure, besides the start.
        seed: Where all randomness comes from: the first of the starts.
    """

    decays: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8, 1.45, 2.0)
    seeds: int = 3
    num_classes: int = 4
    per_class: int = 6
    num_features: int = 10
    steps: int = 2000
    learning_rate: float = 0.05
    measurements: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("seeds", "steps", "measurements", "per_class"):
            checks.whole(getattr(self, name), name, at_least=1)
        checks.whole(self.num_classes, "num_classes", at_least=2)
        checks.whole(self.seed, "seed", at_least=0)
        checks.real(self.learning_rate, "learning_rate", above=0)
        if not isinstance(self.decays, tuple) or len(set(self.decays)) < len(self.decays) or not self.decays:
            raise InputError(f"decays must be different numbers, at least one, got {self.decays!r}")
        for decay in self.decays:
            checks.real(decay, "every entry of decays", above=0, below=math.sqrt(self.per_class))
            self._landscape(decay)

    @property
    def epochs(self) -> int:
        """Solutions that are looked at."""
        return len(self.decays) * (self.seeds + 2)

    def _landscape(self, decay: float) -> BatchNormFeatures:
        return BatchNormFeatures((self.per_class,) * self.num_classes, self.num_features, decay)

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train from every start at every decay, and look at both closed forms.

        Args:
            probe: Where to go on from.

        Returns:
            What happens, as it happens.
        """
        cases = []
        for decay in self.decays:
            landscape = self._landscape(decay)
            for seed in self._seeds:
                looks = partial(self._train, landscape, seed)
                cases.append(Solve(_arm(TRAINED, decay, seed), looks, *_words(TRAINED, decay, seed)))
            for kind, state in ((STATED, landscape.minimiser()), (LITERAL, literal_solution(landscape))):
                looks = partial(_still, landscape, state)
                cases.append(Solve(_arm(kind, decay), looks, *_words(kind, decay)))
        return solved(probe, cases)

    @property
    def _seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def _train(self, landscape: BatchNormFeatures, seed: int) -> Iterator[Look]:
        (draw,) = generators(seed, "start")
        state = {name: entry.requires_grad_() for name, entry in landscape.draw(draw).items()}
        optimiser = torch.optim.Adam(state.values(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        wanted = {0, *log_spaced(self.steps, self.measurements)}
        for step in range(self.steps + 1):
            if step in wanted:
                yield _look(landscape, {name: entry.detach() for name, entry in state.items()}, step)
            optimiser.zero_grad()
            landscape.loss(state).backward()
            optimiser.step()
            schedule.step()

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether all starts reached the minimum and collapsed, and eq. 62 lies where it is stated to, above them.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        trained = [
            last_row(observations, split="train", arm=_arm(TRAINED, decay, seed))
            for decay in self.decays
            for seed in self._seeds
        ]
        try:
            worst = {name: max(row.result[name] for row in trained) for name in _LIMITS}
        except UndefinedMetric as undefined:
            return Verdict(state="inconclusive", statement=f"A start has not collapsed: {undefined}.", figures={})
        units = [int(row.result[_UNITS.name]) for row in trained]
        figures: dict[str, float | int | str | None] = {f"largest_{name}": value for name, value in worst.items()}
        figures |= {"fewest_units_in_use": min(units), "most_units_in_use": max(units)}
        found, stated = self._literal(observations), [literal_excess(self._landscape(b)) for b in self.decays]
        figures |= {f"eq_62_above_at_{decay:g}": gap for decay, gap in zip(self.decays, found, strict=True)}
        relative = [gap / self._landscape(b).minimum for b, gap in zip(self.decays, found, strict=True)]
        if max(relative) <= 2 * EXCESS:
            statement = "At these decays eq. 62 lies too close to the minimum to be told from it."
            return Verdict(state="inconclusive", statement=statement, figures=figures)
        as_stated = all(abs(a - b) <= _ROUNDING * max(1.0, b) for a, b in zip(found, stated, strict=True))
        collapsed = all(worst[name] <= limit for name, limit in _LIMITS.items())
        statement = (
            f"Over {len(trained)} trainings the objective ended at most {worst[_ABOVE.name]:.1e} of the minimum above"
            f" it and the centred class means at most {worst['etf_error']:.1e} from a simplex ETF; eq. 62 as it stands"
            f" lies up to {max(relative):.2g} of the minimum above it, least at decay"
            f" {self.decays[relative.index(min(relative))]:g} ({min(relative):.1g})."
        )
        return Verdict(state="holds" if collapsed and as_stated else "fails", statement=statement, figures=figures)

    def _literal(self, observations: Sequence[Observation]) -> list[float]:
        """How far eq. 62 was found above the stated minimum at each decay."""
        rows = [last_row(observations, split="train", arm=_arm(LITERAL, decay)) for decay in self.decays]
        losses = [math.nan if row.loss is None else row.loss for row in rows]
        return [loss - self._landscape(decay).minimum for loss, decay in zip(losses, self.decays, strict=True)]

    @classmethod
    def smoke(cls) -> "BatchNormCollapse":
        """A run of seconds: two decays, one start.

        Returns:
            Its configuration.
        """
        return cls(decays=(0.4, 1.4), seeds=1, num_classes=3, per_class=4, num_features=8, steps=900, measurements=3)


_LIMITS = {_ABOVE.name: EXCESS, "etf_error": NOT_SIMPLEX, "nc1_trace_ratio": VARIABILITY}


def _arm(kind: str, decay: float, seed: int | None = None) -> str:
    return f"{kind}-beta{decay:g}" + ("" if seed is None else f"-{seed}")


def _words(kind: str, decay: float, seed: int | None = None) -> tuple[str, dict[str, Any]]:
    """Title and settings of a case."""
    settings: dict[str, Any] = {"solution": kind, "decay": decay}
    if seed is None:
        return f"{TITLES[kind]}, β = {decay:g}", settings
    return f"{TITLES[kind]}, β = {decay:g}, seed {seed}", settings | {"seed": seed}


def _still(landscape: BatchNormFeatures, state: State) -> Iterator[Look]:
    yield _look(landscape, state, 0)


def _look(landscape: BatchNormFeatures, state: State, step: int) -> Look:
    loss = float(landscape.loss(state))
    lengths = torch.linalg.vector_norm(state["weight"], dim=0)
    units = int((lengths >= _IN_USE * lengths.max()).sum())
    return Look(
        step=step,
        features=landscape.features(state),
        head=landscape.head(state),
        loss=loss,
        extra=((_ABOVE, max(0.0, loss / landscape.minimum - 1)), (_UNITS, float(units))),
    )
