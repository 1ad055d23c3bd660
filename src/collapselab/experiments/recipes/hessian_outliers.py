"""The outliers of the Hessian of a small classifier, and the class gradients that they come from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from collapselab.core import checks
from collapselab.core.errors import UndefinedMetric
from collapselab.dynamics.curvature import GAP, KNOCKED, OVERLAP, REST, SHARES, Curvature
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import data_of, sgd_plan, training_of
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event
from collapselab.experiments.probe import Case, Probe
from collapselab.experiments.uneven import clear_of
from collapselab.experiments.verdicts import last_row, mean_and_half_width
from collapselab.records.schema import Course, Observation, Reference, Verdict
from collapselab.training import Training
from collapselab.training.data.digits import Digits
from collapselab.training.networks.mlp import MLP
from collapselab.training.plan import Plan

# How much of the top eigenvectors must lie in the span, and how little of the Hessian may lie beyond Gauss-Newton.
INSIDE, BEYOND = 0.5, 0.05

_TOLD = (OVERLAP.name, REST.name, KNOCKED.name, GAP.name, SHARES["class"].name, SHARES["cross"].name)


@experiment(
    source="papyan2020traces",
    claim=(
        "Late in training classes make the top of the Hessian: of its leading eigenvectors, as many as there are"
        f" classes, more than {INSIDE:g} (mean squared cosine) lies in the span of the class gradients, and more than"
        f" at the start; and the Hessian is its Gauss-Newton part up to less than {BEYOND:g} of its norm, by the 95 %"
        " confidence intervals over seeds."
    ),
    title="Outliers of the Hessian",
    notes=(
        "The Hessian is that of the mean cross-entropy of some training images by all parameters, in float64; training"
        " has no weight decay.",
        "Class gradients are means, weighted by probability, of the gradients of the loss under the labels that the"
        " images do not have. A random subspace of as many directions would have an overlap of about K over the number"
        " of parameters.",
        "In a network this small no clean gap sets the eigenvalues of the classes apart from the next; the ratio is"
        " told, and nothing is claimed of it.",
    ),
    chart=lambda recipe: Course(
        metrics=(OVERLAP.name, REST.name, KNOCKED.name, SHARES["class"].name),
        references={
            OVERLAP.name: (Reference(value=INSIDE, label="claimed at the end"),),
            REST.name: (Reference(value=BEYOND, label="claimed at the end"),),
        },
    ),
)
@dataclass(frozen=True)
class HessianOutliers:
    """Train a small multilayer perceptron on the digits, for several seeds, and look at the curvature of its loss.

    It needs the extra ``curvature``.

    Attributes:
        seeds: How many seeds.
        epochs: Passes over the training data.
        batch_size: Samples in an optimiser step.
        learning_rate: Learning rate of SGD before any cut.
        widths: Units of the hidden layers; the last is the number of features.
        samples_per_class: Training images of each class.
        looked_at: Training images of each class that the curvature is computed of.
        measurements: Number of log-spaced epochs after which to measure, besides the one before training.
        seed: The first seed.
    """

    seeds: int = 5
    epochs: int = 300
    batch_size: int = 100
    learning_rate: float = 0.05
    widths: tuple[int, ...] = (20,)
    samples_per_class: int = 60
    looked_at: int = 30
    measurements: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("seeds", "measurements", "looked_at"):
            checks.whole(getattr(self, name), name, at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        MLP(widths=self.widths)
        Digits(samples_per_class=self.samples_per_class)
        self._plan().batches(self.samples_per_class * Digits.num_classes)

    def _plan(self) -> Plan:
        return sgd_plan(
            epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate, weight_decay=0.0
        )

    def _seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train every seed.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(seed: int) -> Case:
            def make() -> Training:
                data = data_of(Digits(samples_per_class=self.samples_per_class), seed=seed)
                network = MLP(widths=self.widths, batch_norm=False)
                return training_of(network, data, self._plan(), seed=seed, probe=probe)

            quantities = (Curvature(per_class=self.looked_at),)
            return Case(_arm(seed), make, self.epochs, f"seed {seed}", {"seed": seed}, quantities=quantities)

        at = (0, *log_spaced(self.epochs, self.measurements))
        return probe.arms([case(seed) for seed in self._seeds()], at=at)

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether the top eigenvectors ended in the span of the class gradients, and the Hessian as its main part.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on. It takes one interval on the wrong side to fail.
        """
        ends = [last_row(observations, split="train", arm=_arm(seed)) for seed in self._seeds()]
        if self.seeds < 2:
            statement = "One seed has no interval; at least 2 are needed."
            return Verdict(state="inconclusive", statement=statement, figures={})
        if worst := max(row.error for row in ends):
            statement = f"Training is not far enough on: the largest training error at the end is {worst:.3g}."
            return Verdict(state="inconclusive", statement=statement, figures={"largest_training_error": worst})
        starts = [_first_row(observations, _arm(seed)) for seed in self._seeds()]
        try:
            figures = _figures(starts, ends)
        except UndefinedMetric as undefined:
            return Verdict(state="inconclusive", statement=f"A number has no value: {undefined}.", figures={})
        sides = (
            _side(figures, f"{OVERLAP.name}_at_end", above=INSIDE),
            _side(figures, "rise_of_overlap", above=0.0),
            -_side(figures, f"{REST.name}_at_end", above=BEYOND),
        )
        state = "fails" if min(sides) < 0 else "holds" if min(sides) > 0 else "inconclusive"
        return Verdict(state=state, statement=_told(figures, self.seeds), figures={**figures})

    @classmethod
    def smoke(cls) -> "HessianOutliers":
        """A run of seconds: one seed, few images.

        Returns:
            Its configuration.
        """
        return cls(seeds=1, epochs=40, batch_size=25, widths=(8,), samples_per_class=10, looked_at=3, measurements=1)


