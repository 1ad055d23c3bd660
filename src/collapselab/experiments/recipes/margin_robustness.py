"""What a growing margin does for robustness: the images nearest to the boundary gain, and no others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import UndefinedMetric
from collapselab.dynamics.margin import LOG10_LOSS, NORMALISED, Margins
from collapselab.dynamics.robustness import FAILURES, MEDIAN, NEAR, Robustness, robust_accuracy
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import data_of, training_of
from collapselab.experiments.events import Event, Observed
from collapselab.experiments.extra import with_extra
from collapselab.experiments.probe import Case, Probe
from collapselab.experiments.recipes.margin_maximisation import DECADES
from collapselab.experiments.uneven import clear_of
from collapselab.experiments.verdicts import last_row, mean_and_half_width
from collapselab.records.schema import Against, Observation, Verdict
from collapselab.training import Training
from collapselab.training.data import Samples, Splits
from collapselab.training.data.digits import Digits
from collapselab.training.heads.learnable import Learnable
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.networks.mlp import MLP
from collapselab.training.optimisers.loss_based import LossBased
from collapselab.training.plan import Plan
from collapselab.training.schedules.constant import Constant

# From which decade of the loss on the claim speaks, and how many further it must fall.
START, LATER = 2, 2

# Images for which an attack may find nothing: they count as robust, and must not be what grew.
MOST_FAILURES = 0.005

_METRICS = ("accuracy", "nc1_pinv", "nc2_max_angle_means", "nc3_duality", "nc4_disagreement")


@experiment(
    source="lyu2020",
    claim=(
        "A growing margin moves the boundary away from the nearest images alone: with the rate over the loss, from a"
        " loss of 1e-2 to the end, the normalised margin and robust accuracy on training images within the smallest"
        " radius grow, while robust accuracy within the largest radius falls, by 95 % confidence intervals over seeds."
    ),
    title="What a margin does for robustness",
    notes=(
        "Pixels lie between 0 and 1 as the network takes them, and perturbations may leave that range. Distances are"
        " those that DeepFool finds, upper bounds of the true ones.",
        "The published account, on larger images, is that robust accuracy grows with the margin. The smallest margin"
        " speaks of the worst images, not of the median one.",
        "Networks have no bias, so that they are homogeneous.",
    ),
    chart=lambda recipe: Against(
        metric=robust_accuracy(recipe.radii[0]).name,
        beside=tuple(robust_accuracy(radius).name for radius in recipe.radii[1:]),
        over=DECADES.name,
        every=True,
        linear=True,
        title="robust accuracy, train",
        words={DECADES.name: "decades that the loss has fallen below 1"},
    ),
)
@dataclass(frozen=True)
class MarginRobustness:
    """Train without bias on the digits at a rate over the loss, and attack training and test images on the way.

    Attributes:
        epochs: Passes over the training data, those that were taken back included.
        seeds: How many seeds.
        radii: Euclidean radii at which robust accuracy is told; the claim is about the first and the last.
        attacked: Images of each class and split that are attacked.
        widths: Units of the hidden layers.
        samples_per_class: Training images of each class.
        batch_size: Samples in an optimiser step.
        learning_rate: First rate on the logarithm of the loss.
        measurements: Number of log-spaced epochs after which to measure, over the last factor of 30.
        seed: The first seed.
    """

    epochs: int = 600
    seeds: int = 5
    radii: tuple[float, ...] = (0.2, 0.3, 0.5)
    attacked: int = 100
    widths: tuple[int, ...] = (256,)
    samples_per_class: int = 100
    batch_size: int = 100
    learning_rate: float = 0.1
    measurements: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("epochs", "seeds", "measurements"):
            checks.whole(getattr(self, name), name, at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        self._robustness()
        checks.whole(len(self.radii), "number of radii", at_least=2)
        checks.real(self.radii[-1], "the last of radii", above=self.radii[0])
        Digits(samples_per_class=self.samples_per_class)
        self._plan().batches(self.samples_per_class * Digits.num_classes)
        self._network()

    def _robustness(self) -> Robustness:
        return Robustness(per_class=self.attacked, radii=self.radii)

    def _network(self) -> MLP:
        return MLP(widths=self.widths, batch_norm=False, bias=False)

    def _plan(self) -> Plan:
        return Plan(
            epochs=self.epochs,
            batch_size=self.batch_size,
            drop_last=False,
            loss=CrossEntropy(),
            optimiser=LossBased(learning_rate=self.learning_rate),
            schedule=Constant(),
        )

    def _seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train every seed.

        Args:
            probe: The device, and where to go on from.

        Yields:
            What happens, as it happens.
        """

        def case(seed: int) -> Case:
            def make() -> Training:
                data = _in_pixels(data_of(Digits(samples_per_class=self.samples_per_class), seed=seed))
                plan, head = self._plan(), Learnable(bias=False)
                return training_of(self._network(), data, plan, seed=seed, probe=probe, head=head)

            quantities = (self._robustness(), Margins())
            return Case(_arm(seed), make, self.epochs, f"seed {seed}", {"seed": seed}, quantities=quantities)

        cases = [case(seed) for seed in self._seeds()]
        for event in probe.arms(cases, at=self._moments(), metrics=_METRICS):
            yield Observed(_with_decades(event.observation)) if isinstance(event, Observed) else event

    def _moments(self) -> tuple[int, ...]:
        """Not the first epochs: robust accuracies near 0 would hide what happens to those near 1."""
        first, last = max(1, self.epochs // 30), self.epochs
        parts = [(at + 1) / self.measurements for at in range(self.measurements)]
        return tuple(sorted({round(first * (last / first) ** part) for part in parts}))

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether robust accuracy grew at the smallest radius and fell at the largest, while the margin grew.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on. It takes one interval on the wrong side to fail.
        """
        if self.seeds < 2:
            statement = "One seed has no interval; at least 2 are needed."
            return Verdict(state="inconclusive", statement=statement, figures={})
        try:
            pairs = {split: [_pair(observations, _arm(seed), split) for seed in self._seeds()] for split in _SPLITS}
            reached = [end.result[LOG10_LOSS.name] for _, end in pairs["train"]]
            if max(reached) > -START - LATER:
                statement = f"A loss of {10.0 ** max(reached):.2g} at the end is not {LATER} decades below 1e-{START}."
                return Verdict(state="inconclusive", statement=statement, figures={})
            failures = max(row.result[FAILURES.name] for pair in pairs["train"] for row in pair)
            if failures > MOST_FAILURES:
                statement = f"DeepFool finds nothing for {failures:.2g} of the training images, which count as robust."
                return Verdict(state="inconclusive", statement=statement, figures={})
            figures = self._figures(pairs)
        except UndefinedMetric as undefined:
            return Verdict(state="inconclusive", statement=f"A number has no value: {undefined}.", figures={})
        near, far = (f"change_{robust_accuracy(radius).name}_train" for radius in (self.radii[0], self.radii[-1]))
        sides = (_side(figures, f"change_{NORMALISED.name}_train"), _side(figures, near), -_side(figures, far))
        state = "fails" if min(sides) < 0 else "holds" if min(sides) > 0 else "inconclusive"
        return Verdict(state=state, statement=self._told(figures, max(reached)), figures={**figures})

    def _figures(self, pairs: Mapping[str, Sequence[tuple[Observation, Observation]]]) -> dict[str, float]:
        """Values at a loss of 1e-2 and at the end, and their differences."""
        names = [robust_accuracy(radius).name for radius in self.radii]
        figures: dict[str, float] = {}
        for split, rows in pairs.items():
            for name in (*names, MEDIAN.name, NEAR.name, NORMALISED.name):
                before, after = ([row.result[name] for row in moment] for moment in zip(*rows, strict=True))
                changes = [round(b - a, 12) for a, b in zip(before, after, strict=True)]
                for said, values in (("start", before), ("end", after), ("change", changes)):
                    mean, half = mean_and_half_width(values)
                    figures |= {f"{said}_{name}_{split}": mean, f"half_width_{said}_{name}_{split}": half}
        return figures

    def _told(self, figures: Mapping[str, float], reached: float) -> str:
        def change(name: str, split: str) -> str:
            before, after = (figures[f"{moment}_{name}_{split}"] for moment in ("start", "end"))
            return f"{before:.3g} to {after:.3g} (± {figures[f'half_width_change_{name}_{split}']:.1g})"

        def accuracies(split: str) -> str:
            told = [f"{change(robust_accuracy(radius).name, split)} at {radius:g}" for radius in self.radii]
            return f"{', '.join(told)}, the median distance from {change(MEDIAN.name, split)}"

        return (
            f"From a loss of 1e-{START} to one of {10.0**reached:.2g} or less the normalised margin went from"
            f" {change(NORMALISED.name, 'train')}. On training images robust accuracy went from {accuracies('train')};"
            f" on test images from {accuracies('test')} (95 % of the change over {self.seeds} seeds)."
        )

    @classmethod
    def smoke(cls) -> "MarginRobustness":
        """A run of seconds, too short for the claim.

        Returns:
            Its configuration.
        """
        return cls(epochs=30, seeds=2, attacked=5, widths=(32,), samples_per_class=10, batch_size=25, measurements=2)


_SPLITS = ("train", "test")


def _arm(seed: int) -> str:
    return f"seed-{seed}"


def _side(figures: Mapping[str, float], name: str) -> int:
    return clear_of(0.0, figures[name], figures[f"half_width_{name}"])


def _in_pixels(data: Splits) -> Splits:
    """Standardised images on a scale from 0 to 1, by the darkest and the brightest pixel of the training images."""
    low, high = torch.aminmax(_pixels(data.train))

    def rescaled(samples: Samples) -> Samples:
        return Samples(((_pixels(samples) - low) / (high - low)).clamp(0, 1), samples.y)

    return Splits(rescaled(data.train), rescaled(data.test), data.num_classes)


def _pixels(samples: Samples) -> Tensor:
    assert isinstance(samples.x, Tensor)  # the digits are in memory
    return samples.x


def _with_decades(row: Observation) -> Observation:
    found = row.result.measurements[LOG10_LOSS.name].value
    return row if found is None else row.model_copy(update={"result": with_extra(row.result, [(DECADES, -found)])})


def _pair(observations: Sequence[Observation], arm: str, split: str) -> tuple[Observation, Observation]:
    """The first row of an arm after its training loss has passed 1e-2, and the last."""
    rows = [row for row in observations if row.arm == arm and row.split == "train" and not row.layer]
    passed = [row.step for row in rows if row.result[LOG10_LOSS.name] <= -START]
    if not passed:
        raise UndefinedMetric(f"the loss of {arm} never fell to 1e-{START}")
    at = [row for row in observations if row.arm == arm and row.split == split and row.step == min(passed)]
    return at[0], last_row(observations, split=split, arm=arm)
