"""Collapse with one more layer before the head: up to where it is found, and up to where it is worth it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.core.random import generators
from collapselab.evidence import LinearHead
from collapselab.experiments._spec import experiment
from collapselab.experiments.events import Event
from collapselab.experiments.extra import Extra, declared
from collapselab.experiments.probe import Probe
from collapselab.experiments.solving import Look, Solve, solved
from collapselab.records.schema import Against, Declaration, Observation, Reference, Verdict
from collapselab.theory import Problem, State, existence_threshold, globality_threshold, minimise
from collapselab.theory.extended import ExtendedLinear
from collapselab.theory.extended_relu import ExtendedRelu

Kind = Literal["linear", "relu"]
KINDS: tuple[Kind, ...] = ("linear", "relu")

# Objective of zero: half the squared length of a one-hot label.
ZERO = 0.5

# Of three factors: up to where there is a solution other than zero, and up to where it is a global one.
EXISTENCE, GLOBALITY = existence_threshold(3), globality_threshold(3)

# A direction of the labels is fitted to a quarter or more, or not at all; and what of an objective is rounding.
_FITTED, _ROUNDING = 0.1, 1e-9

# Up to which cosine class means count as orthogonal.
ORTHOGONAL = 1e-3

_number = partial(declared, source="tirer2022", family="extended_model")
OBJECTIVE = _number(
    "objective",
    "fullest collapse found",
    "Objective, decay of all factors included, where a descent ended.",
    symbol="f",
    at_collapse=None,
)
STATED = _number(
    "objective_of_collapse",
    "full collapse as stated",
    "Objective that theory states for full collapse under the same decay.",
    symbol="f_K",
    at_collapse=None,
)
APART = _number(
    "objective_apart",
    "distance from the stated objective",
    "Absolute difference from the objective that theory states for solutions that fit as many directions as this one.",
    symbol="|f-f_r|",
)
DIRECTIONS = _number(
    "fitted_directions",
    "fitted directions",
    "Directions of the labels that are fitted; as many as classes at collapse.",
    symbol="r",
    at_collapse=None,
)
BEFORE = _number(
    "largest_cosine_before",
    "largest cosine before the layer",
    "Largest absolute cosine between class means before the inner layer, not centred.",
    symbol=r"\max_{k\ne l}|\cos(\bar h_k,\bar h_l)|",
)
AFTER = _number(
    "largest_cosine_after",
    "largest cosine after the layer",
    "Largest absolute cosine between class means after the inner layer, not centred.",
    symbol=r"\max_{k\ne l}|\cos(\bar g_k,\bar g_l)|",
)


class _End(NamedTuple):
    """Where a descent ended: directions fitted, objective and state."""

    fitted: int
    objective: float
    state: State


@experiment(
    source="tirer2022",
    claim=(
        "With a linear or a ReLU layer between features and head, all factors decayed, the best of several random"
        " starts ends at full collapse below the objective of zero, its class means orthogonal on both sides of a"
        " linear layer and behind a ReLU, up to K³nλ³ = 1/16; from there to 27/256 they end at solutions above zero"
        " alone, and beyond at zero."
    ),
    title="Collapse through one more layer",
    notes=(
        "Each arm is one strength of decay. Its rows are its random starts, ordered by how many directions of the"
        " labels they fit at their end, so that the last is the fullest collapse that was found; steps count starts.",
        "Most starts near the thresholds end at solutions that fit some directions and not others. With a linear layer"
        " these are local minimisers under any decay, as zero is, with stated objectives; with a ReLU there are more.",
        "With a ReLU, lower solutions than collapse are known near the threshold for five classes and more; for four"
        " they differ by less than a thousandth of it.",
        "A descent that ends within rounding of zero is recorded as zero, where metrics have no value.",
    ),
    chart=Against(
        metric=OBJECTIVE.name,
        beside=(STATED.name,),
        over="strength",
        by="layer",
        references=(Reference(value=ZERO, label="zero"),),
        title="objective",
        words={"strength": "K³nλ³", "linear": "linear layer", "relu": "ReLU layer"},
    ),
)
@dataclass(frozen=True)
class ExtendedCollapse:
    """Descend from random starts under decays around both thresholds, with a linear and a ReLU layer before the head.

    Attributes:
        strengths: Values of K^3 n lambda^3, the same decay lambda for features, layer and head.
        starts: Random starts of each.
        size: Entries of a start, in units of those that keep the length of features from layer to layer.
        num_classes: K.
        per_class: n.
        num_features: Features, before and after the layer.
        seed: Where all randomness comes from.
    """

    strengths: tuple[float, ...] = (0.002, 0.02, 0.04, 0.055, 0.06, 0.065, 0.075, 0.09, 0.1, 0.104, 0.107, 0.12)
    starts: int = 12
    size: float = 3.0
    num_classes: int = 4
    per_class: int = 3
    num_features: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.starts, "starts", at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        checks.real(self.size, "size", above=0)
        if not isinstance(self.strengths, tuple) or list(self.strengths) != sorted(set(self.strengths)):
            raise InputError(f"strengths must be different numbers in ascending order, got {self.strengths!r}")
        for strength in self.strengths:
            checks.real(strength, "every entry of strengths", above=0)
            self._landscape("relu", strength)
        places = {_regime(strength) for strength in self.strengths}
        if len(places) < 3:
            raise InputError(f"strengths must lie below 1/16, beyond it and beyond 27/256, got {self.strengths!r}")

    @property
    def epochs(self) -> int:
        """Arms: kinds of layers times strengths."""
        return len(KINDS) * len(self.strengths)

    def _landscape(self, kind: Kind, strength: float) -> ExtendedLinear | ExtendedRelu:
        decay = (strength / (self.num_classes**3 * self.per_class)) ** (1 / 3)
        sizes = (self.num_classes, self.per_class, self.num_features)
        problem = Problem.balanced(*sizes, decay_head=decay, decay_features=decay)
        return ExtendedLinear(problem, (decay,)) if kind == "linear" else ExtendedRelu(problem, decay)

    def run(self, probe: Probe) -> Iterator[Event]:
        """Descend from all starts of every arm.

        Args:
            probe: Where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(kind: Kind, strength: float) -> Solve:
            title = f"{'ReLU' if kind == 'relu' else kind} layer, K³nλ³ = {strength:g}"
            settings = {"layer": kind, "strength": strength}
            return Solve(_arm(kind, strength), lambda: self._looks(kind, strength), title, settings)

        cases = [case(kind, strength) for kind in KINDS for strength in self.strengths]
        names = ("nc1_pinv", "within_fraction", "nc2_equinorm_means", "etf_error", "accuracy")
        return solved(probe, cases, metrics=names)

    def _looks(self, kind: Kind, strength: float) -> Iterator[Look]:
        landscape = self._landscape(kind, strength)
        ends = [self._end(landscape, draw) for draw in generators(self.seed, *map(str, range(self.starts)))]
        for place, end in enumerate(sorted(ends, key=lambda end: (end.fitted, -end.objective))):
            yield Look(
                step=place + 1,
                features=landscape.features(end.state),
                head=LinearHead(end.state["weight"]),
                loss=end.objective,
                extra=_numbers(landscape, end),
            )

    def _end(self, landscape: ExtendedLinear | ExtendedRelu, draw: torch.Generator) -> _End:
        start = {name: self.size * entry for name, entry in landscape.draw(draw).items()}
        found = minimise(landscape, start)
        state, objective = found.end, found.stats["loss"]
        sizes = torch.linalg.svdvals(landscape.hidden(state) @ state["weight"].T) / math.sqrt(self.per_class)
        fitted = int((sizes > _FITTED).sum())
        if fitted == 0 and abs(objective - ZERO) < _ROUNDING:
            state, objective = {name: torch.zeros_like(entry) for name, entry in state.items()}, ZERO
        return _End(fitted, objective, state)

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether full collapse is found and lies below zero, above it and nowhere, in the three ranges of decay.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on; ``inconclusive`` where nothing speaks against the claim
            but the starts did not find what there is.
        """
        arms: dict[tuple[Kind, float], list[Observation]] = {
            (kind, q): [row for row in observations if row.arm == _arm(kind, q)]
            for kind in KINDS
            for q in self.strengths
        }
        figures = self._figures(arms)
        wrong: list[str] = []
        missed: list[str] = []
        for (kind, q), rows in arms.items():
            full = self._full(rows)
            wrong += [f"{_arm(kind, q)}: {why}" for why in _against(kind, q, rows, full)]
            if _regime(q) == "collapse" and not full:
                missed.append(_arm(kind, q))
            if _regime(q) == "above" and all(_of(row, DIRECTIONS) == 0 for row in rows):
                missed.append(_arm(kind, q))
        if wrong:
            return Verdict(state="fails", statement=f"Not as claimed: {'; '.join(wrong)}.", figures=figures)
        if missed:
            statement = f"No start found what the claim speaks of: {', '.join(missed)}."
            return Verdict(state="inconclusive", statement=statement, figures=figures)
        below, above = (max(q for q in self.strengths if _regime(q) == name) for name in ("collapse", "above"))
        statement = (
            f"Full collapse below zero was found up to {below:g}, solutions above zero alone up to {above:g}, and zero"
            " alone beyond; with the linear layer objectives are within"
            f" {figures['largest_distance_linear']:.1g} of the stated ones."
        )
        return Verdict(state="holds", statement=statement, figures=figures)

    def _full(self, rows: Sequence[Observation]) -> list[Observation]:
        return [row for row in rows if _of(row, DIRECTIONS) == self.num_classes]

    def _figures(self, arms: dict[tuple[Kind, float], list[Observation]]) -> dict[str, float | int | str | None]:
        """What each kind of layer found, over all strengths."""
        figures: dict[str, float | int | str | None] = {}
        for kind in KINDS:
            own = {q: rows for (of, q), rows in arms.items() if of == kind}
            ends = [(q, row) for q, rows in own.items() for row in rows]
            solutions = [(q, row) for q, row in ends if _of(row, DIRECTIONS) > 0]
            above = [_of(row, OBJECTIVE) for q, row in solutions if _regime(q) == "above"]
            weak = [bool(_of(row, DIRECTIONS) == self.num_classes) for q, row in ends if _regime(q) == "collapse"]
            figures |= {
                f"full_collapse_up_to_{kind}": max((q for q in own if self._full(own[q])), default=None),
                f"solutions_beside_zero_up_to_{kind}": max((q for q, _ in solutions), default=None),
                f"lowest_solution_from_one_sixteenth_{kind}": min(above, default=None),
                f"share_of_full_collapse_to_one_sixteenth_{kind}": sum(weak) / len(weak),
                f"largest_distance_{kind}": max(_of(row, APART) for _, row in ends),
            }
        return figures

    @classmethod
    def smoke(cls) -> "ExtendedCollapse":
        """A run of seconds: a strength in each range, few classes.

        Returns:
            Its configuration.
        """
        return cls(strengths=(0.02, 0.08, 0.12), starts=6, num_classes=3, per_class=2, num_features=5)


def _regime(strength: float) -> str:
    """Where full collapse is the lowest, where solutions lie above zero, and where there are none."""
    if strength <= GLOBALITY:
        return "collapse"
    return "above" if strength <= EXISTENCE else "zero"


def _arm(kind: Kind, strength: float) -> str:
    return f"{kind}-{strength:g}"


def _of(row: Observation, number: Declaration) -> float:
    return row.result[number.name]


def _order(row: Observation) -> tuple[float, float]:
    """Fuller collapse first, then the lower one."""
    return _of(row, DIRECTIONS), -_of(row, OBJECTIVE)


def _against(kind: Kind, strength: float, rows: Sequence[Observation], full: Sequence[Observation]) -> list[str]:
    """What speaks against the claim in one arm."""
    found, regime = [row for row in rows if _of(row, DIRECTIONS) > 0], _regime(strength)
    objectives = [_of(row, OBJECTIVE) for row in found]
    if regime == "zero":
        return [f"{len(found)} starts ended at something other than zero"] if found else []
    if regime == "above":
        return [f"a solution lies below zero, at {min(objectives):.6g}"] if found and min(objectives) < ZERO else []
    if not full:
        return []
    best = max(full, key=_order)
    why = [] if _of(best, OBJECTIVE) < ZERO else [f"full collapse lies above zero, at {_of(best, OBJECTIVE):.6g}"]
    measured = (BEFORE, AFTER) if kind == "linear" else (AFTER,)
    why += [f"{one.label} is {_of(best, one):.3g}" for one in measured if _of(best, one) > ORTHOGONAL]
    return why


def _numbers(landscape: ExtendedLinear | ExtendedRelu, end: _End) -> list[Extra]:
    labels, directions = landscape.labels, landscape.directions
    full = len(directions.counts)
    stated = directions.value(full) if directions.existing == full else "there is no collapse under so strong a decay"
    return [
        (OBJECTIVE, end.objective),
        (STATED, stated),
        (APART, abs(end.objective - directions.value(end.fitted))),
        (DIRECTIONS, float(end.fitted)),
        (BEFORE, _cosine(end.state["h"], labels)),
        (AFTER, _cosine(landscape.hidden(end.state), labels)),
    ]


def _cosine(h: Tensor, labels: Tensor) -> float | str:
    """Largest absolute cosine between class means."""
    means = torch.stack([h[labels == k].mean(0) for k in range(int(labels.max()) + 1)])
    if float(means.norm(dim=1).min()) == 0:
        return "the mean of a class is zero"
    unit = normalize(means, dim=1)
    return float((unit @ unit.T).fill_diagonal_(0).abs().max())
