"""Geometry of unequal classes as decay falls: simplex-encoded labels against free features and a network."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import data_of, sgd_plan, training_of
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event
from collapselab.experiments.extra import Extra, declared
from collapselab.experiments.probe import Case, Probe
from collapselab.experiments.uneven import step_profile, uneven_digits
from collapselab.experiments.verdicts import last_row, mean_and_half_width
from collapselab.metrics import Evidence
from collapselab.records.schema import Against, Observation, Verdict
from collapselab.theory import Problem, seli_geometry
from collapselab.theory.imbalanced_cross_entropy import ImbalancedCrossEntropy
from collapselab.training import Training
from collapselab.training.data.digits import Digits
from collapselab.training.data.one_hot import OneHot
from collapselab.training.heads.learnable import Learnable
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.networks.mlp import MLP
from collapselab.training.networks.unconstrained_features import UnconstrainedFeatures
from collapselab.training.optimisers.lbfgs import LBFGS
from collapselab.training.plan import Plan
from collapselab.training.schedules.constant import Constant

FREE, LONG, SHORT = "free", "long", "short"
TITLES = {FREE: "free features", LONG: "network, time over decay", SHORT: "network, equal times"}

# How far the distances of free features may end from those of the exact optimum.
EXACT = 1e-3

_distance = partial(declared, source="thrampoulidis2022", family="imbalance", at_collapse=None, upper=2.0)
WEIGHTS = _distance(
    "seli_distance_weights",
    "weights, from simplex-encoded labels",
    "Distance of the inner products of class vectors, of unit norm as a matrix, from those that belong to"
    " simplex-encoded labels.",
    symbol=r"\lVert WW^\top/\lVert\cdot\rVert_F-V\Lambda V^\top/\lVert\cdot\rVert_F\rVert_F",
)
MEANS = _distance(
    "seli_distance_means",
    "means, from simplex-encoded labels",
    "Distance of the inner products of centred class means, of unit norm as a matrix, from those that belong to"
    " simplex-encoded labels.",
    symbol=r"\lVert MM^\top/\lVert\cdot\rVert_F-M_*M_*^\top/\lVert\cdot\rVert_F\rVert_F",
)
STATED = _distance(
    "seli_distance_predicted",
    "weights at the stated optimum, from simplex-encoded labels",
    "The distance of class vectors from simplex-encoded labels at the optimum of free features with this decay of the"
    " head, and that of features for which the measured norms are in balance.",
    symbol=r"\lVert W_*W_*^\top/\lVert\cdot\rVert_F-V\Lambda V^\top/\lVert\cdot\rVert_F\rVert_F",
)

# Keys of the distances from simplex-encoded labels and from a simplex, of class vectors and of class means.
PAIRS = {"weights": (WEIGHTS.name, "etf_error_weights"), "means": (MEANS.name, "etf_error")}


@experiment(
    source="thrampoulidis2022",
    claim=(
        "As decay falls the geometry of unequal classes comes ever closer to simplex-encoded labels, and ends nearer to"
        " them than to a simplex ETF: class vectors and class means alike, of free features at their optimum and of a"
        " network that is trained for a time inverse to its decay."
    ),
    title="Geometry of unequal classes",
    notes=(
        "Free features are trained to their optimum by L-BFGS in float64; there are no test samples, and rows of the"
        " test split repeat the training split. The network has features of either sign. No head has a bias.",
        "A network whose training is no longer at small decay than at large is drawn beside: where decay has not had"
        " the time to act, class vectors keep what they were initialised with.",
    ),
    chart=Against(
        metric=WEIGHTS.name,
        beside=("etf_error_weights",),
        over="decay",
        by="model",
        log_x=True,
        title="distance of inner products of class vectors",
        words={"decay": "weight decay", **TITLES},
    ),
)
@dataclass(frozen=True)
class ImbalancedGeometry:
    """Train free features and a network on unequal classes under ever smaller decay.

    Attributes:
        ratio: Imbalance ratio R: the first half of the classes are R times as large as the others.
        free_decays: Decays of weights and features, each the coefficient of one half of a squared norm.
        decays: Weight decays of the network.
        time: Epochs times decay of the network's long trainings; all short ones take as many epochs as the long one
            with the largest decay.
        seeds: Trainings of the network at each decay; free features need one.
        samples_per_class: Training samples of each large class, digits for the network.
        free_steps: Steps of L-BFGS.
        widths: Units of the network's hidden layers; the last is the number of features.
        batch_size: Samples in a step of the network's SGD.
        learning_rate: Its learning rate before any cut.
        seed: Where all randomness comes from: the first seed.
    """

    ratio: float = 10.0
    free_decays: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    decays: tuple[float, ...] = (2e-2, 1e-2, 5e-3, 2.5e-3)
    time: float = 2.0
    seeds: int = 3
    samples_per_class: int = 100
    free_steps: int = 300
    widths: tuple[int, ...] = (256, 256, 64)
    batch_size: int = 64
    learning_rate: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("seeds", "free_steps"):
            checks.whole(getattr(self, name), name, at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        checks.real(self.ratio, "ratio", above=1)
        checks.real(self.time, "time", above=0)
        for name in ("free_decays", "decays"):
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) < 2 or list(values) != sorted(set(values), reverse=True):
                raise InputError(f"{name} must be two different numbers or more in descending order, got {values!r}")
            for value in values:
                checks.real(value, f"every entry of {name}", above=0)
        MLP(widths=self.widths)
        self._plan(LONG, self.decays[0]).batches(sum(self._counts))

    @property
    def epochs(self) -> int:
        """Epochs of all arms together."""
        return sum(self._plan(model, decay).epochs for model, decay, _ in self._arms())

    @property
    def _counts(self) -> tuple[int, ...]:
        return step_profile(self.ratio).counts(self.samples_per_class, Digits.num_classes)

    def _decays(self, model: str) -> tuple[float, ...]:
        return self.free_decays if model == FREE else self.decays

    def _seeds(self, model: str) -> range:
        return range(self.seed, self.seed + (1 if model == FREE else self.seeds))

    def _arms(self) -> list[tuple[str, float, int]]:
        """Model, decay and seed of each arm."""
        return [
            (model, decay, seed) for model in TITLES for decay in self._decays(model) for seed in self._seeds(model)
        ]

    def _plan(self, model: str, decay: float) -> Plan:
        if model == FREE:
            return Plan(
                epochs=self.free_steps,
                batch_size=sum(self._counts),
                drop_last=False,
                loss=CrossEntropy(),
                optimiser=LBFGS(weight_decay=decay),
                schedule=Constant(),
                precision="float64",
            )
        return sgd_plan(
            epochs=max(1, round(self.time / (decay if model == LONG else self.decays[0]))),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=decay,
        )

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train every arm.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(model: str, decay: float, seed: int) -> Case:
            plan = self._plan(model, decay)
            title = f"{TITLES[model]}, decay {decay:g}" + ("" if model == FREE else f", seed {seed}")
            settings: dict[str, Any] = {"model": model, "decay": decay, "seed": seed}
            make = partial(self._training, plan, model, seed, probe)
            return Case(_arm(model, decay, seed), make, plan.epochs, title, settings, partial(_extras, decay))

        most = max(self._plan(*arm[:2]).epochs for arm in self._arms())
        return probe.arms([case(*arm) for arm in self._arms()], at=(0, *log_spaced(most, 4)))

    def _training(self, plan: Plan, model: str, seed: int, probe: Probe) -> Training:
        if model == FREE:
            imbalance = step_profile(self.ratio)
            data = data_of(OneHot(Digits.num_classes, self.samples_per_class), seed=seed, imbalance=imbalance)
            network = UnconstrainedFeatures(num_features=Digits.num_classes)
        else:
            data = uneven_digits(self.ratio, samples_per_class=self.samples_per_class, seed=seed)
            network = MLP(widths=self.widths, last_activation=False)
        return training_of(network, data, plan, seed=seed, probe=probe, head=Learnable(bias=False))

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether the distances fall with decay, and end below those to a simplex.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        figures: dict[str, float | int | str | None] = {}
        try:
            ends = {
                (model, decay, name): self._ends(observations, model, decay, name)
                for model in TITLES
                for decay in self._decays(model)
                for name in (*(name for pair in PAIRS.values() for name in pair), STATED.name)
            }
        except UndefinedMetric as undefined:
            return Verdict(state="inconclusive", statement=f"A distance has no value: {undefined}.", figures=figures)
        means = {key: sum(values) / len(values) for key, values in ends.items()}
        figures |= {f"{name}_{model}_{decay:g}": value for (model, decay, name), value in means.items()}
        inexact = max(
            abs(means[FREE, decay, WEIGHTS.name] - means[FREE, decay, STATED.name]) for decay in self.free_decays
        )
        figures["free_features_from_their_optimum"] = inexact
        if inexact > EXACT:
            statement = f"Free features were not trained to their optimum: a distance ended {inexact:.1e} from its own."
            return Verdict(state="inconclusive", statement=statement, figures=figures)
        sure = True
        for seli, _ in PAIRS.values():
            if self.seeds > 1:
                first, last = (ends[LONG, decay, seli] for decay in (self.decays[0], self.decays[-1]))
                mean, half = mean_and_half_width([a - b for a, b in zip(first, last, strict=True)])
                figures |= {f"{seli}_fall": mean, f"half_width_{seli}_fall": half}
                sure &= abs(mean) > half
        failing = [
            f"{TITLES[model]}, {of}"
            for model in (FREE, LONG)
            for of, pair in PAIRS.items()
            if not self._as_claimed(means, model, pair)
        ]
        state = "fails" if failing else "holds" if sure and self.seeds > 1 else "inconclusive"
        return Verdict(state=state, statement=self._told(means, failing), figures=figures)

    def _ends(self, observations: Sequence[Observation], model: str, decay: float, name: str) -> list[float]:
        """Last values of a number, one a seed."""
        return [
            last_row(observations, split="train", arm=_arm(model, decay, seed)).result[name]
            for seed in self._seeds(model)
        ]

    def _as_claimed(self, means: Mapping[tuple[str, float, str], float], model: str, pair: tuple[str, str]) -> bool:
        seli, etf = ([means[model, decay, name] for decay in self._decays(model)] for name in pair)
        return seli[-1] < etf[-1] and all(after < before for before, after in pairwise(seli))

    def _told(self, means: Mapping[tuple[str, float, str], float], failing: Sequence[str]) -> str:
        def course(model: str, of: str) -> str:
            seli, etf = PAIRS[of]
            decays = self._decays(model)
            along = ", ".join(f"{means[model, decay, seli]:.3f}" for decay in decays)
            return f"{of} {along} (from a simplex {means[model, decays[-1], etf]:.3f} at last)"

        said = "; ".join(f"{TITLES[model]}: {course(model, 'weights')}, {course(model, 'means')}" for model in TITLES)
        wrong = f" Not as claimed: {'; '.join(failing)}." if failing else ""
        return f"Distance from simplex-encoded labels as decay falls, {said}.{wrong}"

    @classmethod
    def smoke(cls) -> "ImbalancedGeometry":
        """A run of seconds: two decays each, one seed, a small network.

        Returns:
            Its configuration.
        """
        return cls(
            free_decays=(1e-2, 1e-3),
            decays=(2e-2, 1e-2),
            time=0.2,
            seeds=1,
            samples_per_class=20,
            free_steps=100,
            widths=(32, 16),
            batch_size=22,
        )


def _extras(decay: float, evidence: Evidence, split: str) -> Iterable[Extra]:
    """Distances on the training split, whose numbers of samples are those of training."""
    head, stats = evidence.head64, evidence.stats
    if split != "train" or head is None:
        return []
    counts = tuple(stats.counts.tolist())
    wanted = seli_geometry(counts)
    weight, means = head.weight.detach(), stats.means.double()
    found = weight @ weight.T
    centred = means - means.mean(0)
    try:
        stated: float | str = _apart(_optimum(evidence, decay), wanted.weights.dense())
    except InputError as refused:
        stated = f"the model has no answer: {refused}"
    return [
        (WEIGHTS, _apart(found, wanted.weights.dense())),
        (MEANS, _apart(centred @ centred.T, wanted.means.centred().dense())),
        (STATED, stated),
    ]


def _optimum(evidence: Evidence, decay: float) -> Tensor:
    """Inner products of class vectors where features are free and decayed so that the measured norms are in balance."""
    stats, weight = evidence.stats, evidence.head64.weight.detach()  # pyright: ignore[reportOptionalMemberAccess]
    squares = stats.counts.double() * stats.means.double().square().sum(1) + stats.class_scatter.double()
    of_head, of_features = float(weight.square().sum()), float(squares.sum())
    if not (of_head > 0 and of_features > 0):
        raise InputError(f"features and head must not be zero, got squared norms {of_features:g} and {of_head:g}")
    counts = tuple(stats.counts.tolist())
    model = ImbalancedCrossEntropy(Problem(counts, stats.num_features, decay, decay * of_head / of_features))
    return model.geometry().weights.dense()


def _apart(found: Tensor, wanted: Tensor) -> float | str:
    """Distance of two matrices of unit norm; classes come in the order of their sizes."""
    size = torch.linalg.matrix_norm(found)
    if not size > 0:
        return "all inner products are zero"
    return float(torch.linalg.matrix_norm(found / size - wanted.to(found) / torch.linalg.matrix_norm(wanted)))


def _arm(model: str, decay: float, seed: int) -> str:
    return f"{model}-decay{decay:g}-{seed}"
