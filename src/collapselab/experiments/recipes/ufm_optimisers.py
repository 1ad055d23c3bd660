"""Four optimisers on unconstrained features, and the one answer that theory states for all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from collapselab.core import checks
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import training_of
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event, Observed
from collapselab.experiments.probe import Case, Probe
from collapselab.experiments.solving import declared, with_extra
from collapselab.experiments.verdicts import last_row
from collapselab.records.schema import Course, Observation, Reference, Verdict
from collapselab.theory import REGISTRY, Problem, UnconstrainedLandscape
from collapselab.training import Training
from collapselab.training.data import Splits
from collapselab.training.data.one_hot import OneHot
from collapselab.training.losses import Loss
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.losses.mse import HalfSquaredError
from collapselab.training.networks.unconstrained_features import UnconstrainedFeatures
from collapselab.training.optimisers import Optimiser
from collapselab.training.optimisers.adam import Adam
from collapselab.training.optimisers.gradient_flow import GradientFlow
from collapselab.training.optimisers.lbfgs import LBFGS
from collapselab.training.optimisers.sgd import SGD
from collapselab.training.penalties.feature_decay import FeatureDecay
from collapselab.training.plan import Plan
from collapselab.training.schedules import Schedule
from collapselab.training.schedules.constant import Constant
from collapselab.training.schedules.step import StepSchedule

_LOSSES: dict[str, type[Loss]] = {"cross_entropy": CrossEntropy, "mse": HalfSquaredError}
_TITLES = {"sgd": "SGD", "adam": "Adam", "lbfgs": "L-BFGS", "gradient_flow": "gradient flow"}

# How far the objective may end above the minimum, as a part of it, and a metric from its predicted value.
EXCESS, APART = 1e-6, 1e-3

_EXCESS = declared(
    "excess_objective",
    "objective above the minimum",
    "Objective, decay included, above the minimum that theory states, as a part of it.",
    symbol=r"(f-f^*)/f^*",
    source="zhu2021",
    family="against_theory",
)
_FARTHEST = declared(
    "largest_deviation",
    "largest deviation from a predicted metric",
    "Largest absolute difference between a metric and the value that theory predicts for it.",
    symbol=r"\max_m|m-m^*|",
    source="zhu2021",
    family="against_theory",
)


@experiment(
    source="zhu2021",
    claim=(
        "On unconstrained features SGD, Adam, L-BFGS and gradient flow all end at the one optimum that theory states:"
        " the objective within a millionth of the minimum, every predicted metric within a thousandth."
    ),
    title="Optimisers on unconstrained features",
    notes=(
        "The network is one linear layer on one-hot inputs, trained by the same loop as any other, in float64 and on"
        " the whole set at each step.",
        "There are no test samples: rows of the test split repeat the training split.",
    ),
    chart=Course(
        metrics=(_EXCESS.name, _FARTHEST.name),
        references={
            _EXCESS.name: (Reference(value=EXCESS, label="claimed"),),
            _FARTHEST.name: (Reference(value=APART, label="claimed"),),
        },
    ),
)
@dataclass(frozen=True)
class UfmOptimisers:
    """Train unconstrained features with four optimisers, and hold the end against the stated minimum and geometry.

    Attributes:
        loss: Cross-entropy, or half the squared distance to one-hot labels.
        num_classes: Number of classes, K.
        samples_per_class: Samples of each class, n.
        num_features: Number of features, d.
        decay_head: Coefficient of one half of the squared norm of weight and bias of the head.
        decay_features: Coefficient of one half of the squared norm of all features together.
        steps: Steps of SGD and of Adam; L-BFGS takes a tenth of them, gradient flow as much time.
        measurements: Number of log-spaced steps after which to measure, besides the start.
        seed: Where the initial features come from.
    """

    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    num_classes: int = 10
    samples_per_class: int = 20
    num_features: int = 16
    decay_head: float = 5e-3
    decay_features: float = 5e-3
    steps: int = 3000
    measurements: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.one_of(self.loss, "loss", _LOSSES)
        checks.real(self.decay_head, "decay_head", above=0)
        checks.real(self.decay_features, "decay_features", above=0)
        checks.whole(self.steps, "steps", at_least=10)
        checks.whole(self.measurements, "measurements", at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        OneHot(self.num_classes, self.samples_per_class)
        self.landscape  # noqa: B018 - refuses what theory has no answer for

    @property
    def epochs(self) -> int:
        """Epochs of all arms together."""
        return sum(plan.epochs for plan in self._plans().values())

    @property
    def landscape(self) -> UnconstrainedLandscape:
        """The model whose answer is tested."""
        problem = Problem.balanced(
            self.num_classes,
            self.samples_per_class,
            self.num_features,
            decay_head=self.decay_head,
            decay_features=self.decay_features,
            bias="decay",
            decay_bias=self.decay_head,
        )
        return REGISTRY[self.loss].cls(problem)

    def _plans(self) -> dict[str, Plan]:
        decay, flow_steps = self.decay_head, max(1, self.steps // 20)
        chosen: dict[str, tuple[Optimiser, Schedule, int]] = {
            "sgd": (SGD(learning_rate=1.0, weight_decay=decay), Constant(), self.steps),
            "adam": (Adam(learning_rate=0.05, weight_decay=decay), StepSchedule((0.5, 0.8), 0.1), self.steps),
            "lbfgs": (LBFGS(weight_decay=decay), Constant(), self.steps // 10),
            "gradient_flow": (GradientFlow(learning_rate=20.0, weight_decay=decay), Constant(), flow_steps),
        }
        samples = self.num_classes * self.samples_per_class
        return {
            name: Plan(
                epochs=epochs,
                batch_size=samples,
                drop_last=False,
                loss=_LOSSES[self.loss](),
                optimiser=optimiser,
                schedule=schedule,
                penalty=FeatureDecay(samples * self.decay_features),
                decay_on="head",
                precision="float64",
            )
            for name, (optimiser, schedule, epochs) in chosen.items()
        }

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train with every optimiser, and lay each measurement beside the prediction.

        Args:
            probe: The device, and where to go on from.

        Yields:
            What happens, as it happens.
        """
        under_way: list[Training] = []
        data = OneHot(self.num_classes, self.samples_per_class).load(torch.Generator())
        cases = [self._case(name, plan, data, probe, under_way) for name, plan in self._plans().items()]
        for event in probe.arms(cases, at=(0, *log_spaced(self.steps, self.measurements))):
            yield Observed(self._beside(event.observation, under_way[0])) if isinstance(event, Observed) else event

    def _case(self, name: str, plan: Plan, data: Splits, probe: Probe, under_way: list[Training]) -> Case:
        def make() -> Training:
            network = UnconstrainedFeatures(num_features=self.num_features)
            under_way[:] = [training_of(network, data, plan, seed=self.seed, probe=probe)]
            return under_way[0]

        return Case(name, make, plan.epochs, _TITLES[name], {"optimiser": name})

    def _beside(self, row: Observation, training: Training) -> Observation:
        """The row with its distance from what theory states."""
        landscape, head = self.landscape, training.network.head
        state = {"h": training.evaluate(lambda outputs, _: outputs.features), "weight": head.weight, "bias": head.bias}
        objective = float(landscape.loss({name: entry.detach().cpu().double() for name, entry in state.items()}))
        excess = max(0.0, objective / landscape.minimum - 1)
        extra = [(_EXCESS, excess), (_FARTHEST, self._farthest(row))]
        return row.model_copy(update={"result": with_extra(row.result, extra)})

    def _farthest(self, row: Observation) -> float | str:
        found = row.result.measurements
        gaps = []
        for name, predicted in self.landscape.predicts().items():
            value = found[name].value
            if value is None:
                return f"{name}: {found[name].undefined}"
            gaps.append(abs(value - predicted))
        return max(gaps)

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether every optimiser ended at the stated optimum.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        figures: dict[str, float | int | str | None] = {"minimum": self.landscape.minimum}
        missed = []
        for name in _TITLES:
            found = last_row(observations, split="train", arm=name).result.measurements
            excess, apart = found[_EXCESS.name].value, found[_FARTHEST.name].value
            figures |= {f"excess_{name}": excess, f"largest_deviation_{name}": apart}
            if excess is None or apart is None or excess > EXCESS or apart > APART:
                missed.append(_TITLES[name])
        worst = max(figures[f"excess_{name}"] or 0.0 for name in _TITLES)
        statement = (
            f"All four optimisers ended at the stated optimum, at most {worst:.1e} of its value above it."
            if not missed
            else f"{', '.join(missed)} did not end at the stated optimum; the worst was {worst:.1e} above it."
        )
        return Verdict(state="fails" if missed else "holds", statement=statement, figures=figures)

    @classmethod
    def smoke(cls) -> "UfmOptimisers":
        """A run of seconds.

        Returns:
            Its configuration.
        """
        return replace(cls(), num_classes=4, samples_per_class=5, num_features=5, steps=1500, measurements=8)
