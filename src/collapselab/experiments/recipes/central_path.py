"""A network trained with squared error, its loss taken apart along the central path."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from collapselab.core import checks
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import data_of, sgd_plan, training_of
from collapselab.experiments.clock import log_spaced
from collapselab.experiments.events import Event
from collapselab.experiments.extra import Extra, declared
from collapselab.experiments.probe import Probe
from collapselab.metrics import Evidence
from collapselab.records.schema import Course, Observation, Reference, Verdict
from collapselab.theory import squared_error_parts
from collapselab.training.data.digits import Digits
from collapselab.training.losses.mse import HalfSquaredError
from collapselab.training.networks.mlp import MLP
from collapselab.training.plan import Plan

# The part of the loss off the path is above the first somewhere on the way and below the second at the end.
BEGINS, ENDS = 0.5, 0.1

# What variability costs at the end, in costs of the places of the class means.
DOMINATES = 10.0

_part = partial(declared, source="han2022", family="central_path")
SHARE = _part(
    "off_path_share",
    "part of the loss off the central path",
    "What the classifier costs by not being the best one for its features, as a part of the whole loss.",
    symbol=r"L_{LS}^{\perp}/L",
)
WHOLE = _part("loss_whole", "loss with decay", "Squared error and decay of the classifier.", symbol="L")
OFF = _part(
    "loss_off_path",
    "off the path",
    "What the classifier costs by not being the least-squares one of its features.",
    symbol=r"L_{LS}^{\perp}",
)
NC1 = _part(
    "loss_nc1",
    "variability within classes",
    "What variability within classes, and decay, cost the least-squares classifier of the features.",
    symbol=r"L_{NC1}",
)
NC2 = _part(
    "loss_nc2_nc3",
    "places of class means",
    "What the places of the class means cost the least-squares classifier of the features.",
    symbol=r"L_{NC2/3}",
)


@experiment(
    source="han2022",
    claim=(
        "Trained with squared error, a network approaches the central path: the part of its loss that a better"
        " classifier of the same features would save falls from above a half to below a tenth, and of what is left"
        " variability within classes costs at least ten times as much as the places of the class means."
    ),
    title="Approach of the central path",
    notes=(
        "The loss is that of the training features in eval mode, with the decay of the classifier: its weight decay is"
        " the one of the training, because the loss is half of the squared error summed over classes. With a decay ten"
        " times as small the classifier would be compared with the best one for another loss.",
        "Variability within classes includes what decay costs the best classifier.",
        "At the first learning rate the noise of the steps keeps the classifier some way off the path; the last part of"
        " the approach comes with the cuts of the rate, as the figures of the verdict show.",
    ),
    chart=Course(
        metrics=(SHARE.name,),
        references={SHARE.name: (Reference(value=BEGINS, label="half"), Reference(value=ENDS, label="claimed"))},
        together=(WHOLE.name, OFF.name, NC1.name, NC2.name),
    ),
)
@dataclass(frozen=True)
class CentralPath:
    """Train a multilayer perceptron on handwritten digits with squared error, and take its loss apart on the way.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Samples in an optimiser step.
        learning_rate: Learning rate of SGD before any cut.
        weight_decay: Coefficient of one half of the squared norm of all parameters, those of the classifier among them.
        widths: Units of the hidden layers; the last is the number of features.
        samples_per_class: Training images of each class.
        measurements: Number of log-spaced epochs after which to measure, besides the one before training.
        seed: Where all randomness comes from.
    """

    epochs: int = 300
    batch_size: int = 128
    learning_rate: float = 0.02
    weight_decay: float = 2e-3
    widths: tuple[int, ...] = (256, 256, 64)
    samples_per_class: int = 120
    measurements: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.measurements, "measurements", at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        checks.real(self.weight_decay, "weight_decay", above=0)
        MLP(widths=self.widths)
        Digits(samples_per_class=self.samples_per_class)
        self._plan().batches(self.samples_per_class * Digits.num_classes)

    def _plan(self) -> Plan:
        plan = sgd_plan(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )
        return replace(plan, loss=HalfSquaredError())

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train, measure, and take the loss of the training split apart.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """
        data = data_of(Digits(samples_per_class=self.samples_per_class), seed=self.seed)
        training = training_of(MLP(widths=self.widths), data, self._plan(), seed=self.seed, probe=probe)
        at = (0, *log_spaced(self.epochs, self.measurements))
        return probe.watch(training, at=at, extra=self._parts)

    def _parts(self, evidence: Evidence, split: str) -> Sequence[Extra]:
        if split != "train" or evidence.head is None:
            return ()
        parts = squared_error_parts(evidence.stats, evidence.head, decay=self.weight_decay)
        values = (parts.off_path_share, parts.loss, parts.off_path, parts.nc1, parts.nc2_nc3)
        return [(one, float(value)) for one, value in zip((SHARE, WHOLE, OFF, NC1, NC2), values, strict=True)]

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether the part off the path falls below a tenth, and variability is what is left.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        rows = sorted((row for row in observations if row.split == "train" and row.epoch > 0), key=lambda row: row.step)
        last, highest = rows[-1], max(rows, key=lambda row: row.result[SHARE.name])
        figures: dict[str, float | int | str | None] = {"training_error_at_end": last.error}
        figures |= {f"{one.name}_at_end": last.result[one.name] for one in (SHARE, WHOLE, OFF, NC1, NC2)}
        begins, ends = highest.result[SHARE.name], last.result[SHARE.name]
        nc1, nc2 = last.result[NC1.name], last.result[NC2.name]
        figures |= {f"{SHARE.name}_highest": begins, "highest_at_epoch": highest.epoch}
        figures |= {"nc1_over_nc2_nc3_at_end": nc1 / nc2 if nc2 > 0 else None}
        figures |= {f"{SHARE.name}_before_first_cut": _before_cut(rows)}
        if last.error > 0:
            statement = f"The network did not learn its training images: their error ended at {last.error:.3g}."
            return Verdict(state="inconclusive", statement=statement, figures=figures)
        statement = (
            f"The part of the loss off the central path went from {begins:.3g} after epoch {highest.epoch} to"
            f" {ends:.3g} after epoch {last.epoch}; there variability within classes costs {nc1:.3g}, the places of the"
            f" class means {nc2:.3g}."
        )
        holds = begins > BEGINS and ends < ENDS and nc1 >= DOMINATES * nc2
        return Verdict(state="holds" if holds else "fails", statement=statement, figures=figures)

    @classmethod
    def smoke(cls) -> "CentralPath":
        """A run of seconds that is already close to the path.

        Returns:
            Its configuration.
        """
        return cls(epochs=40, widths=(128, 64), samples_per_class=40, batch_size=50, measurements=7)


def _before_cut(rows: Sequence[Observation]) -> float:
    """The part off the path when the learning rate was last as it began: with the noise of the largest steps."""
    uncut = [row for row in rows if row.learning_rate == rows[0].learning_rate]
    return uncut[-1].result[SHARE.name]