def _arm(seed: int) -> str:
    return f"seed-{seed}"


def _first_row(observations: Sequence[Observation], arm: str) -> Observation:
    rows = [row for row in observations if row.arm == arm and row.split == "train" and not row.layer]
    return min(rows, key=lambda row: row.step)


def _figures(starts: Sequence[Observation], ends: Sequence[Observation]) -> dict[str, float]:
    """Means over seeds, with half the widths of their intervals."""
    found = {f"{name}_at_start": [row.result[name] for row in starts] for name in _TOLD}
    found |= {f"{name}_at_end": [row.result[name] for row in ends] for name in _TOLD}
    pairs = zip(found[f"{OVERLAP.name}_at_start"], found[f"{OVERLAP.name}_at_end"], strict=True)
    found["rise_of_overlap"] = [round(after - before, 12) for before, after in pairs]
    found["loss_at_end"] = [row.loss for row in ends]
    figures: dict[str, float] = {}
    for name, values in found.items():
        figures[name], figures[f"half_width_{name}"] = mean_and_half_width(values)
    return figures


def _side(figures: Mapping[str, float], name: str, *, above: float) -> int:
    return clear_of(above, figures[name], figures[f"half_width_{name}"])


def _told(figures: Mapping[str, float], seeds: int) -> str:
    def said(name: str, *, digits: int = 3) -> str:
        return f"{figures[name]:.{digits}g} ± {figures[f'half_width_{name}']:.1g}"

    overlap, rest, share = OVERLAP.name, REST.name, SHARES["class"].name
    return (
        f"At a mean loss of {figures['loss_at_end']:.2g} the leading eigenvectors overlap with the class gradients by"
        f" {said(f'{overlap}_at_end')} ({said(f'{overlap}_at_start')} at the start), and the Hessian differs from its"
        f" Gauss-Newton part by {said(f'{rest}_at_end', digits=2)} of its norm ({said(f'{rest}_at_start')}). The class"
        f" part holds {said(f'{share}_at_end')} of the trace ({said(f'{share}_at_start', digits=2)}); without it the"
        f" largest eigenvalue is {said(f'{KNOCKED.name}_at_end')} of what it was (95 % over {seeds} seeds)."
    )
